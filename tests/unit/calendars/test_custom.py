"""Calendars that a user describes."""

from __future__ import annotations

from typing import Any

import pytest

from market_data_pipeline.calendars import sessions
from market_data_pipeline.errors import ConfigError
from support.session_facts import local, ns

NEW_YORK = "America/New_York"


def test_weekly_hours_are_in_the_time_of_the_place() -> None:
    """Written like XNYS, it is XNYS, also over a change of the clocks."""
    own = {
        "timezone": NEW_YORK,
        "open": "09:30",
        "close": "16:00",
        "holidays": ["2023-11-23"],
        "half_days": {"2023-11-24": "13:00"},
    }
    range_ns = ns("2023-10-25"), ns("2023-12-22")
    mine, theirs = sessions(own, *range_ns), sessions("XNYS", *range_ns)
    assert mine.opens.tolist() == theirs.opens.tolist()
    assert mine.closes.tolist() == theirs.closes.tolist()
    assert mine.session.tolist() == theirs.session.tolist()


def test_close_before_open_is_that_of_the_next_day() -> None:
    """A session overnight, with a pause before midnight and one after."""
    own = {
        "timezone": NEW_YORK,
        "open": "18:00",
        "close": "17:00",
        "days": ["mon", "tue"],
        "breaks": [["22:00", "23:00"], ["03:00", "04:00"]],
        "half_days": {"2024-01-09": "02:00"},
    }
    found = sessions(own, ns("2024-01-01 17:00", NEW_YORK), ns("2024-01-10", NEW_YORK))
    assert local(found, NEW_YORK) == [
        ("01-01 18:00", "01-01 22:00", "01-02"),
        ("01-01 23:00", "01-02 03:00", "01-02"),
        ("01-02 04:00", "01-02 17:00", "01-02"),
        ("01-07 18:00", "01-07 22:00", "01-08"),
        ("01-07 23:00", "01-08 03:00", "01-08"),
        ("01-08 04:00", "01-08 17:00", "01-08"),
        ("01-08 18:00", "01-08 22:00", "01-09"),
        ("01-08 23:00", "01-09 02:00", "01-09"),
    ]


def test_listed_sessions_are_all_there_are() -> None:
    """In any order, with offsets; the date is the open's in UTC unless given."""
    own = {
        "sessions": [
            {"open": "2024-01-03T14:30:00Z", "close": "2024-01-03T21:00:00Z"},
            {
                "open": "2024-01-01T18:00:00-05:00",
                "close": "2024-01-02T17:00:00-05:00",
                "date": "2024-01-02",
            },
        ]
    }
    found = sessions(own, 0, ns("2100-01-01"))
    assert local(found, "UTC") == [
        ("01-01 23:00", "01-02 22:00", "01-02"),
        ("01-03 14:30", "01-03 21:00", "01-03"),
    ]


def test_exchange_with_more_time_before_the_open_and_after_the_close() -> None:
    """On half days too; breaks and holidays stay what they are."""
    own = {"exchange": "XNYS", "before_open": "5h30min", "after_close": "5min"}
    found = sessions(own, ns("2023-11-22", NEW_YORK), ns("2023-11-25", NEW_YORK))
    assert local(found, NEW_YORK) == [
        ("11-22 04:00", "11-22 16:05", "11-22"),
        ("11-24 04:00", "11-24 13:05", "11-24"),
    ]
    own = {"exchange": "XHKG", "before_open": "30min", "after_close": "10min"}
    found = sessions(own, ns("2024-02-08", "Asia/Hong_Kong"), ns("2024-02-09", "Asia/Hong_Kong"))
    assert local(found, "Asia/Hong_Kong") == [
        ("02-08 09:00", "02-08 12:00", "02-08"),
        ("02-08 13:00", "02-08 16:10", "02-08"),
    ]


def test_session_with_more_time_does_not_reach_into_the_next() -> None:
    """Where one follows the other at once, also over the edges of what is read at a time."""
    own = {"exchange": "24/7", "before_open": "2h", "after_close": "2h"}
    range_ns = ns("2019-12-25"), ns("2020-01-05")
    assert sessions(own, *range_ns).opens.tolist() == sessions("24/7", *range_ns).opens.tolist()
    own = {"exchange": "CMES", "after_close": "12h"}
    found = sessions(own, ns("2024-03-14"), ns("2024-03-18"))
    assert local(found, "America/Chicago")[-2:] == [
        ("03-14 17:00", "03-16 05:00", "03-15"),
        ("03-17 17:00", "03-18 17:00", "03-18"),
    ]


HOURS: dict[str, Any] = {"timezone": "UTC", "open": "09:00", "close": "17:00"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"open": "09:00", "close": "17:00"}, "`calendar.timezone`: field required"),
        ({**HOURS, "open": "9h"}, '`calendar.open`: must be a time of day as "09:30"'),
        ({**HOURS, "open": 570}, "`calendar.open`: must be a time of day"),
        ({**HOURS, "days": "mon-fry"}, "`calendar.days`: must name days"),
        ({**HOURS, "holidays": ["2024-13-01"]}, r"`calendar.holidays.0`: .*, was '2024-13-01'"),
        ({**HOURS, "timezone": "Mars/Olympus"}, "no time zone `Mars/Olympus`"),
        ({**HOURS, "closes": "17:00"}, "`calendar.closes`: extra inputs"),
        ({**HOURS, "breaks": [["12:00", "11:00"]]}, "overlap or end before they begin"),
        ({**HOURS, "breaks": [["08:00", "08:30"]]}, "overlap or end before they begin"),
        ({"sessions": [{"open": "2024-01-02T14:30:00", "close": "x"}]}, "sessions.0.open"),
        ({"exchange": "XNYX"}, "no calendar `XNYX`"),
        ({"exchange": "XNYS", "after_close": "13h"}, "`calendar.after_close` must be 12h at most"),
        ({"exchange": "XNYS", "after_close": "soon"}, "`soon` is not a duration"),
        ({"exchange": "XNYS", "open": "09:00"}, "`calendar.open`: extra inputs"),
        (
            {"sessions": [{"open": "2024-01-02T14:30:00Z", "close": "2024-01-02T14:30:00Z"}]},
            "overlap or end before they begin",
        ),
    ],
)
def test_mapping_that_is_no_calendar_says_where(settings: dict[str, Any], told: str) -> None:
    """The place in the mapping, what was expected and what was found."""
    with pytest.raises(ConfigError, match=told):
        sessions(settings, 0, 1)
