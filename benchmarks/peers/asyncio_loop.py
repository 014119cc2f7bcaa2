"""What people write by hand: asyncio tasks with queues between them, and a dict of bars."""

from __future__ import annotations

__all__ = ("TASKS",)

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks.answers import Bars
from benchmarks.latency.queue_loop import QueueLoopLatency
from benchmarks.tasks import Task
from benchmarks.ticks import BOUND_NS, SECOND_NS

QUEUE_SIZE = 10_000
BATCH_ROWS = 1_000

Tick = tuple[int, int, float, int]
"""Event time, code, price, size."""


class Aggregator:
    """Bars of one second of all symbols, closed by a watermark."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], list[Any]] = {}
        self._closes_at = 0
        self._highest = 0

    def add(self, tick: Tick) -> list[Any]:
        """Take a tick; return the bars that are complete."""
        time, code, price, size = tick
        start = time - time % SECOND_NS
        key = (start, code)
        bar = self._open.get(key)
        if bar is None:
            self._open[key] = [
                code,
                start,
                price,
                price,
                price,
                price,
                size,
                price * size,
                1,
                time,
                time,
            ]
        else:
            if time >= bar[10]:
                bar[5] = price
                bar[10] = time
            elif time < bar[9]:
                bar[2] = price
                bar[9] = time
            if price > bar[3]:
                bar[3] = price
            if price < bar[4]:
                bar[4] = price
            bar[6] += size
            bar[7] += price * size
            bar[8] += 1
        if time > self._highest:
            self._highest = time
            if time >= self._closes_at:
                return self._close(time - BOUND_NS)
        return []

    def _close(self, watermark: int) -> list[Any]:
        done = sorted(key for key in self._open if key[0] + SECOND_NS <= watermark)
        start = watermark - watermark % SECOND_NS
        self._closes_at = start + SECOND_NS + BOUND_NS
        return [self._open.pop(key) for key in done]

    def finish(self) -> list[Any]:
        """Return the bars that are still open."""
        return list(self._open.values())


async def item_by_item(ticks: Iterable[Tick]) -> list[Any]:
    """Run source, operator and sink as tasks that pass single items."""
    to_bars: asyncio.Queue[Any] = asyncio.Queue(QUEUE_SIZE)
    to_sink: asyncio.Queue[Any] = asyncio.Queue(QUEUE_SIZE)
    stored: list[Any] = []

    async def source() -> None:
        for tick in ticks:
            await to_bars.put(tick)
        await to_bars.put(None)

    async def operator() -> None:
        bars = Aggregator()
        while (tick := await to_bars.get()) is not None:
            for bar in bars.add(tick):
                await to_sink.put(bar)
        for bar in bars.finish():
            await to_sink.put(bar)
        await to_sink.put(None)

    async def sink() -> None:
        while (bar := await to_sink.get()) is not None:
            stored.append(bar)

    async with asyncio.TaskGroup() as group:
        group.create_task(source())
        group.create_task(operator())
        group.create_task(sink())
    return stored


async def in_batches(batches: Iterator[list[Tick]]) -> list[Any]:
    """Run the same tasks passing lists of items."""
    to_bars: asyncio.Queue[Any] = asyncio.Queue(16)
    to_sink: asyncio.Queue[Any] = asyncio.Queue(16)
    stored: list[Any] = []

    async def source() -> None:
        for batch in batches:
            await to_bars.put(batch)
        await to_bars.put(None)

    async def operator() -> None:
        bars = Aggregator()
        while (batch := await to_bars.get()) is not None:
            done: list[Any] = []
            for tick in batch:
                done += bars.add(tick)
            if done:
                await to_sink.put(done)
        await to_sink.put(bars.finish())
        await to_sink.put(None)

    async def sink() -> None:
        while (done := await to_sink.get()) is not None:
            stored.extend(done)

    async with asyncio.TaskGroup() as group:
        group.create_task(source())
        group.create_task(operator())
        group.create_task(sink())
    return stored


class BarsItemByItem(Task):
    """Tuples in memory -> bars as lists, one item at a time through queues."""

    def prepare(self) -> None:
        """Make the tuples."""
        given = self.ticks.load()
        self.items: list[Tick] = list(
            zip(
                given.ts_event.tolist(),
                given.code.tolist(),
                (given.price / 1e9).tolist(),
                (given.size // SECOND_NS).tolist(),
                strict=True,
            )
        )

    def run(self) -> Any:
        """Run the tasks."""
        return asyncio.run(item_by_item(self.items))

    def bars(self, answer: Any) -> Bars:
        """Return the lists as columns."""
        rows = list(zip(*answer, strict=True))
        code, ts_open, count = (np.array(rows[place], np.int64) for place in (0, 1, 8))
        prices = [np.array(rows[place], np.float64) for place in (2, 3, 4, 5, 6)]
        average = np.array(rows[7], np.float64) / prices[4]
        return Bars(code, ts_open, *prices, average, count)


class BarsInBatches(BarsItemByItem):
    """The same in lists of a thousand items."""

    def run(self) -> Any:
        """Run the tasks."""
        batches = (
            self.items[at : at + BATCH_ROWS] for at in range(0, len(self.items), BATCH_ROWS)
        )
        return asyncio.run(in_batches(batches))


TASKS = {
    "bars_memory": BarsItemByItem,
    "bars_memory_1000": BarsInBatches,
    "latency": QueueLoopLatency,
}
