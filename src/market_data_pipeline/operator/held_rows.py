"""Rows that wait for their time, and come out in its order."""

from __future__ import annotations

__all__ = ("HeldRows", "split_late", "without_progress")

from collections import deque

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.kernels.lateness import find_late

_NONE = np.empty(0, np.int64)


def without_progress(batch: Batch) -> Batch:
    """Return the rows alone; what waits has watermarks of its own."""
    if batch.progress is None:
        return batch
    return Batch(batch.schema, batch.columns, batch.symbols)


def split_late(
    batch: Batch, order: npt.NDArray[np.int64], floor: int
) -> tuple[Batch, Batch | None, bool]:
    """Part rows that come too late from those in time.

    A row is late iff its time is below the watermark before it, or if it has none.

    Args:
        batch: The rows.
        order: (n,) int64: the time that decides.
        floor: How far the input has come by other knowledge than the rows' own.

    Returns:
        The rows in time, without progress; the late ones or None; whether the rows in
        time never fall in that time.
    """
    progress = batch.progress
    late = np.empty(len(batch), np.bool_)
    if progress is None:
        highest, bound, column = TIME_MIN, 0, np.full(len(batch), TIME_MIN)
    elif progress.column is None:
        highest = max(progress.start, TIME_MIN + progress.bound)
        bound, column = progress.bound, _NONE
    else:
        highest, bound, column = progress.before, 0, np.ascontiguousarray(progress.column)
    times = np.ascontiguousarray(batch.times)
    count, ordered = find_late(order, times, column, highest, bound, floor, late)
    if not count:
        return without_progress(batch), None, bool(ordered)
    kept = without_progress(batch.take(~late))
    return kept, batch.take(late), bool(ordered)


class HeldRows:
    """Rows of one schema, given out in the order of a time, then of arrival.

    Rows that come in order are kept as they are and cut where they are asked for; the
    others are sorted in when the first of them is due.

    Attributes:
        rows: How many there are.
    """

    def __init__(self, time: str) -> None:
        self._time = time
        self._runs: deque[Batch] = deque()
        self._tail: list[Batch] = []
        self._tail_first = TIME_MAX
        self._last = TIME_MIN
        self.rows = 0

    def add(self, batch: Batch, *, ordered: bool) -> None:
        """Take rows, all of them in time.

        Args:
            batch: The rows, without progress.
            ordered: Whether they never fall in the time.
        """
        if not len(batch):
            return
        times = batch[self._time]
        self.rows += len(batch)
        if ordered and not self._tail and (not self._runs or int(times[0]) >= self._last):
            self._runs.append(batch)
            self._last = int(times[-1])
            return
        self._tail.append(batch)
        self._tail_first = min(self._tail_first, int(times.min()))

    @property
    def earliest(self) -> int:
        """The lowest time of the rows; `TIME_MAX` if there are none."""
        first = int(self._runs[0][self._time][0]) if self._runs else TIME_MAX
        return min(first, self._tail_first)

    def lowest(self, name: str) -> int:
        """Return the lowest value of another time; `TIME_MAX` if there are no rows."""
        if name == self._time:
            return self.earliest
        batches = (*self._runs, *self._tail)
        return min((int(batch[name].min()) for batch in batches), default=TIME_MAX)

    def due(self, limit: int) -> list[Batch]:
        """Give up the rows up to a time, that time included, in order."""
        if self._tail and self._tail_first <= limit:
            self._sort()
        given: list[Batch] = []
        runs = self._runs
        while runs:
            run = runs[0]
            times = run[self._time]
            if times[-1] <= limit:
                given.append(runs.popleft())
                continue
            if times[0] > limit:
                break
            count = int(np.searchsorted(times, limit, side="right"))
            given.append(run.slice(0, count))
            runs[0] = run.slice(count, len(run))
            break
        self.rows -= sum(map(len, given))
        return given

    def all(self) -> list[Batch]:
        """Return the rows in order, and keep them."""
        if self._tail:
            self._sort()
        return list(self._runs)

    def _sort(self) -> None:
        whole = Batch.concat([*self._runs, *self._tail])
        times: npt.NDArray[np.int64] = whole[self._time]
        ordered = whole.reorder(np.argsort(times, kind="stable"))
        self._runs = deque((ordered,))
        self._last = int(ordered[self._time][-1])
        self._tail, self._tail_first = [], TIME_MAX
