"""Trading intervals looked up by time, found as times need them."""

from __future__ import annotations

__all__ = ("SessionTable", "calendar_of", "check_calendar", "sessions")

import functools
import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.calendars.calendar import Calendar, Sessions
from market_data_pipeline.calendars.custom import custom_calendar
from market_data_pipeline.calendars.exchange import ExchangeCalendar
from market_data_pipeline.errors import ConfigError

_DAY_NS: Final = 86_400_000_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_YEARS: Final = 10
# A session's date is that of its place; its times are less than two days from that in UTC.
_MARGIN: Final = timedelta(days=2)


def calendar_of(calendar: str | Mapping[str, Any]) -> Calendar:
    """Return the calendar that a setting names or describes.

    Args:
        calendar: The name of an exchange's calendar, or a mapping; see `custom_calendar`.

    Raises:
        ConfigError: If there is none of the name, or the mapping is no calendar.
        MissingDependencyError: If it is named and exchange_calendars is not installed.
    """
    if isinstance(calendar, str):
        return _named(calendar)
    return _described(json.dumps(calendar, default=str))


def check_calendar(calendar: str | Mapping[str, Any]) -> None:
    """Do nothing if a setting names or describes a calendar.

    Raises:
        ConfigError: If it does not; see `calendar_of`.
    """
    calendar_of(calendar)


def sessions(calendar: str | Mapping[str, Any], start_ns: int, end_ns: int) -> Sessions:
    """Return the trading intervals of which a part is in a range of time.

    Args:
        calendar: As for `calendar_of`.
        start_ns: Nanoseconds since the epoch, UTC.
        end_ns: The range ends before it.

    Raises:
        ConfigError: If the calendar is none, or does not know of the range.
    """
    table = SessionTable(calendar)
    if end_ns > start_ns:
        table.cover(start_ns, end_ns - 1)
    return table.sessions.between(start_ns, end_ns)


class SessionTable:
    """The trading intervals of one calendar, as far as times have asked for them.

    It grows by ten years at a time; what was found is kept for the process, so that a
    second table of the same calendar costs nothing. Positions of intervals change when it
    grows to earlier times.

    Attributes:
        sessions: The intervals found so far.

    Args:
        calendar: As for `calendar_of`.

    Raises:
        ConfigError: If it is no calendar.
    """

    def __init__(self, calendar: str | Mapping[str, Any]) -> None:
        self.sessions = Sessions.none()
        self._calendar = calendar_of(calendar)
        self._key = calendar if isinstance(calendar, str) else json.dumps(calendar, default=str)
        self._from_ns = self._to_ns = 0  # times in [from, to) can be looked up
        self._years: range | None = None

    @property
    def opens(self) -> npt.NDArray[np.int64]:
        """Begins of the intervals found so far, (n,) int64 nanoseconds UTC."""
        return self.sessions.opens

    @property
    def closes(self) -> npt.NDArray[np.int64]:
        """Ends of the intervals found so far, (n,) int64 nanoseconds UTC."""
        return self.sessions.closes

    @property
    def session(self) -> npt.NDArray[np.int32]:
        """Dates of their sessions, (n,) int32 days since 1970-01-01."""
        return self.sessions.session

    @property
    def covered(self) -> tuple[int, int]:
        """The first time that can be looked up, and the first after it that cannot."""
        return self._from_ns, self._to_ns

    def cover(self, low_ns: int, high_ns: int) -> bool:
        """See to it that all times from `low_ns` to `high_ns` can be looked up.

        Returns:
            True if the arrays are others now.

        Raises:
            ConfigError: If the calendar does not know of one of these times.
        """
        if self._from_ns <= low_ns and high_ns < self._to_ns:
            return False
        known = self._calendar.dates()
        for time in (low_ns, high_ns):
            self._check_known(time, known)
        first = max(_date(low_ns) - _MARGIN, known[0]).year // _YEARS
        last = min(_date(high_ns) + _MARGIN, known[1]).year // _YEARS
        if self._years is not None:
            first, last = min(first, self._years.start), max(last, self._years.stop - 1)
        self._years = range(first, last + 1)
        self.sessions = Sessions.joined([_decade(self._key, each, known) for each in self._years])
        begin, end = _dates_of(first, known)[0], _dates_of(last, known)[1]
        margin = _MARGIN.days
        self._from_ns = (
            begin.toordinal() - _EPOCH + (margin if begin > known[0] else 0)
        ) * _DAY_NS
        self._to_ns = (end.toordinal() + 1 - _EPOCH - (margin if end < known[1] else 0)) * _DAY_NS
        return True

    def find(self, times: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
        """Return the position of each time's interval, and how many times have none.

        Args:
            times: (n,) int64 nanoseconds UTC, in any order.

        Returns:
            (n,) int64 positions in `opens`, `closes` and `session`, -1 outside of them
            all; and the number of -1.

        Raises:
            ConfigError: If the calendar does not know of one of these times.
        """
        from market_data_pipeline.kernels.sessions import find_sessions

        positions = np.empty(len(times), np.int64)
        if not len(times):
            return positions, 0
        if len(times) == 1:
            low = high = int(times[0])
        else:
            low, high = int(times.min()), int(times.max())
        self.cover(low, high)
        outside = find_sessions(
            self.opens, self.closes, np.ascontiguousarray(times, np.int64), positions
        )
        return positions, int(outside)

    def _check_known(self, time_ns: int, known: tuple[date, date]) -> None:
        if not known[0] <= _date(time_ns) <= known[1]:
            msg = (
                f"the calendar `{self._calendar.name}` is known from {known[0]} to {known[1]}, "
                f"and a time is on {_date(time_ns)}; filter such rows out before, or describe a "
                f"calendar of your own"
            )
            raise ConfigError(msg, parameter="calendar")


def _date(time_ns: int) -> date:
    return date.fromordinal(time_ns // _DAY_NS + _EPOCH)


def _dates_of(decade: int, known: tuple[date, date]) -> tuple[date, date]:
    first, last = date(decade * _YEARS, 1, 1), date(decade * _YEARS + _YEARS - 1, 12, 31)
    return max(first, known[0]), min(last, known[1])


@functools.lru_cache(maxsize=256)
def _decade(key: str, decade: int, known: tuple[date, date]) -> Sessions:
    calendar = _described(key) if key.startswith("{") else _named(key)
    found = calendar.between(*_dates_of(decade, known))
    if (found.opens >= found.closes).any() or (found.closes[:-1] > found.opens[1:]).any():
        msg = f"intervals of the calendar `{calendar.name}` overlap or end before they begin"
        raise ConfigError(msg, parameter="calendar")
    for column in (found.opens, found.closes, found.session):
        column.flags.writeable = False
    return found


@functools.cache
def _named(name: str) -> Calendar:
    return ExchangeCalendar(name)


@functools.lru_cache(maxsize=256)
def _described(text: str) -> Calendar:
    return custom_calendar(json.loads(text))
