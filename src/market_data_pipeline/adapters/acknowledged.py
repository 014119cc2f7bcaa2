"""A sink of market_data_store behind a coordinator of our own that tells what became of rows.

One item of the queue is one batch with a future. The sink that the coordinator's workers
call never raises, so none of them dies, and the future says whether the rows are written.
A flush interval of years and a batch size of one keep the workers from the time-outs in
which they stall.
"""

from __future__ import annotations

__all__ = ("AcknowledgedSettings", "AcknowledgedWriter", "Delivered")

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from market_data_pipeline.adapters.coordinator_link import CoordinatorLink, WatchSettings
from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.retrying import is_retryable
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import SinkError

_NEVER_S: Final = 1e9
_WAKE_S: Final = 0.02


@dataclass(slots=True)
class Delivered:
    """Rows on their way, and what becomes of them.

    Attributes:
        rows: What the sink is given; none for a message that only wakes a worker.
        count: How many rows of the pipeline they are.
        done: Resolved once they are written, or with the failure.
    """

    rows: list[Any]
    count: int
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Acknowledging:
    """What the workers call: writes to the sink, tries again, never raises."""

    def __init__(self, sink: Any, policy: Any, context: NodeContext) -> None:
        self._sink = sink
        self._policy = policy
        self._clock = context.clock
        self.commit_s: float | None = None

    async def write(self, items: Sequence[Delivered]) -> None:
        for item in list(items):
            if item.done.done():
                continue
            error = await self._written(item.rows) if item.rows else None
            if item.done.done():
                continue
            if error is None:
                item.done.set_result(None)
            else:
                item.done.set_exception(error)
                item.done.exception()  # told by the writer, also if nobody asks this future

    async def _written(self, rows: list[Any]) -> BaseException | None:
        attempt = 0
        while True:
            attempt += 1
            began_s = self._clock.monotonic()
            # A copy: a sink that keeps its list must not see it change.
            task = asyncio.get_running_loop().create_task(self._write(list(rows)))
            try:
                await asyncio.wait([task])
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            self.commit_s = self._clock.monotonic() - began_s
            if task.cancelled():
                return SinkError("the write was cancelled")
            error = task.exception()
            if not isinstance(error, Exception):
                return error
            again = is_retryable(error) or self._policy.classify_retryable(error)
            if attempt >= self._policy.max_attempts or not again:
                return error
            await self._clock.sleep(self._policy.next_backoff_ms(attempt) / 1000)

    async def _write(self, rows: list[Any]) -> None:
        written = self._sink.write(rows)
        if inspect.isawaitable(written):
            await written


@dataclass(frozen=True, slots=True)
class AcknowledgedSettings:
    """How the coordinator is built.

    Attributes:
        capacity: Batches that may wait.
        workers: How many write at once; with one they are written in order.
        coord_id: Name of the coordinator.
        policy: `RetryPolicy` of the store; None for its defaults.
        watch: How closely to watch.
    """

    capacity: int
    workers: int
    coord_id: str
    policy: Any
    watch: WatchSettings


class AcknowledgedWriter:
    """Writes batches through a coordinator of its own; rows are `held` until written."""

    def __init__(
        self,
        sink: Any,
        convert: Callable[[Batch], Sequence[Any]],
        settings: AcknowledgedSettings,
        context: NodeContext,
    ) -> None:
        store: Any = require_optional("market_data_store.coordinator", extra="store")
        self._sink = sink
        self._convert = convert
        self._account = context.account
        self._acknowledging = _Acknowledging(sink, settings.policy or store.RetryPolicy(), context)
        self._coordinator = store.WriteCoordinator(
            sink=self._acknowledging,
            capacity=settings.capacity,
            workers=settings.workers,
            batch_size=1,
            flush_interval=_NEVER_S,
            coord_id=settings.coord_id,
        )
        self._link = CoordinatorLink(
            self._coordinator, settings.coord_id, settings.watch, context.clock
        )
        self._waiting: deque[Delivered] = deque()

    async def start(self) -> None:
        """Start the workers."""
        await self._link.start()

    async def write(self, batch: Batch) -> None:
        """Hand rows over; wait while the queue is full.

        Raises:
            SinkError: If rows handed over before could not be written.
        """
        self._settle()
        item = Delivered(list(self._convert(batch)), len(batch))
        self._waiting.append(item)
        self._link.under_way = len(self._waiting)
        self._account.held += len(batch)
        self._link.check_now_and_then()
        await self._link.guarded(self._coordinator.submit(item))

    async def flush(self) -> None:
        """Wait until every row is written.

        Raises:
            SinkError: If rows could not be written.
        """
        while self._waiting:
            await self._link.guarded(self._written(self._waiting[0]))
            self._settle()
        flush = getattr(self._sink, "flush", None)
        if flush is not None and inspect.isawaitable(flushed := flush()):
            await flushed

    async def finish(self) -> None:
        """Wait until every row is written, then stop the workers.

        Raises:
            SinkError: If rows could not be written.
        """
        await self.flush()
        await self._link.stop(drain=False, wake=self._wake())

    async def abort(self) -> None:
        """Stop the workers; what waits is given up."""
        for item in self._waiting:
            item.done.cancel()
        await self._link.stop(drain=False, wake=self._wake())

    def on_pressure(self, listener: Callable[[Pressure], None] | None) -> None:
        """Call a function for each feedback event of the coordinator; None to stop."""
        self._link.on_pressure(listener)

    def pressure(self) -> Pressure:
        """Return how many batches wait."""
        self._link.commit_s = self._acknowledging.commit_s
        return self._link.pressure()

    async def _written(self, item: Delivered) -> None:
        await asyncio.wait([item.done])

    def _settle(self) -> None:
        """Take what was written; raise the first failure."""
        while self._waiting and self._waiting[0].done.done():
            item = self._waiting[0]
            error = item.done.exception()
            if error is not None:
                msg = f"{item.count} rows could not be written: {type(error).__name__}: {error}"
                raise SinkError(msg) from error
            self._waiting.popleft()
            self._account.held -= item.count
            self._account.rows_out += item.count
        self._link.under_way = len(self._waiting)

    async def _wake(self) -> None:
        """Give each worker something to take, so that it sees that it is told to stop."""
        while True:
            for _ in range(self._coordinator.health().workers_alive):
                await self._coordinator.submit(Delivered([], 0))
            await asyncio.sleep(_WAKE_S)
