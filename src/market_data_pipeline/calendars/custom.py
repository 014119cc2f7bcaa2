"""Calendars that a user describes: weekly hours, a list, or an exchange's with more time."""

from __future__ import annotations

__all__ = ("ListedCalendar", "WeeklyCalendar", "custom_calendar")

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError

from market_data_pipeline.calendars.calendar import (
    FIRST_DATE,
    LAST_DATE,
    Calendar,
    Sessions,
    day_number,
)
from market_data_pipeline.calendars.exchange import ExchangeCalendar
from market_data_pipeline.calendars.extended import ExtendedCalendar
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError

_WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


def custom_calendar(settings: Mapping[str, Any]) -> Calendar:
    """Return the calendar that a mapping describes.

    Weekly hours, in the time of a place; a `close` that is not after `open` is that of the
    next day, and the session has the date of its close:

        {timezone: Europe/Berlin, open: "09:00", close: "17:30", days: mon-fri,
         breaks: [["13:00", "13:02"]], holidays: [2024-12-25], half_days: {2024-12-30: "14:00"}}

    Or a list of sessions, each with its times in UTC or with their offset; the date is
    that of the open in UTC where it is not given:

        {sessions: [{open: 2024-01-02T14:30:00Z, close: 2024-01-02T21:00:00Z, date: 2024-01-02}]}

    Or an exchange's calendar, whose sessions begin earlier or end later: a closing auction
    is reported after the close, and there is trading before the open.

        {exchange: XNYS, before_open: 5h30min, after_close: 5min}

    Args:
        settings: One of the three; `name` is what messages call one of the first two.

    Raises:
        ConfigError: If it is none of them, or sessions overlap.
        MissingDependencyError: If it names an exchange and exchange_calendars is not there.
    """
    model: type[_Weekly | _Listed | _Extended] = _Weekly
    if "sessions" in settings:
        model = _Listed
    elif "exchange" in settings:
        model = _Extended
    try:
        made = model.model_validate(dict(settings))
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(["calendar", *(str(part) for part in first["loc"])])
        text = first["msg"].removeprefix("Value error, ")
        msg = f"`{place}`: {text[:1].lower()}{text[1:]}"
        if first["type"] not in {"missing", "value_error"}:
            msg += f", was {first['input']!r}"
        raise ConfigError(msg, parameter="calendar") from None
    if isinstance(made, _Extended):
        exchange = ExchangeCalendar(made.exchange)
        lengths = duration_ns(made.before_open), duration_ns(made.after_close)
        return ExtendedCalendar(exchange, *lengths)
    return ListedCalendar(made) if isinstance(made, _Listed) else WeeklyCalendar(made)


def _clock(value: object) -> object:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        msg = f'must be a time of day as "09:30", was {value!r}'
        raise ValueError(msg)
    hour, minute, second = found.groups()
    return time(int(hour), int(minute), int(second or 0))


def _days(value: object) -> object:
    """Return the numbers of weekdays, Monday 0, of `mon-fri` or `[mon, wed]`."""
    parts = value.split(",") if isinstance(value, str) else value
    numbers: set[int] = set()
    for part in parts if isinstance(parts, list) else [str(parts)]:
        first, _, last = str(part).strip().lower().partition("-")
        if first not in _WEEK or (last or first) not in _WEEK:
            msg = f"must name days as `mon-fri` or `[mon, wed, fri]`, was {value!r}"
            raise ValueError(msg)
        begin, end = _WEEK.index(first), _WEEK.index(last or first)
        numbers.update(
            range(begin, end + 1) if begin <= end else {*range(begin, 7), *range(end + 1)}
        )
    return frozenset(numbers)


_Date = date  # a field of that name hides the type
_Clock = Annotated[time, BeforeValidator(_clock)]


