"""Bytewax: event-time windows, and its `map` and `filter`, on one worker.

Its event clock adds the time that passes outside to the watermark, so that rows are late
when the machine is slow; it is given a clock that stands still, and then its bars are right.
"""

from __future__ import annotations

__all__ = ("TASKS",)

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from benchmarks.answers import Bars, Difference
from benchmarks.row_functions import Row, check_rows, doubled, is_large
from benchmarks.tasks import Task
from benchmarks.ticks import BOUND_NS, SECOND_NS, symbol_names

BATCH_ROWS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Item = tuple[datetime, int, float, int]
"""Event time, nanoseconds since the UNIX epoch, price, size."""


def _standing_still() -> datetime:
    return _EPOCH


def _first() -> list[Any]:
    return []


def _fold(bar: list[Any], item: Item) -> list[Any]:
    _, time, price, size = item
    if not bar:
        return [price, price, price, price, size, price * size, 1, time, time]
    if time >= bar[8]:
        bar[3] = price
        bar[8] = time
    elif time < bar[7]:
        bar[0] = price
        bar[7] = time
    if price > bar[1]:
        bar[1] = price
    if price < bar[2]:
        bar[2] = price
    bar[4] += size
    bar[5] += price * size
    bar[6] += 1
    return bar


def _merge(left: list[Any], right: list[Any]) -> list[Any]:
    msg = f"tumbling windows are not merged: {left} and {right}"
    raise AssertionError(msg)


class BarsInMemory(Task):
    """Tuples in memory -> `fold_window` -> bars as lists."""

    def prepare(self) -> None:
        """Make the tuples, keyed by symbol."""
        given = self.ticks.load()
        names = symbol_names(self.ticks.symbols)
        micro = timedelta(microseconds=1)
        # Its times are of Python, which know microseconds.
        self.items = [
            (names[code], (_EPOCH + time // 1_000 * micro, time, price, size))
            for code, time, price, size in zip(
                given.code.tolist(),
                given.ts_event.tolist(),
                (given.price / 1e9).tolist(),
                (given.size // SECOND_NS).tolist(),
                strict=True,
            )
        ]

    def run(self) -> Any:
        """Run the flow."""
        stored: list[Any] = []
        flow = Dataflow("bars")
        ticks = op.input("ticks", flow, TestingSource(self.items, batch_size=BATCH_ROWS))
        bars = win.fold_window(
            "bars",
            ticks,
            win.EventClock(
                lambda item: item[0],
                wait_for_system_duration=timedelta(microseconds=BOUND_NS // 1_000),
                now_getter=_standing_still,
            ),
            win.TumblingWindower(length=timedelta(seconds=1), align_to=_EPOCH),
            _first,
            _fold,
            _merge,
            ordered=False,
        )
        op.output("store", bars.down, TestingSink(stored))
        run_main(flow)
        return stored

    def bars(self, answer: Any) -> Bars:
        """Return the lists as columns."""
        code = np.array([int(name[1:]) for name, _ in answer], np.int64)
        ts_open = np.array([window * SECOND_NS for _, (window, _) in answer], np.int64)
        rows = list(zip(*(bar for _, (_, bar) in answer), strict=True))
        prices = [np.array(rows[place], np.float64) for place in range(5)]
        average = np.array(rows[5], np.float64) / prices[4]
        return Bars(code, ts_open, *prices, average, np.array(rows[6], np.int64))


class MapAndFilter(Task):
    """Rows in memory -> a Python `map` -> a Python `filter` -> memory."""

    def prepare(self) -> None:
        """Make the rows."""
        self.items = Row.of(self.ticks.load(), self.ticks.symbols)

    def run(self) -> Any:
        """Run the flow."""
        stored: list[Any] = []
        flow = Dataflow("rows")
        rows = op.input("rows", flow, TestingSource(self.items, batch_size=BATCH_ROWS))
        mapped = op.map("map", rows, doubled)
        op.output("store", op.filter("filter", mapped, is_large), TestingSink(stored))
        run_main(flow)
        return stored

    def bars(self, answer: Any) -> Bars:
        """Do nothing: this is not about bars."""
        raise NotImplementedError

    def check(self, answer: Any) -> Difference:
        """Compare the number of rows and the sum of their sizes."""
        return check_rows(self.ticks, len(answer), sum(row.size for row in answer))


TASKS = {"bars_memory": BarsInMemory, "map_filter": MapAndFilter}
