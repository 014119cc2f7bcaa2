"""Rows of a reader with their watermarks, cut to a range of event time and to symbols."""

from __future__ import annotations

__all__ = ("Feed", "Given")

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import SourceItem
from market_data_pipeline.source.progress import FeedProgress, OnOutage
from market_data_pipeline.source.reader import FileReader


@dataclass(frozen=True, slots=True)
class Given:
    """What one step of reading gave.

    Attributes:
        items: Rows to go on, with progress, and states of the feed between them.
        filtered: Rows outside the range, or of another symbol.
        rejected: Rows that could not be taken, or None.
        fraction: How much of the input is read, 0 to 1.
    """

    items: Sequence[SourceItem]
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
        symbols: The only symbols to keep; none for all.
        states: What the feed said of itself, by time. A state comes before the first row
            that takes the reader beyond its time.
        on_outage: What an outage does to others; see `FeedProgress`.
    """

    def __init__(
        self,
        reader: FileReader,
        *,
        bound: int,
        start: int = TIME_MIN,
        end: int = TIME_MAX,
        symbols: Sequence[str] = (),
        states: Sequence[Status] = (),
        on_outage: OnOutage = "hold",
    ) -> None:
        self.schema = reader.schema
        self._reader = reader
        self._start = start
        self._end = end
        self._symbols = tuple(symbols)
        self._takes_all = start == TIME_MIN and end == TIME_MAX and not symbols
        self._progress = FeedProgress(bound, on_outage=on_outage)
        self._states = deque(
            state
            for state in states
            if start <= state.time < end and (not symbols or state.key in {None, *symbols})
        )
        self._highest = TIME_MIN
        self._ended = False

    def next(self) -> Given | None:
        """Return the next step, None at the end."""
        if self._ended:
            return None
        batch = self._reader.read()
        rejected = self._reader.take_rejected()
        self._ended = batch is None
        if batch is None and rejected is None and not self._states:
            return None
        rows = 0 if batch is None else len(batch)
        items: list[SourceItem] = []
        if batch is not None and rows:
            self._place(batch, items)
        elif batch is None:
            self._tell_until(TIME_MAX, items)
        kept = sum([len(item) for item in items if isinstance(item, Batch)])
        return Given(items, rows - kept, rejected, self._reader.fraction())

    def _place(self, batch: Batch, items: list[SourceItem]) -> None:
        """Append rows, and the states that belong before or between them."""
        if self._states:
            reached = np.maximum.accumulate(np.maximum(batch.times, self._highest))
            self._highest = int(reached[-1])
            while self._states and self._states[0].time < self._highest:
                time = self._states[0].time
                row = int(np.searchsorted(reached, time, side="right"))
                if row:
                    self._take(batch.slice(0, row), items)
                    batch, reached = batch.slice(row, len(batch)), reached[row:]
                self._tell_until(time, items)
        self._take(batch, items)

    def _take(self, batch: Batch, items: list[SourceItem]) -> None:
        chosen = self._chosen(self._progress.stamped(batch))
        if chosen is not None:
            items.append(chosen)

    def _tell_until(self, time: int, items: list[SourceItem]) -> None:
        while self._states and self._states[0].time <= time:
            items += self._progress.told(self._states.popleft())

    def _chosen(self, batch: Batch) -> Batch | None:
        if self._takes_all:
            return batch
        times = batch.times
        mask = (times >= self._start) & (times < self._end)
        if self._symbols and "symbol" in batch.schema:
            mask &= np.isin(batch["symbol"], batch.symbols.encode(self._symbols))
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
