"""Trading intervals are found as times ask for them."""

from __future__ import annotations

import numpy as np
import pytest

from market_data_pipeline.calendars import SessionTable, sessions
from market_data_pipeline.errors import ConfigError
from support.session_facts import days, ns

HOURS = {"timezone": "UTC", "open": "09:00", "close": "17:00"}


def test_range_gives_each_interval_of_which_a_part_is_in_it() -> None:
    """Half open on both sides: an interval that ends where the range begins is not in it."""
    nine, five = ns("2024-01-03 09:00"), ns("2024-01-03 17:00")
    assert days(sessions(HOURS, nine, nine + 1)) == ["2024-01-03"]
    assert days(sessions(HOURS, five - 1, five)) == ["2024-01-03"]
    assert days(sessions(HOURS, five, five + 1)) == []
    assert days(sessions(HOURS, nine - 1, nine)) == []
    assert days(sessions(HOURS, nine, nine)) == []
    assert len(sessions(HOURS, ns("1999-12-20"), ns("2010-01-11"))) == 2625


def test_table_grows_both_ways_and_says_so() -> None:
    """The arrays are the same however the table came to them."""
    grown = SessionTable(HOURS)
    assert grown.cover(ns("2024-05-05"), ns("2024-05-06"))
    assert not grown.cover(ns("2021-01-04"), ns("2029-12-01"))
    assert grown.cover(ns("2030-05-05"), ns("2030-05-06"))
    assert grown.cover(ns("2009-12-31"), ns("2009-12-31"))
    whole = SessionTable(HOURS)
    whole.cover(ns("2009-12-31"), ns("2030-05-06"))
    assert grown.opens.tolist() == whole.opens.tolist()
    assert grown.session.tolist() == whole.session.tolist()
    assert (np.diff(grown.opens) > 0).all()


@pytest.mark.parametrize("edge", ["1999-12-31", "2009-12-31", "2019-12-31"])
def test_session_over_new_year_is_found_from_either_side(edge: str) -> None:
    """A session that opens on the last evening of a decade is dated in the next."""
    overnight = {"timezone": "UTC", "open": "18:00", "close": "17:00", "days": "mon-sun"}
    evening = ns(f"{edge} 20:00")
    table = SessionTable(overnight)
    positions, outside = table.find(np.array([evening], np.int64))
    assert outside == 0
    assert table.opens[positions[0]] == ns(f"{edge} 18:00")


def test_times_are_looked_up_in_any_order() -> None:
    """Position of the interval, -1 outside."""
    table = SessionTable(HOURS)
    texts = ["2024-01-03 17:00", "2024-01-02 09:00", "2024-01-06 12:00", "2024-01-03 16:59"]
    positions, outside = table.find(np.array([ns(text) for text in texts], np.int64))
    assert outside == 2
    found = [None if at < 0 else int(table.session[at]) for at in positions]
    assert found == [None, 19724, None, 19725]


def test_no_times_need_no_calendar() -> None:
    """An empty batch asks for nothing."""
    table = SessionTable(HOURS)
    positions, outside = table.find(np.empty(0, np.int64))
    assert (len(positions), outside, len(table.sessions)) == (0, 0, 0)


@pytest.mark.parametrize("time", [-(2**63), 2**63 - 1])
def test_time_at_the_ends_of_int64_is_refused_with_its_date(time: int) -> None:
    """No calendar reaches so far."""
    with pytest.raises(
        ConfigError, match=r"known from 1678-01-01 to 2261-12-31, and a time is on"
    ):
        SessionTable(HOURS).find(np.array([0, time], np.int64))
