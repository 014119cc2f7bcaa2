"""The sessions of an exchange with some time before their opens and after their closes."""

from __future__ import annotations

__all__ = ("ExtendedCalendar",)

from datetime import date, timedelta
from typing import Final

import numpy as np

from market_data_pipeline.calendars.calendar import Calendar, Sessions, day_number
from market_data_pipeline.errors import ConfigError

# A session is looked for within two days of its date, however it is extended.
_LONGEST_NS: Final = 12 * 3_600_000_000_000
# Longer than an exchange rests, so that the sessions next to a range are seen.
_REST: Final = timedelta(days=21)


class ExtendedCalendar:
    """Another calendar, with sessions that begin earlier and end later.

    Breaks stay what they are. A session never reaches into the one before or after it.

    Args:
        calendar: The other calendar.
        before_open_ns: How much earlier a session begins, at most 12 hours.
        after_close_ns: How much later it ends, at most 12 hours.

    Raises:
        ConfigError: If it is to be extended by more.
    """

    def __init__(self, calendar: Calendar, before_open_ns: int, after_close_ns: int) -> None:
        for name, length in (("before_open", before_open_ns), ("after_close", after_close_ns)):
            if length > _LONGEST_NS:
                msg = f"`calendar.{name}` must be 12h at most"
                raise ConfigError(msg, parameter="calendar")
        self.name = calendar.name
        self._calendar = calendar
        self._before, self._after = before_open_ns, after_close_ns

    def dates(self) -> tuple[date, date]:
        """Return the first and the last date of which the other calendar knows."""
        return self._calendar.dates()

    def between(self, first: date, last: date) -> Sessions:
        """Return the intervals of the sessions dated `first` to `last`."""
        known = self.dates()
        found = self._calendar.between(
            known[0] if first - known[0] < _REST else first - _REST,
            known[1] if known[1] - last < _REST else last + _REST,
        )
        if not len(found):
            return found
        begins = np.diff(found.session, prepend=found.session[0] - 1) != 0
        ends = np.append(begins[1:], True)
        opens = found.opens - np.where(begins, self._before, 0)
        opens[1:] = np.maximum(opens[1:], found.closes[:-1])
        closes = found.closes + np.where(ends, self._after, 0)
        closes[:-1] = np.minimum(closes[:-1], opens[1:])
        low = int(np.searchsorted(found.session, day_number(first), "left"))
        high = int(np.searchsorted(found.session, day_number(last), "right"))
        return Sessions(
            np.ascontiguousarray(opens[low:high]),
            np.ascontiguousarray(closes[low:high]),
            found.session[low:high].copy(),
        )
