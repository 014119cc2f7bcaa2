"""The right side of a join: rows that left rows may still ask for."""

from __future__ import annotations

__all__ = ("Matches", "RightRows")

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.kernels.key_chains import link_rows
from market_data_pipeline.operator.held_rows import HeldRows, by_time
from market_data_pipeline.operator.join_keys import JoinKeys
from market_data_pipeline.operator.join_pool import JoinPool
from market_data_pipeline.records import Field, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matches:
    """Which rows belong together.

    Attributes:
        left: (p,) int64, positions of left rows, each at least once and in order; None if
            each is there once.
        right: (p,) int64, places of the right rows, -1 where there is none.
    """

    left: Int64s | None
    right: Int64s


class RightRows(ABC):
    """Right rows, and for each key how far they were passed."""

    def __init__(
        self,
        schema: Schema,
        time: str,
        needed: Sequence[str],
        keys: JoinKeys,
        symbols: SymbolTable,
    ) -> None:
        """Make one without rows.

        Args:
            schema: The columns of the right rows.
            time: The column that decides.
            needed: The columns that are asked for, those of the key among them.
            keys: Numbers the keys.
            symbols: The symbol table of the run.
        """
        self.schema = replace(schema.only({time, *needed}), time=time)
        self._keys = keys
        self._symbols = symbols
        self._held = HeldRows(self.schema, symbols)
        self._pool = JoinPool(self.schema, time, keys, symbols)
        self._cursor = 0
        # Rows of one key are chained: the row after each, how many rows are in chains.
        self._following = np.empty(0, np.int64)
        self._linked = 0
        # By key: the last row passed, the first and the last row there is.
        self._passed = np.empty(0, np.int64)
        self._first = np.empty(0, np.int64)
        self._tail = np.empty(0, np.int64)

    @abstractmethod
    def decided(self, watermark: int) -> int:
        """Return up to which left time no right row can come that would change a match."""

    @abstractmethod
    def match(self, left: Batch) -> Matches:
        """Return which right rows belong to which left rows.

        Args:
            left: The rows, all decided, in the order of their time, across calls too.
        """

    @abstractmethod
    def _staying(self, low: int) -> Int64s:
        """Return, ascending, the rows in the pool that left rows from `low` on may ask for."""

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
        for batch in self._held.due(watermark):
            if not self._pool.fits(len(batch)):
                forgotten += self._forget(low, len(batch))
            self._pool.add(batch)
        return forgotten

    def matched(self, name: str, field: Field, places: Int64s) -> Column:
        """Return a column of the rows at some places; see `JoinPool.matched`."""
        return self._pool.matched(name, field, places)

    def kept(self, low: int) -> Batch:
        """Return, in order, the rows that left rows from `low` on may ask for."""
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
        """Return how many rows in the pool are before a time."""
        return int(np.searchsorted(self._pool.times[: self._pool.rows], low, side="left"))

    def _forget(self, low: int, room: int) -> int:
        before = self._pool.rows
        self._reset(self._staying(low), room)
        return before - self._pool.rows

    def _reset(self, stay: Int64s, room: int) -> None:
        self._pool.keep_only(stay, room)
        self._cursor = self._linked = 0
        self._passed = self._first = self._tail = np.empty(0, np.int64)

    def _ids(self, left: Batch) -> npt.NDArray[np.int32]:
        """Return the numbers of the keys of left rows, and make room for all keys."""
        ids = self._keys.ids(left, adding=False)
        self._grow()
        return ids

    def _grow(self) -> None:
        missing = self._keys.count - len(self._passed)
        if missing > 0:
            more = np.full(max(missing, len(self._passed), 64), -1, np.int64)
            self._passed = np.concatenate([self._passed, more])
            self._first = np.concatenate([self._first, more])
            self._tail = np.concatenate([self._tail, more])

    def _link(self) -> None:
        """Chain the rows that came since the last call."""
        pool = self._pool
        if len(self._following) != pool.capacity:
            # The pool was made anew, and what was known of it with it.
            self._following = np.empty(pool.capacity, np.int64)
        link_rows(pool.ids, self._linked, pool.rows, self._following, self._first, self._tail)
        self._linked = pool.rows
