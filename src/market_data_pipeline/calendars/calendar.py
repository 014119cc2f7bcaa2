"""What a calendar is: trading intervals for a range of session dates."""

from __future__ import annotations

__all__ = ("FIRST_DATE", "LAST_DATE", "Calendar", "Sessions", "day_number")

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

FIRST_DATE: Final = date(1678, 1, 1)
"""The first date whose whole day is within int64 nanoseconds, rounded to a year."""
LAST_DATE: Final = date(2261, 12, 31)
"""The last such date."""

_EPOCH: Final = date(1970, 1, 1).toordinal()


def day_number(day: date) -> int:
    """Return a date as days since 1970-01-01."""
    return day.toordinal() - _EPOCH


@dataclass(frozen=True, slots=True)
class Sessions:
    """Trading intervals, in order; none overlaps the next.

    Attributes:
        opens: (n,) int64 nanoseconds UTC: an interval begins at its open,
        closes: (n,) int64 nanoseconds UTC: and ends before its close.
        session: (n,) int32 dates of the sessions, as days since 1970-01-01.
    """

    opens: npt.NDArray[np.int64]
    closes: npt.NDArray[np.int64]
    session: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.opens)

    @classmethod
    def none(cls) -> Sessions:
        """Return no intervals."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Sessions]) -> Sessions:
        """Return consecutive intervals as one."""
        return cls(
            np.concatenate([part.opens for part in parts]),
            np.concatenate([part.closes for part in parts]),
            np.concatenate([part.session for part in parts]),
        )

    def between(self, start_ns: int, end_ns: int) -> Sessions:
        """Return the intervals of which a part is in `[start_ns, end_ns)`."""
        first = int(np.searchsorted(self.closes, start_ns, "right"))
        last = max(first, int(np.searchsorted(self.opens, end_ns, "left")))
        return Sessions(self.opens[first:last], self.closes[first:last], self.session[first:last])


class Calendar(Protocol):
    """Where intervals come from.

    Attributes:
        name: What the calendar is called, for messages.
    """

    name: str

    def dates(self) -> tuple[date, date]:
        """Return the first and the last date of which the calendar knows."""
        ...

    def between(self, first: date, last: date) -> Sessions:
        """Return the intervals of the sessions dated `first` to `last`, both included.

        Args:
            first: Not before the first date that is known.
            last: Not after the last one.

        Raises:
            ConfigError: If they cannot be told.
        """
        ...
