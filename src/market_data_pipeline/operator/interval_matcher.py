"""Which right rows lie in an interval around a left row."""

from __future__ import annotations

__all__ = ("IntervalRows", "IntervalRule")

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.kernels.intervals import fill_pairs, find_pairs
from market_data_pipeline.operator.join_keys import JoinKeys
from market_data_pipeline.operator.right_rows import Int64s, Matches, RightRows
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable


@dataclass(frozen=True, slots=True)
class IntervalRule:
    """Which right rows a left row is paired with.

    Attributes:
        lower_ns: Where the interval begins, nanoseconds from the left row's time.
        upper_ns: Where it ends; both ends count.
    """

    lower_ns: int
    upper_ns: int

    def rows(
        self,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> IntervalRows:
        """Return the right side, without rows; see `RightRows`."""
        return IntervalRows(self, schema, time, needed, keys, symbols)


class IntervalRows(RightRows):
    """The right side of an interval join."""

    def __init__(
        self,
        rule: IntervalRule,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> None:
        super().__init__(schema, time, needed, keys, symbols)
        self._rule = rule

    def decided(self, watermark: int) -> int:
        """Return up to which left time the interval is behind the watermark."""
        if watermark in {TIME_MIN, TIME_MAX}:
            return watermark
        return min(max(watermark - 1 - self._rule.upper_ns, TIME_MIN), TIME_MAX)

    def match(self, left: Batch) -> Matches:
        """Return all pairs; a left row without one is there once."""
        ids = self._ids(left)
        self._link()
        rows = len(left)
        times = np.ascontiguousarray(left.times)
        starts, counts = np.empty(rows, np.int64), np.empty(rows, np.int64)
        total = find_pairs(
            *(self._pool.times, self._following, self._first, self._passed, times, ids),
            *(self._rule.lower_ns, self._rule.upper_ns, starts, counts),
        )
        of_left, of_right = np.empty(total, np.int64), np.empty(total, np.int64)
        fill_pairs(self._following, starts, counts, of_left, of_right)
        return Matches(of_left, of_right)

    def _staying(self, low: int) -> Int64s:
        oldest = min(max(low + self._rule.lower_ns, TIME_MIN), TIME_MAX)
        return np.arange(self._cut(oldest), self._pool.rows)
