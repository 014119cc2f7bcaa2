"""Rows dated further in the future than can be: found, so that they move no watermark."""

from __future__ import annotations

__all__ = ("FutureRows",)

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.records import UNDEFINED

Int64s: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


class FutureRows:
    """Judges the rows of one partition in order, whatever the batches.

    What was received at `ts_recv` cannot have happened later, so such a row is measured
    by its own `ts_recv`. Other rows have only one another to be measured by. The highest
    event time so far would not do: the first row after a weekend lies days ahead of it,
    and so would all that follow. So a time is known once two rows in a row have come as
    far, and a row is measured by the highest time known with the row after it. One row
    of a wrong date is found, also if it is the first of all; a break of any length is not
    mistaken for one; two wrong rows in a row are believed.

    Args:
        skew: Nanoseconds that a row may lie beyond what it is measured by.
    """

    def __init__(self, skew: int) -> None:
        self._skew = skew
        self._known = TIME_MIN
        self._last: int | None = None
        self._is_alone = True

    def judge(self, times: Int64s, received: Int64s | None) -> tuple[Bools, bool]:
        """Tell which rows lie too far in the future.

        Args:
            times: (n,) event times of the next rows, n > 0.
            received: (n,) times of receipt, `UNDEFINED` where there is none; or None.

        Returns:
            A mask of the rows that do; and True if the last of them does unless the
            next row confirms it (see `confirmed`).
        """
        rows = len(times)
        # How far each row and the one after it agree.
        known = np.empty(rows, np.int64)
        np.minimum(times[1:], times[:-1], out=known[:-1])
        known[-1] = TIME_MIN
        before = self._known
        if self._last is not None:
            before = max(before, min(self._last, int(times[0])))
        self._is_alone = self._last is None and rows == 1
        known[0] = max(int(known[0]), before)
        self._last = int(times[-1])
        if received is not None and received.max() != UNDEFINED:
            self._known = int(known.max())
            return times > self._limit(received), False
        np.maximum.accumulate(known, out=known)
        self._known = int(known[-1])
        future = times > self._limit(known)
        is_open = bool(future[-1])
        if received is not None:
            stamped = received != UNDEFINED
            future = np.where(stamped, times > self._limit(received), future)
            is_open = bool(future[-1]) and not stamped[-1]
        return future, is_open

    def confirmed(self, following: int | None) -> bool:
        """Tell whether the last row judged is borne out by the row after it.

        Args:
            following: Event time of that row; None if there is none, which is enough
                for a row that stands alone.
        """
        last = self._last
        if last is None:
            return True
        if following is None:
            return self._is_alone
        known = max(self._known, min(last, following))
        return last <= min(known, TIME_MAX - self._skew) + self._skew

    def _limit(self, known: Int64s) -> Int64s:
        limit: Int64s = np.minimum(known, TIME_MAX - self._skew) + self._skew
        return limit
