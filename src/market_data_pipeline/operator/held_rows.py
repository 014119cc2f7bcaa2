"""Rows of one side of a join, which wait for the other side."""

from __future__ import annotations

__all__ = ("HeldRows", "by_time")

from collections import deque

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, Batch
from market_data_pipeline.dag.reorder import Reorder
from market_data_pipeline.operator.compaction import with_own_progress
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]


def by_time(batch: Batch, schema: Schema) -> Batch:
    """Return the same rows as rows of another schema, which may have another time.

    Args:
        batch: The rows; they stay as late as they were.
        schema: Some of their columns.
    """
    if batch.schema is schema:
        return batch
    columns = {name: batch[name] for name in schema.names}
    same = schema.time == batch.schema.time
    progress = batch.progress if same else with_own_progress(batch)
    return Batch(schema, columns, batch.symbols, progress)


class HeldRows:
    """Rows of one schema, given out in the order of their time, then of arrival.

    Attributes:
        schema: Their columns; its time is the one they are ordered by.
    """

    def __init__(self, schema: Schema, symbols: SymbolTable) -> None:
        self.schema = schema
        self._symbols = symbols
        self._reorder = Reorder(symbols)
        self._ready: deque[Batch] = deque()
        self._ready_rows = 0

    def take(self, batch: Batch) -> Int64s:
        """Take rows of the schema; return the positions of late ones, which are not taken."""
        ready, late = self._reorder.take(batch)
        self._queue(ready)
        return late

    def advance(self, watermark: int) -> None:
        """Take progress of the side."""
        self._queue(self._reorder.advance(watermark))

    def _queue(self, ready: list[Batch]) -> None:
        for batch in ready:
            self._ready.append(Batch(batch.schema, batch.columns, batch.symbols))
            self._ready_rows += len(batch)

    @property
    def rows(self) -> int:
        """Rows held."""
        return self._ready_rows + self._reorder.held

    @property
    def first_ready(self) -> int:
        """The time of the first row that the watermark has reached, else `TIME_MAX`."""
        return int(self._ready[0].times[0]) if self._ready else TIME_MAX

    def lowest(self, name: str) -> int:
        """Return the lowest value of a time; `TIME_MAX` if there are no rows."""
        batches = (*self._ready, *self._reorder.waiting())
        return min((int(batch[name].min()) for batch in batches), default=TIME_MAX)

    def due(self, limit: int) -> list[Batch]:
        """Give up the rows up to a time that the watermark has reached, in order."""
        given: list[Batch] = []
        ready = self._ready
        while ready:
            rows = ready[0]
            times = rows.times
            if times[-1] <= limit:
                given.append(ready.popleft())
                continue
            if times[0] <= limit:
                count = int(np.searchsorted(times, limit, side="right"))
                given.append(rows.slice(0, count))
                ready[0] = rows.slice(count, len(rows))
            break
        self._ready_rows -= sum(map(len, given))
        return given

    def all(self) -> Batch:
        """Return the rows in order, and keep them."""
        rows = Batch.concat([Batch.empty(self.schema, self._symbols), *self._ready])
        waiting = self._reorder.waiting()
        if waiting:
            after = Batch.concat(waiting)
            after = after.reorder(np.argsort(after.times, kind="stable"))
            rows = Batch.concat([rows, after])
        return rows

    def load(self, batch: Batch, watermark: int) -> None:
        """Take rows that were held, in order, and the progress there was."""
        if len(batch):
            order = np.argsort(batch.times, kind="stable")
            self._reorder.take(batch.reorder(order))
        self.advance(watermark)
