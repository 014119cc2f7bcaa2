"""Bars to a topic of Kafka, one message each."""

from __future__ import annotations

__all__ = ("KafkaSink",)

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.errors import ConfigError, MissingDependencyError, SinkError
from market_data_pipeline.sink.bar_objects import bar_json
from market_data_pipeline.sink.queued import QueuedSink, call
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.write_queue import DeadLetterHook, OnFailure, queue_policy

_PACKAGE: Final = "confluent_kafka"
_EXTRA: Final = "kafka"
# These make the client load a library from the disk: code, not settings.
_REFUSED: Final = frozenset({"plugin.library.paths", "ssl.engine.location", "ssl.providers"})
_POLL_S: Final = 0.05
_GRACE_S: Final = 5.0
_log = logging.getLogger(__name__)

Message = tuple[str, bytes]


class DeliveryError(SinkError):
    """Raised where the broker has not confirmed all messages of a batch."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self._transient = transient

    def retriable(self) -> bool:
        """Tell whether it makes sense to send them again."""
        return self._transient


class KafkaSink(QueuedSink):
    """Sends bars to a topic: key is the symbol, value is JSON.

    A batch counts as written once the brokers have confirmed each of its messages, and
    `flush` and `close` wait no longer than `delivery_timeout_s` for that. Of a batch that
    was confirmed in part the rest is sent again.

    Delivery: at least once, in order within a symbol.

    Attributes:
        bootstrap_servers: Brokers, as `host:port,host:port`.
        topic: Where to.
    """

    kind = "kafka"

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        queue_max: int = 500,
        backpressure_policy: str = "block",
        ctx: PipelineContext | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        encode: Callable[[Any], bytes] = bar_json,
        retry: RetryPolicy | None = None,
        delivery_timeout_s: float = 30.0,
        dead_letters: DeadLetterHook | None = None,
        on_failure: OnFailure = "raise",
        close_timeout_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Settle where to send, and how.

        Args:
            bootstrap_servers: Brokers, as `host:port,host:port`.
            topic: Where to.
            queue_max: How many batches may wait.
            backpressure_policy: What to do where there is no room: `block`,
                `drop_oldest` (or `oldest`), `drop_newest` (or `newest`).
            ctx: Whose pipeline it is.
            config: Further settings of librdkafka.
            encode: Makes the value of a message.
            retry: How often to try; None for three times.
            delivery_timeout_s: How long the brokers have to confirm a batch.
            dead_letters: Takes batches that could not be written.
            on_failure: Whether `flush` and `close` raise for batches nobody took.
            close_timeout_s: Seconds after which `close` gives up what waits.
            clock: Time; None for the machine's.

        Raises:
            ConfigError: If a setting of librdkafka may not be set, or no such policy.
            MissingDependencyError: If confluent-kafka is not installed; an `ImportError`.
        """
        super().__init__(
            ctx=ctx,
            dead_letters=dead_letters,
            on_failure=on_failure,
            clock=clock,
            close_timeout_s=close_timeout_s,
        )
        self._kafka = _load()
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        refused = sorted(_REFUSED & set(config or {}))
        if refused:
            msg = f"`{refused[0]}` may not be set: it makes the client load a library"
            raise ConfigError(msg, parameter="config")
        self._config = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "delivery.timeout.ms": round(delivery_timeout_s * 1000),
            **(config or {}),
            "bootstrap.servers": bootstrap_servers,
        }
        self._timeout_s = delivery_timeout_s
        self._encode = encode
        self._settings = (queue_max, 1, queue_policy(backpressure_policy))
        self._retry = retry or RetryPolicy(3, backoff_s=0.2)
        self._producer: Any = None
        self._left: tuple[Sequence[Any], list[Message]] | None = None

    def _queue_settings(self) -> tuple[int, int, object, RetryPolicy]:
        return (*self._settings, self._retry)

    async def _open(self) -> None:
        try:
            self._producer = self._kafka.Producer(self._config, logger=_log)
        except self._kafka.KafkaException as err:
            msg = f"a setting of librdkafka is wrong: {err.args[0].str()}"
            raise ConfigError(msg, parameter="config") from None

    async def _deliver(self, batch: Sequence[Any]) -> int:
        left, self._left = self._left, None
        if left is not None and left[0] is batch:
            messages = left[1]
        else:
            messages = [(bar.symbol, self._encode(bar)) for bar in batch]
        failed = await call(self._send, messages)
        if failed:
            self._left = (batch, [messages[at] for at in sorted(failed)])
            raise _delivery_error(failed, len(messages))
        return len(batch)

    def _send(self, messages: Sequence[Message]) -> dict[int, Any]:
        """Send messages and wait for the reports; return the errors by position."""
        producer = self._producer
        # The client keeps its own time, which no clock of ours can move.
        until = time.monotonic() + self._timeout_s + _GRACE_S
        reports: dict[int, Any] = {}
        for at, (key, value) in enumerate(messages):
            report = functools.partial(_take_report, reports, at)
            while time.monotonic() < until:
                try:
                    producer.produce(self.topic, value, key.encode(), on_delivery=report)
                except BufferError:
                    producer.poll(_POLL_S)  # the client's own queue is full
                except self._kafka.KafkaException as err:
                    reports[at] = err.args[0]
                    break
                else:
                    break
            producer.poll(0)
        while len(reports) < len(messages) and time.monotonic() < until:
            producer.poll(_POLL_S)
        nothing_heard = self._kafka.KafkaError(self._kafka.KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - its name
        return {
            at: error
            for at in range(len(messages))
            if (error := reports.get(at, nothing_heard)) is not None
        }

    async def _free(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # Every message has its report by now, or was given up.
            await call(producer.purge)
            await call(producer.flush, _GRACE_S)


def _take_report(reports: dict[int, Any], at: int, error: Any, _message: Any) -> None:
    reports[at] = error


def _delivery_error(failed: Mapping[int, Any], sent: int) -> DeliveryError:
    first = next(iter(failed.values()))
    # Codes below zero are the client's own: it could not reach a broker, or not in time.
    transient = all(error.retriable() or error.code() < 0 for error in failed.values())
    msg = f"{len(failed):,} of {sent:,} messages were not confirmed: {first.name()}: {first.str()}"
    return DeliveryError(msg, transient=transient)


def _load() -> Any:
    try:
        import confluent_kafka
    except ModuleNotFoundError as err:
        if err.name != _PACKAGE:
            raise
        raise MissingDependencyError(_PACKAGE, _EXTRA) from None
    return confluent_kafka
