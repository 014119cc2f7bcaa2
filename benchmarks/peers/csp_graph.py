"""csp: its built-in statistics in C++, on rows sorted by event time beforehand.

It has no watermark and no late rows, so it is given what it needs: rows sorted by event
time, no two of one time.
"""

from __future__ import annotations

__all__ = ("TASKS",)

from datetime import UTC, datetime, timedelta
from typing import Any

import csp
import numpy as np
from csp import stats

from benchmarks.answers import Bars
from benchmarks.tasks import Task
from benchmarks.ticks import SECOND_NS

_SECOND = timedelta(seconds=1)
_COLUMNS = ("open", "high", "low", "close", "volume", "turnover", "count")


@csp.graph
def second_bars(
    times: object, codes: object, prices: object, sizes: object, symbols: int
) -> None:  # fmt: skip
    """Give the statistics of each symbol at the end of each second."""
    code = csp.curve(int, (times, codes))
    price = csp.curve(float, (times, prices))
    size = csp.curve(float, (times, sizes))
    end = csp.timer(_SECOND)
    fresh = csp.delay(end, timedelta(microseconds=1))
    keys = list(range(symbols))
    price_of = csp.demultiplex(price, code, keys)
    size_of = csp.demultiplex(size, code, keys)
    for key in keys:
        given = {"trigger": end, "reset": fresh}
        p, s = price_of[key], size_of[key]
        csp.add_graph_output(f"open {key}", stats.first(p, **given))
        csp.add_graph_output(f"high {key}", stats.max(p, **given))
        csp.add_graph_output(f"low {key}", stats.min(p, **given))
        csp.add_graph_output(f"close {key}", stats.last(p, **given))
        csp.add_graph_output(f"volume {key}", stats.sum(s, **given))
        csp.add_graph_output(f"turnover {key}", stats.sum(p * s, **given))
        csp.add_graph_output(f"count {key}", stats.count(p, **given))


class BarsInMemory(Task):
    """Sorted arrays in memory -> statistics by the second as arrays."""

    def prepare(self) -> None:
        """Sort the rows."""
        given = self.ticks.load()
        order = np.argsort(given.ts_event, kind="stable")
        times = given.ts_event[order]
        # Windows are emptied a microsecond after their end, the least there is.
        times = np.maximum(times, times // SECOND_NS * SECOND_NS + 1_001)
        # Its statistics take rows of one symbol and one time for one row: a duplicate goes
        # a nanosecond after its row.
        times[1:] += times[1:] == times[:-1]
        self.start = int(times[0]) // SECOND_NS
        self.end = int(times[-1]) // SECOND_NS + 1
        self.columns = (
            times.astype("datetime64[ns]"),
            given.code[order].astype(np.int64),
            given.price[order] / 1e9,
            (given.size[order] // SECOND_NS).astype(np.float64),
        )

    def run(self) -> Any:
        """Run the graph."""
        return csp.run(
            second_bars,
            *self.columns,
            self.ticks.symbols,
            starttime=datetime.fromtimestamp(self.start, UTC).replace(tzinfo=None),
            endtime=datetime.fromtimestamp(self.end, UTC).replace(tzinfo=None),
            output_numpy=True,
        )

    def bars(self, answer: Any) -> Bars:
        """Return the statistics of seconds with rows."""
        parts = []
        for key in range(self.ticks.symbols):
            times = answer[f"count {key}"][0].astype(np.int64)
            columns = {name: answer[f"{name} {key}"][1] for name in _COLUMNS}
            used = columns["count"] > 0
            parts.append(
                {
                    "code": np.full(int(used.sum()), key),
                    "ts_open": times[used] - SECOND_NS,
                    **{name: column[used] for name, column in columns.items()},
                }
            )
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        turnover = joined.pop("turnover")
        joined["count"] = joined["count"].astype(np.int64)
        return Bars(**joined, vwap=turnover / joined["volume"])


TASKS = {"bars_memory": BarsInMemory}
