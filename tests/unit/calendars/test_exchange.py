"""Calendars of exchanges say what is known of their history."""

from __future__ import annotations

import sys

import pytest

from market_data_pipeline.calendars import check_calendar, sessions
from market_data_pipeline.errors import ConfigError, MissingDependencyError
from support.session_facts import local, ns

NEW_YORK = "America/New_York"
HONG_KONG = "Asia/Hong_Kong"
TOKYO = "Asia/Tokyo"


def test_day_after_thanksgiving_closes_at_one_in_new_york() -> None:
    """XNYS was closed on 2023-11-23 and open half of 2023-11-24."""
    found = sessions("XNYS", ns("2023-11-22"), ns("2023-11-28"))
    assert local(found, NEW_YORK) == [
        ("11-22 09:30", "11-22 16:00", "11-22"),
        ("11-24 09:30", "11-24 13:00", "11-24"),
        ("11-27 09:30", "11-27 16:00", "11-27"),
    ]


def test_lunch_break_splits_a_session_in_two_rows() -> None:
    """XHKG rests from 12 to 13; on the eve of the lunar new year there is no afternoon."""
    found = sessions("XHKG", ns("2024-02-08"), ns("2024-02-14"))
    assert local(found, HONG_KONG) == [
        ("02-08 09:30", "02-08 12:00", "02-08"),
        ("02-08 13:00", "02-08 16:00", "02-08"),
        ("02-09 09:30", "02-09 12:00", "02-09"),
    ]


def test_hours_that_an_exchange_changed_are_those_of_the_day() -> None:
    """XTKS closes at 15:30, not at 15:00, since 2024-11-05."""
    found = sessions("XTKS", ns("2024-11-01"), ns("2024-11-06"))
    assert [row for row in local(found, TOKYO) if row[1] > row[2] + " 13"] == [
        ("11-01 12:30", "11-01 15:00", "11-01"),
        ("11-05 12:30", "11-05 15:30", "11-05"),
    ]


def test_overnight_session_has_the_date_of_its_end() -> None:
    """CMES opens for Monday on Sunday evening."""
    found = sessions("CMES", ns("2024-03-15", NEW_YORK), ns("2024-03-18 12:00", NEW_YORK))
    assert local(found, "America/Chicago")[-1] == ("03-17 17:00", "03-18 17:00", "03-18")


@pytest.mark.parametrize(
    ("calendar", "zone", "day", "utc_open"),
    [
        ("XNYS", NEW_YORK, "2024-03-08", "14:30"),
        ("XNYS", NEW_YORK, "2024-03-11", "13:30"),  # the US changed, Europe had not
        ("XLON", "Europe/London", "2024-03-11", "08:00"),
        ("XLON", "Europe/London", "2024-03-28", "08:00"),
        ("XLON", "Europe/London", "2024-04-02", "07:00"),
        ("XLON", "Europe/London", "2024-10-28", "08:00"),  # Europe changed first
        ("XNYS", NEW_YORK, "2024-10-28", "13:30"),
        ("XNYS", NEW_YORK, "2024-11-04", "14:30"),
    ],
)
def test_open_in_utc_moves_when_the_clocks_of_its_place_do(
    calendar: str, zone: str, day: str, utc_open: str
) -> None:
    """The same time of day in the place, an hour apart in UTC; Europe and the US differ."""
    found = sessions(calendar, ns(day), ns(f"{day} 23:59"))
    assert found.opens.tolist() == [ns(f"{day} {utc_open}")]


def test_alias_is_the_same_calendar() -> None:
    """The package knows `NYSE` as `XNYS`."""
    range_ns = ns("2024-01-01"), ns("2024-02-01")
    assert sessions("NYSE", *range_ns).opens.tolist() == sessions("XNYS", *range_ns).opens.tolist()


@pytest.mark.parametrize(("name", "hint"), [("xnys", "XNYS"), ("XNYSE", "XNYS")])
def test_unknown_name_is_told_with_the_nearest_and_the_list(name: str, hint: str) -> None:
    """A calendar that does not exist is refused before anything runs."""
    with pytest.raises(
        ConfigError, match=rf"no calendar `{name}`; did you mean `{hint}`\?"
    ) as told:
        check_calendar(name)
    assert "`XHKG`" in str(told.value)


def test_time_the_package_does_not_know_is_refused() -> None:
    """Holidays of a year to come are not guessed."""
    with pytest.raises(ConfigError, match=r"`XTKS` is known from 1997-01-01 to .* on 1996-05-06"):
        sessions("XTKS", ns("1996-05-06"), ns("1996-05-07"))


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calendars by name need the extra, calendars of one's own do not."""
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[calendars\]"):
        check_calendar("XPAR")
    check_calendar({"timezone": "UTC", "open": "09:00", "close": "10:00"})
