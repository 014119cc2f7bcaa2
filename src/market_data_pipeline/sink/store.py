"""Bars to a store's batch processor."""

from __future__ import annotations

__all__ = ("DeferredProcessor", "StoreSink")

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, final

from market_data_pipeline.clock import Clock
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.sink.queued import QueuedSink, call, close_writer
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.write_queue import DeadLetterHook, OnFailure, queue_policy


@final
class DeferredProcessor:
    """A batch processor that is made when the sink starts, in its event loop."""

    def __init__(self, make: Callable[[], Any | Awaitable[Any]]) -> None:
        """Keep how to make it.

        Args:
            make: Returns the processor, or an awaitable of it.
        """
        self._make = make

    async def resolve(self) -> Any:
        """Make the processor."""
        made = self._make()
        return await made if inspect.isawaitable(made) else made


class StoreSink(QueuedSink):
    """Writes bars through a batch processor: an object with `upsert_bars(rows)`.

    A row is a dictionary with `symbol`, `timestamp`, `open`, `high`, `low`, `close`,
    `volume` and `source`, those of `vwap`, `trade_count` and `metadata` that are known,
    and `idempotency_key` where the pipeline is known. `upsert_bars` may be a coroutine
    function; one that is not runs in a thread.

    Delivery: at least once; the processor replaces rows that it has.

    Attributes:
        batch_processor: The processor, as it was given.
    """

    kind = "store"

    def __init__(
        self,
        batch_processor: Any,
        workers: int = 2,
        queue_max: int = 100,
        backpressure_policy: str = "block",
        ctx: PipelineContext | None = None,
        *,
        retry: RetryPolicy | None = None,
        prices: Literal["float", "decimal"] = "float",
        dead_letters: DeadLetterHook | None = None,
        on_failure: OnFailure = "raise",
        close_timeout_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Settle what to write to, and how.

        Args:
            batch_processor: What writes; a `DeferredProcessor` is made at `start`.
            workers: How many batches are written at a time.
            queue_max: How many batches may wait.
            backpressure_policy: What to do where there is no room: `block`,
                `drop_oldest` (or `oldest`), `drop_newest` (or `newest`).
            ctx: Whose pipeline it is.
            retry: How often to try; None for the default policy.
            prices: Whether rows have floats, or exact decimals.
            dead_letters: Takes batches that could not be written.
            on_failure: Whether `flush` and `close` raise for batches nobody took.
            close_timeout_s: Seconds after which `close` gives up what waits.
            clock: Time; None for the machine's.
        """
        super().__init__(
            ctx=ctx,
            dead_letters=dead_letters,
            on_failure=on_failure,
            clock=clock,
            close_timeout_s=close_timeout_s,
        )
        self.batch_processor = batch_processor
        self._settings = (queue_max, workers, queue_policy(backpressure_policy))
        self._retry = retry or RetryPolicy()
        self._number: Callable[[Any], Any] = float if prices == "float" else _as_it_is
        self._writer: Any = None

    def _queue_settings(self) -> tuple[int, int, object, RetryPolicy]:
        return (*self._settings, self._retry)

    async def _open(self) -> None:
        processor = self.batch_processor
        if isinstance(processor, DeferredProcessor):
            processor = await processor.resolve()
        self._writer = processor

    async def _deliver(self, batch: Sequence[Any]) -> int:
        rows = [self._row(bar) for bar in batch]
        await call(self._writer.upsert_bars, rows)
        return len(rows)

    def _row(self, bar: Any) -> dict[str, Any]:
        number = self._number
        row = {
            "symbol": bar.symbol,
            "timestamp": bar.timestamp,
            "open": number(bar.open),
            "high": number(bar.high),
            "low": number(bar.low),
            "close": number(bar.close),
            "volume": number(bar.volume),
            "source": bar.source,
        }
        if bar.vwap is not None:
            row["vwap"] = number(bar.vwap)
        if bar.trade_count is not None:
            row["trade_count"] = bar.trade_count
        if bar.metadata:
            row["metadata"] = dict(bar.metadata)
        if self.ctx is not None:
            row["idempotency_key"] = self.ctx.get_idempotency_key(bar.symbol, bar.timestamp)
        return row

    async def _free(self) -> None:
        if self._writer is not None:
            await close_writer(self._writer)


def _as_it_is(value: Any) -> Any:
    return value
