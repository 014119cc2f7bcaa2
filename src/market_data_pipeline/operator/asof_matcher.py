"""Which right row is the one as of a time."""

from __future__ import annotations

__all__ = ("AsofRule", "AsofRows", "Direction")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.kernels.asof import asof_around, asof_backward, last_rows
from market_data_pipeline.operator.join_keys import JoinKeys
from market_data_pipeline.operator.right_rows import Int64s, Matches, RightRows
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

Direction: TypeAlias = Literal["backward", "forward", "nearest"]


@dataclass(frozen=True, slots=True)
class AsofRule:
    """Which right row a left row is given.

    Attributes:
        direction: Before it, after it, or whichever is nearer.
        strict: Whether a row of the same time does not count.
        tolerance_ns: Most nanoseconds between the two; None for any.
        carry: Columns in which a row without a value has the last one of its key.
    """

    direction: Direction
    strict: bool
    tolerance_ns: int | None
    carry: tuple[str, ...] = ()

    def rows(
        self,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> AsofRows:
        """Return the right side, without rows; see `RightRows`."""
        return AsofRows(self, schema, time, needed, keys, symbols)


class AsofRows(RightRows):
    """The right side of an as-of join."""

    def __init__(
        self,
        rule: AsofRule,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> None:
        super().__init__(schema, time, needed, keys, symbols)
        self._direction = rule.direction
        self._strict = rule.strict
        self._tolerance = -1 if rule.tolerance_ns is None else rule.tolerance_ns
        none = np.empty(0, np.int64)
        self._pool.carried = {name: none for name in rule.carry if name in self.schema}

    def decided(self, watermark: int) -> int:
        """Return up to which left time a match is settled."""
        if watermark == TIME_MAX:
            return TIME_MAX
        if self._direction == "backward":
            return max(watermark - (not self._strict), TIME_MIN)
        ahead = max(self._tolerance, 0)
        return watermark - 1 - ahead if watermark > TIME_MIN + ahead else TIME_MIN

    def match(self, left: Batch) -> Matches:
        """Return the one right row of each left row."""
        ids = self._ids(left)
        times = np.ascontiguousarray(left.times)
        out = np.empty(len(left), np.int64)
        pool, strict = self._pool, int(self._strict)
        if self._direction == "backward":
            self._cursor = asof_backward(
                *(pool.times, pool.ids, pool.rows, self._cursor, self._passed),
                *(times, ids, strict, self._tolerance, out),
            )
        else:
            self._link()
            asof_around(
                *(pool.times, self._following, self._first, self._passed, times, ids),
                *(int(self._direction == "nearest"), strict, max(self._tolerance, 0), out),
            )
        return Matches(None, out)

    def _staying(self, low: int) -> Int64s:
        pool = self._pool
        cut = self._cut(low)
        stay = np.arange(cut, pool.rows)
        carries = bool(self._pool.carried)
        if (self._direction == "forward" and not carries) or not cut:
            return stay
        # Of the rows before every left row to come, the last of each key may match.
        self._grow()
        last = np.empty(cut, np.int64)
        last = last[: last_rows(pool.ids, cut, self._tail, last)]
        if self._tolerance >= 0 and not carries and low > TIME_MIN + self._tolerance:
            last = last[pool.times[last] >= low - self._tolerance]
        return np.concatenate([last, stay])