class _Weekly(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: str
    open: _Clock
    close: _Clock
    days: Annotated[frozenset[int], BeforeValidator(_days)] = frozenset(range(5))
    breaks: tuple[tuple[_Clock, _Clock], ...] = ()
    holidays: frozenset[date] = frozenset()
    half_days: dict[date, _Clock] = {}
    name: str = "of your own"


class _Session(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    open: AwareDatetime
    close: AwareDatetime
    date: _Date | None = None


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    sessions: tuple[_Session, ...]
    name: str = "of your own"


class _Extended(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    exchange: str
    before_open: Duration = "0s"
    after_close: Duration = "0s"


class WeeklyCalendar:
    """The same hours every week, but for holidays and half days."""

    def __init__(self, settings: _Weekly) -> None:
        self.name = settings.name
        self._settings = settings
        try:
            self._zone = ZoneInfo(settings.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            msg = (
                f"`calendar.timezone`: there is no time zone `{settings.timezone}`; "
                "use a name of the IANA database, as `America/New_York`"
            )
            raise ConfigError(msg, parameter="calendar") from err
        # Any week shows whether the hours overlap.
        _checked(self.between(date(2024, 1, 1), date(2024, 1, 14)), self.name)

    def dates(self) -> tuple[date, date]:
        """Return all dates: the hours hold for ever."""
        return FIRST_DATE, LAST_DATE

    def between(self, first: date, last: date) -> Sessions:
        """Return the intervals of the sessions dated `first` to `last`."""
        rows: list[tuple[int, int, int]] = []
        for number in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(number)
            if day.weekday() in self._settings.days and day not in self._settings.holidays:
                rows += self._session(day)
        return _of_rows(rows)

    def _session(self, day: date) -> list[tuple[int, int, int]]:
        hours = self._settings
        overnight = hours.close <= hours.open
        ending = hours.half_days.get(day, hours.close)
        edges = [(day - _DAY if overnight else day, hours.open)]
        for begin, end in hours.breaks:
            # A pause before midnight of an overnight session is on the day before.
            edges += [
                (day - _DAY if overnight and clock >= hours.open else day, clock)
                for clock in (begin, end)
            ]
        edges.append((day, ending))
        times = [self._utc_ns(*edge) for edge in edges]
        closing = times[-1]
        pairs = zip(times[::2], times[1::2], strict=True)
        # A half day ends before the breaks that come after its close.
        return [(a, min(b, closing), day_number(day)) for a, b in pairs if a < closing]

    def _utc_ns(self, day: date, clock: time) -> int:
        return _ns(datetime.combine(day, clock, self._zone))


class ListedCalendar:
    """Sessions one by one; there is no trading at any other time."""

    def __init__(self, settings: _Listed) -> None:
        self.name = settings.name
        rows = [
            (_ns(each.open), _ns(each.close), day_number(each.date or _utc_date(each.open)))
            for each in settings.sessions
        ]
        self._all = _checked(_of_rows(sorted(rows)), self.name)
        if (np.diff(self._all.session) < 0).any():
            msg = f"dates of the calendar `{self.name}` must rise with the times of its sessions"
            raise ConfigError(msg, parameter="calendar")

    def dates(self) -> tuple[date, date]:
        """Return all dates: the list is complete."""
        return FIRST_DATE, LAST_DATE

    def between(self, first: date, last: date) -> Sessions:
        """Return the intervals of the sessions dated `first` to `last`."""
        found = self._all
        begin = int(np.searchsorted(found.session, day_number(first), "left"))
        end = int(np.searchsorted(found.session, day_number(last), "right"))
        return Sessions(found.opens[begin:end], found.closes[begin:end], found.session[begin:end])


def _of_rows(rows: list[tuple[int, int, int]]) -> Sessions:
    table = np.array(rows, np.int64).reshape(-1, 3)
    opens, closes = np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])
    return Sessions(opens, closes, table[:, 2].astype(np.int32))


def _checked(found: Sessions, name: str) -> Sessions:
    if (found.opens >= found.closes).any() or (found.closes[:-1] > found.opens[1:]).any():
        msg = f"intervals of the calendar `{name}` overlap or end before they begin"
        raise ConfigError(msg, parameter="calendar")
    return found


def _ns(moment: datetime) -> int:
    since = moment.astimezone(UTC) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _utc_date(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
