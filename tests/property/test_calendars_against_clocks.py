"""Trading intervals against what exchange_calendars and a clock on the wall say of a time."""

from __future__ import annotations

import warnings
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.calendars import SessionTable

SECOND = 10**9
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ZONES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo", "America/Sao_Paulo")

moments = st.integers(
    int(datetime(1999, 6, 1, tzinfo=ZoneInfo("UTC")).timestamp()),
    int(datetime(2026, 6, 1, tzinfo=ZoneInfo("UTC")).timestamp()),
)
# Clocks change between midnight and four: an hour there may be none, or two.
hours = st.integers(5, 23)


def _found(table: SessionTable, seconds: list[int]) -> list[date | None]:
    positions, _ = table.find(np.array(seconds, np.int64) * SECOND)
    first = date(1970, 1, 1)
    return [
        None if at < 0 else first + timedelta(days=int(table.session[at]))
        for at in positions.tolist()
    ]


@cache
def _exchange(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return exchange_calendars.get_calendar(name, start="1999-01-01", end="2026-12-31")


def _said(calendar: Any, second: int) -> date | None:
    moment = pd.Timestamp(second, unit="s", tz="UTC")
    if not calendar.is_open_at_time(moment, side="left", ignore_breaks=False):
        return None
    found: date = calendar.minute_to_session(moment.floor("min"), direction="none").date()
    return found


@given(
    st.sampled_from(["XNYS", "XHKG", "XTKS", "XLON", "CMES", "24/5"]),
    st.lists(moments, min_size=1, max_size=5),
)
def test_session_of_a_time_is_the_one_the_package_says(name: str, seconds: list[int]) -> None:
    """By its own lookup of minutes, which does not use the intervals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = [_said(_exchange(name), second) for second in seconds]
    assert _found(SessionTable(name), seconds) == expected


@given(
    zone=st.sampled_from(ZONES),
    opening=hours,
    closing=hours,
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    seconds=st.lists(moments, min_size=1, max_size=8),
    data=st.data(),
)
def test_weekly_hours_are_those_of_a_clock_on_the_wall(
    zone: str, opening: int, closing: int, days: set[str], seconds: list[int], data: Any
) -> None:
    """Whatever the clocks do, and also where trading ends on the next day."""
    walls = [datetime.fromtimestamp(second, ZoneInfo(zone)) for second in seconds]
    holidays = data.draw(st.sets(st.sampled_from([wall.date() for wall in walls])))
    begin, end = time(opening), time(closing)

    def session(wall: datetime) -> date | None:
        clock, day = wall.time(), wall.date()
        if begin < end:
            inside = begin <= clock < end
        else:
            inside = clock >= begin or clock < end
            day += timedelta(days=1 if clock >= begin else 0)
        return day if inside and DAYS[day.weekday()] in days and day not in holidays else None

    calendar = {
        "timezone": zone,
        "open": f"{opening:02}:00",
        "close": f"{closing:02}:00",
        "days": sorted(days),
        "holidays": sorted(day.isoformat() for day in holidays),
    }
    assert _found(SessionTable(calendar), seconds) == [session(wall) for wall in walls]
