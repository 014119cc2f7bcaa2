"""What the sinks for bars have in common: a queue in front, and a look at it."""

from __future__ import annotations

__all__ = ("QueuedSink", "call", "close_writer")

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.sink.capabilities import SinkCapabilities, SinkHealth
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.telemetry import SinkMeter, get_sink_telemetry
from market_data_pipeline.sink.write_queue import (
    Counters,
    DeadLetterHook,
    OnFailure,
    WriteQueue,
    queue_policy,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GIVE_UP_AFTER_S: Final = 10.0
"""How long `close(drain=False)` waits for what is being written."""


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function of a user's store: a plain one off the loop, and await what it gives.

    A plain function that has begun is awaited also where the caller is cancelled.
    """
    if inspect.iscoroutinefunction(function):
        return await function(*args)
    loop = asyncio.get_running_loop()
    running = loop.create_task(asyncio.to_thread(function, *args))
    try:
        result = await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            given = None if running.exception() else running.result()
            if inspect.iscoroutine(given):
                given.close()
        raise
    return await result if inspect.isawaitable(result) else result


async def close_writer(writer: object) -> None:
    """Close what a sink wrote to, if it can be closed."""
    for name in ("aclose", "close"):
        closing = getattr(writer, name, None)
        if callable(closing):
            await call(closing)
            return


class QueuedSink(ABC):
    """A sink for bars with a queue in front of it.

    Attributes:
        ctx: Whose pipeline it is, None if nobody said.
        counters: What has become of the batches.
    """

    kind = "queued"

    def __init__(
        self,
        *,
        ctx: PipelineContext | None,
        dead_letters: DeadLetterHook | None,
        on_failure: OnFailure,
        clock: Clock | None,
        close_timeout_s: float | None,
    ) -> None:
        self.ctx = ctx
        self.counters = Counters()
        self._clock = clock
        self._dead_letters = dead_letters
        self._on_failure: OnFailure = on_failure
        self._close_timeout_s = close_timeout_s
        self._closed = False
        self._freed = False
        self._writes: WriteQueue | None = None
        self._starting = asyncio.Lock()

    # What a kind of sink says of itself

    @property
    def capabilities(self) -> SinkCapabilities:
        """What it can do."""
        return SinkCapabilities.BATCH_WRITES

    @abstractmethod
    async def _open(self) -> None:
        """Make ready to write."""

    @abstractmethod
    async def _deliver(self, batch: Sequence[Any]) -> int:
        """Write a batch and return how many items were sent."""

    @abstractmethod
    async def _free(self) -> None:
        """Free what `_open` took."""

    @abstractmethod
    def _queue_settings(self) -> tuple[int, int, object, RetryPolicy]:
        """Return capacity, workers, policy and retries."""

    def _tenant(self) -> str:
        return str(getattr(self.ctx, "tenant_id", "") or "")

    def _meter(self) -> SinkMeter:
        pipeline = str(getattr(self.ctx, "pipeline_id", "") or "")
        return get_sink_telemetry().meter(
            self.kind, self._tenant(), pipeline, database=self.kind == "database"
        )

    # The sink

    async def start(self) -> None:
        """Make ready to write and start the workers; does nothing a second time.

        Raises:
            RuntimeError: If it is closed.
        """
        self._check_open()
        async with self._starting:
            if self._writes is not None:
                return
            capacity, workers, policy, retry = self._queue_settings()
            writes = WriteQueue(
                self._deliver,
                name=type(self).__name__,
                capacity=capacity,
                workers=workers,
                policy=queue_policy(policy),
                retry=retry,
                keys=_keys,
                dead_letters=self._dead_letters,
                on_failure=self._on_failure,
                meter=self._meter(),
                clock=self._clock,
                counters=self.counters,
            )
            await self._open()
            writes.start()
            self._writes = writes

    def _check_open(self) -> None:
        if self._closed:
            msg = f"{type(self).__name__} is closed"
            raise RuntimeError(msg)

    async def _started(self) -> WriteQueue:
        if self._writes is None:
            await self.start()
        assert self._writes is not None  # noqa: S101 - or `start` would have raised
        return self._writes

    async def write(self, batch: Sequence[Any]) -> None:
        """Take a batch. Does not suspend while there is room; then the policy decides.

        Raises:
            RuntimeError: If it is closed.
            SinkError: If it was closed without `drain` while this waited for room.
        """
        self._check_open()
        if not batch:
            return
        writes = self._writes
        if writes is None:
            writes = await self._started()
        await writes.put(list(batch))

    async def flush(self) -> None:
        """Return once nothing waits and nothing is being written.

        Raises:
            SinkError: If batches could not be written and no dead-letter hook has them,
                unless only counting was asked for.
        """
        if self._writes is not None:
            await self._writes.flush()

    async def close(self, drain: bool = True) -> None:  # noqa: FBT001, FBT002
        """Write what waits, or with `drain=False` give it up, and end the workers.

        Does nothing a second time.

        Raises:
            SinkError: As `flush`.
        """
        self._closed = True
        if self._freed:
            return
        self._freed = True
        limit = self._close_timeout_s
        if not drain and limit is None:
            limit = _GIVE_UP_AFTER_S
        try:
            if self._writes is not None:
                await self._writes.close(drain=drain, timeout_s=limit)
        finally:
            await self._free()

    def pressure(self) -> Pressure:
        """Return how full the queue is, in batches."""
        if self._writes is None:
            return Pressure(0, self._queue_settings()[0])
        return self._writes.pressure()

    async def health(self) -> SinkHealth:
        """Return how it fares."""
        writes = self._writes
        if writes is None:
            return SinkHealth(connected=False)
        return SinkHealth(
            connected=not self._closed,
            queue_depth=writes.queue.qsize(),
            in_flight_batches=writes.in_flight,
            last_commit_at=_time(writes.last_commit_ns),
            last_error_at=_time(writes.last_error_ns),
            retry_count=self.counters.retries,
            detail=writes.last_error,
        )

    def get_metrics(self) -> dict[str, int]:
        """Return what has become of the batches, by name."""
        depth = self._writes.queue.qsize() if self._writes is not None else 0
        return {**self.counters.to_dict(), "queue_depth": depth}


def _keys(batch: Sequence[Any]) -> frozenset[Hashable]:
    """Return which rows of the store a batch of bars touches."""
    return frozenset((bar.symbol, bar.timestamp) for bar in batch)


def _time(ns: int | None) -> datetime | None:
    return None if ns is None else _EPOCH + timedelta(microseconds=ns // 1000)
