"""Windows that start at the opens of trading sessions and are cut at their closes."""

from __future__ import annotations

__all__ = ("SessionWindows",)

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.calendars import SessionTable
from market_data_pipeline.kernels.windows import SESSION

Int64s = npt.NDArray[np.int64]

_DAY_NS: Final = 86_400_000_000_000


class SessionWindows:
    """The intervals of a calendar as `dag.window_grid.Sessions`.

    Windows shorter than a day begin anew after a lunch break; a day or longer stands for
    the whole session, whatever pauses there are in it.

    Attributes:
        table: (SESSION, n) int64 intervals known so far.
        first: First time for which they are complete.
        stop: First time for which they are not.

    Args:
        calendar: What `calendars.calendar_of` takes.
        width_ns: Width of a window, nanoseconds.
    """

    def __init__(self, calendar: str | Mapping[str, Any], width_ns: int) -> None:
        self.table: Int64s = np.empty((SESSION, 0), np.int64)
        self.first = self.stop = 0
        self._known = SessionTable(calendar)
        self._by_session = width_ns >= _DAY_NS

    def cover(self, time: int) -> None:
        """Know the intervals around a time.

        Raises:
            ConfigError: If the calendar does not know of that time.
        """
        known = self._known
        known.cover(time, time)
        self.first, self.stop = known.covered
        starts, ends = known.opens, known.closes
        if self._by_session and len(starts):
            firsts = np.flatnonzero(np.diff(known.session, prepend=known.session[0] - 1))
            sizes = np.diff(firsts, append=len(starts))
            starts = np.repeat(starts[firsts], sizes)
            ends = np.repeat(ends[firsts + sizes - 1], sizes)
        self.table = np.stack([known.opens, known.closes, starts, ends])

    def dates(self, opens: Int64s) -> pa.Array:
        """Return the session of each window, (n,) date32, given where the windows start."""
        at = np.searchsorted(self.table[1], opens, side="right")
        return pa.array(self._known.session[at]).cast(pa.date32())
