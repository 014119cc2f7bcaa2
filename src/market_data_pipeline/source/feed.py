"""Rows of a reader with their watermarks, cut to a range of event time and a symbol."""

from __future__ import annotations

__all__ = ("Feed", "Given")

from dataclasses import dataclass

import numpy as np

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.source.progress import FeedProgress
from market_data_pipeline.source.reader import FileReader


@dataclass(frozen=True, slots=True)
class Given:
    """What one step of reading gave.

    Attributes:
        batch: Rows to go on, with progress; None if there were none.
        filtered: Rows outside the range, or of another symbol.
        rejected: Rows that could not be taken, or None.
        fraction: How much of the input is read, 0 to 1.
    """

    batch: Batch | None
    filtered: int
    rejected: Batch | None
    fraction: float

    @property
    def rejected_rows(self) -> int:
        """How many rows could not be taken."""
        return 0 if self.rejected is None else len(self.rejected)


class Feed:
    """Steps through a reader; blocking, used from one thread.

    Args:
        reader: What to read.
        bound: The watermark is the highest event time seen minus this.
        start: First event time of the range.
        end: First event time after the range.
        symbol: The only symbol to keep; None for all.
    """

    def __init__(
        self,
        reader: FileReader,
        *,
        bound: int,
        start: int = TIME_MIN,
        end: int = TIME_MAX,
        symbol: str | None = None,
    ) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._start = start
        self._end = end
        self._symbol = symbol
        self._takes_all = start == TIME_MIN and end == TIME_MAX and symbol is None
        self._progress = FeedProgress(bound)
        self._ended = False

    def next(self) -> Given | None:
        """Return the next step, None at the end."""
        if self._ended:
            return None
        batch = self._reader.read()
        rejected = self._reader.take_rejected()
        self._ended = batch is None
        if batch is None and rejected is None:
            return None
        rows = 0 if batch is None else len(batch)
        if batch is not None:
            batch = self._chosen(self._progress.stamped(batch)) if rows else None
        kept = 0 if batch is None else len(batch)
        return Given(batch, rows - kept, rejected, self._reader.fraction())

    def _chosen(self, batch: Batch) -> Batch | None:
        if self._takes_all:
            return batch
        times = batch.times
        mask = (times >= self._start) & (times < self._end)
        if self._symbol is not None and "symbol" in batch.schema:
            mask &= batch["symbol"] == batch.symbols.code(self._symbol)
        rows = np.flatnonzero(mask)
        if len(rows) == len(batch):
            return batch
        if not len(rows):
            return None
        first, stop = int(rows[0]), int(rows[-1]) + 1
        return batch.slice(first, stop) if stop - first == len(rows) else batch.take(rows)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
