"""Calendars of exchanges, from the package exchange_calendars."""

from __future__ import annotations

__all__ = ("ExchangeCalendar",)

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import numpy as np

from market_data_pipeline.calendars.calendar import FIRST_DATE, LAST_DATE, Sessions
from market_data_pipeline.errors import ConfigError, MissingDependencyError, nearest

_DAY_NS = 86_400_000_000_000
_NO_BREAK = int(np.iinfo(np.int64).min)


class ExchangeCalendar:
    """The sessions of an exchange.

    The package's default range moves with today's date; a range is always asked for here,
    so that the answer does not depend on when it is asked.

    Args:
        name: A name or alias that the package knows, as `XNYS` or `NYSE`.

    Raises:
        ConfigError: If it knows no such calendar.
        MissingDependencyError: If the package is not installed.
    """

    def __init__(self, name: str) -> None:
        package = _package()
        if name not in package.get_calendar_names(include_aliases=True):
            codes = sorted(package.get_calendar_names(include_aliases=False))
            hint = nearest(name.upper(), package.get_calendar_names(include_aliases=True))
            listed = ", ".join(f"`{code}`" for code in codes)
            msg = f"there is no calendar `{name}`{hint} (calendars: {listed})"
            raise ConfigError(msg, parameter="calendar")
        self.name = name
        self._package = package

    def dates(self) -> tuple[date, date]:
        """Return the first and the last date of which the package has holidays."""
        return _dates(self.name)

    def between(self, first: date, last: date) -> Sessions:
        """Return the intervals of the sessions dated `first` to `last`.

        Raises:
            ConfigError: If the package fails to make the calendar.
        """
        with _quiet():
            return _intervals(_made(self._package, self.name, first, last))


def _package() -> Any:
    try:
        import exchange_calendars
    except ImportError as err:
        package, extra = "exchange_calendars", "calendars"
        raise MissingDependencyError(package, extra) from err
    return exchange_calendars


@functools.cache
def _dates(name: str) -> tuple[date, date]:
    # The package tells the bounds of a calendar only once one is made; its default range
    # is within them.
    with _quiet():
        made = _made(_package(), name)
    first, last = made.bound_min(), made.bound_max()
    return (
        FIRST_DATE if first is None else max(FIRST_DATE, first.date()),
        LAST_DATE if last is None else min(LAST_DATE, last.date()),
    )


def _made(package: Any, name: str, *dates: date) -> Any:
    given = {key: day.isoformat() for key, day in zip(("start", "end"), dates, strict=False)}
    try:
        return package.get_calendar(name, **given)
    except (ValueError, NotImplementedError) as err:
        cause = str(err).split("\n", 1)[0][:200]
        msg = f"exchange_calendars cannot make the calendar `{name}`: {cause}"
        raise ConfigError(msg, parameter="calendar") from err


@contextmanager
def _quiet() -> Iterator[None]:
    # What pandas deprecates is exchange_calendars' affair, not that of who asks us.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        yield


def _intervals(made: Any) -> Sessions:
    opens, closes = _nanoseconds(made.opens_nanos), _nanoseconds(made.closes_nanos)
    session = (_nanoseconds(made.sessions_nanos) // _DAY_NS).astype(np.int32)
    leaves, returns = _nanoseconds(made.break_starts_nanos), _nanoseconds(made.break_ends_nanos)
    pauses = leaves != _NO_BREAK
    if not pauses.any():
        return Sessions(opens, closes, session)
    # A session with a break is two rows: [open, break start) and [break end, close).
    before = np.where(pauses, leaves, closes)
    all_opens = np.concatenate([opens, returns[pauses]])
    order = np.argsort(all_opens, kind="stable")
    return Sessions(
        all_opens[order],
        np.concatenate([before, closes[pauses]])[order],
        np.concatenate([session, session[pauses]])[order],
    )


def _nanoseconds(values: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.ascontiguousarray(values, np.int64)
