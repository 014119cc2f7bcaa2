"""Trading calendars: when a market is open, and which session a time belongs to.

A calendar is named, as `XNYS`, and then comes from the package exchange_calendars (extra
`calendars`), or it is a mapping that says when the market is open; see `custom`. It is
read as `Sessions`: one row for each interval without a pause in which there is trading.
A lunch break splits a session in two rows; a session that begins on the evening before
is one row with the date of its end. All times are int64 nanoseconds UTC, so that a change
of the clocks shows as an open that is an hour earlier or later.

`sessions` gives the intervals of a range; `SessionTable` is for streams, which do not
know theirs: it grows as times come.
"""

from __future__ import annotations

__all__ = ("Calendar", "SessionTable", "Sessions", "calendar_of", "check_calendar", "sessions")

from market_data_pipeline.calendars.calendar import Calendar, Sessions
from market_data_pipeline.calendars.table import (
    SessionTable,
    calendar_of,
    check_calendar,
    sessions,
)
