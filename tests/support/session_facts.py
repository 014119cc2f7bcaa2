"""Times as people write them, for tests of calendars."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from market_data_pipeline.calendars import Sessions


def ns(text: str, zone: str = "UTC") -> int:
    """Return a local time as nanoseconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9


def days(found: Sessions) -> list[str]:
    """Return the dates of sessions as text."""
    return [str(np.datetime64(int(day), "D")) for day in found.session]


def local(found: Sessions, zone: str) -> list[tuple[str, str, str]]:
    """Return each interval's open and close in a place's time, and its session."""

    def text(time: int) -> str:
        return datetime.fromtimestamp(time // 10**9, ZoneInfo(zone)).strftime("%m-%d %H:%M")

    pairs = zip(found.opens.tolist(), found.closes.tolist(), days(found), strict=True)
    return [
        (text(begin), text(end), date.fromisoformat(day).strftime("%m-%d"))
        for begin, end, day in pairs
    ]
