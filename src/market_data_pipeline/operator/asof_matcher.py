"""The right side of an as-of join: which row is the one as of a time."""

from __future__ import annotations

__all__ = ("AsofMatcher", "Direction", "Rule")

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column
from market_data_pipeline.kernels.asof import asof_around, asof_backward, last_rows, link_rows
from market_data_pipeline.operator.held_rows import HeldRows, by_time
from market_data_pipeline.operator.join_keys import JoinKeys
from market_data_pipeline.operator.join_pool import JoinPool
from market_data_pipeline.records import Field, Schema
from market_data_pipeline.symbols import SymbolTable

Direction: TypeAlias = Literal["backward", "forward", "nearest"]
Int64s: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which right row a left row is given.

    Attributes:
        direction: Before it, after it, or whichever is nearer.
        strict: Whether a row of the same time does not count.
        tolerance_ns: Most nanoseconds between the two; None for any.
    """

    direction: Direction
    strict: bool
    tolerance_ns: int | None

    def decided(self, watermark: int) -> int:
        """Return up to which left time no right row can come that would change a match."""
        if watermark == TIME_MAX:
            return TIME_MAX
        if self.direction == "backward":
            return max(watermark - (not self.strict), TIME_MIN)
        ahead = self.tolerance_ns or 0
        return watermark - 1 - ahead if watermark > TIME_MIN + ahead else TIME_MIN


class AsofMatcher:
    """Right rows, and for each key how far they were passed."""

    def __init__(
        self,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        rule: Rule,
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> None:
        """Make one without rows.

        Args:
            schema: The columns of the right rows.
            time: The column that decides.
            needed: The columns that are asked for, those of the key among them.
            rule: Which row is the one.
            keys: Numbers the keys.
            symbols: The symbol table of the run.
        """
        self.schema = replace(schema.only({time, *needed}), time=time)
        self._rule = rule
        self._keys = keys
        self._backward = rule.direction == "backward"
        self._tolerance = -1 if rule.tolerance_ns is None else rule.tolerance_ns
        self._symbols = symbols
        self._held = HeldRows(self.schema, symbols)
        self._pool = JoinPool(self.schema, time, keys, symbols)
        self._cursor = 0
        self._following = np.empty(0, np.int64)
        self._linked = 0
        # By key: the last row passed, the first and the last row there is.
        self._passed = np.empty(0, np.int64)
        self._first = np.empty(0, np.int64)
        self._tail = np.empty(0, np.int64)

    @property
    def rows(self) -> int:
        """Rows it has."""
        return self._held.rows + self._pool.rows

    def take(self, batch: Batch) -> Int64s:
        """Take right rows; return the positions of late ones, which are not taken."""
        return self._held.take(by_time(batch, self.schema))

    def load(self, batch: Batch, watermark: int) -> None:
        """Take rows that were kept, in order, and the progress there was."""
        self._held.load(batch, watermark)

    def advance(self, watermark: int, low: int) -> int:
        """Take progress of the right side; return how many rows were forgotten.

        Args:
            watermark: No right row before this is still to come.
            low: No left row before this is still to come.
        """
        forgotten = 0
        self._held.advance(watermark)
        limit = watermark if watermark == TIME_MAX else max(watermark - 1, TIME_MIN)
        for batch in self._held.due(limit):
            if not self._pool.fits(len(batch)):
                forgotten += self._forget(low, len(batch))
            self._pool.add(batch)
        return forgotten

    def match(self, left: Batch) -> Int64s:
        """Return the place of each left row's match, (n,) int64, -1 for none.

        Args:
            left: The rows, all decided, in the order of their time, across calls too.
        """
        ids = self._keys.ids(left, adding=False)
        self._grow()
        times = np.ascontiguousarray(left.times)
        out = np.empty(len(left), np.int64)
        pool, strict = self._pool, int(self._rule.strict)
        if self._backward:
            self._cursor = asof_backward(
                *(pool.times, pool.ids, pool.rows, self._cursor, self._passed),
                *(times, ids, strict, self._tolerance, out),
            )
        else:
            self._link()
            asof_around(
                *(pool.times, self._following, self._first, self._passed, times, ids),
                *(int(self._rule.direction == "nearest"), strict, max(self._tolerance, 0), out),
            )
        return out

    def matched(self, name: str, field: Field, places: Int64s) -> Column:
        """Return a column of the rows at some places; see `JoinPool.matched`."""
        return self._pool.matched(name, field, places)

    def kept(self, low: int) -> Batch:
        """Return, in order, the rows that left rows may ask for that are not before `low`."""
        self._forget(low, 0)
        pool = self._pool.kept(np.arange(self._pool.rows))
        return Batch.concat([pool, self._held.all()])

    def forget_all(self) -> int:
        """Forget all rows; return how many there were."""
        rows = self.rows
        self._held = HeldRows(self.schema, self._symbols)
        self._reset(np.empty(0, np.int64), 0)
        return rows

    def _cut(self, low: int) -> int:
        return int(np.searchsorted(self._pool.times[: self._pool.rows], low, side="left"))

    def _forget(self, low: int, room: int) -> int:
        pool = self._pool
        before = pool.rows
        cut = self._cut(low)
        stay = np.arange(cut, before)
        if self._rule.direction != "forward" and cut:
            # Of the rows before every left row to come, the last of each key may match.
            found = np.empty(cut, np.int64)
            self._grow()
            count = last_rows(pool.ids, cut, self._tail, found)
            found = found[:count]
            if self._tolerance >= 0 and low > TIME_MIN + self._tolerance:
                found = found[pool.times[found] >= low - self._tolerance]
            stay = np.concatenate([found, stay])
        self._reset(stay, room)
        return before - pool.rows

    def _reset(self, stay: Int64s, room: int) -> None:
        self._pool.keep_only(stay, room)
        self._cursor = self._linked = 0
        self._passed = self._first = self._tail = np.empty(0, np.int64)

    def _grow(self) -> None:
        missing = self._keys.count - len(self._passed)
        if missing > 0:
            more = np.full(max(missing, len(self._passed), 64), -1, np.int64)
            self._passed = np.concatenate([self._passed, more])
            self._first = np.concatenate([self._first, more])
            self._tail = np.concatenate([self._tail, more])

    def _link(self) -> None:
        pool = self._pool
        if len(self._following) != pool.capacity:
            # The pool was made anew, and what was known of it with it.
            self._following = np.empty(pool.capacity, np.int64)
        link_rows(pool.ids, self._linked, pool.rows, self._following, self._first, self._tail)
        self._linked = pool.rows
