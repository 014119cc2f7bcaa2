"""How numbers and times are shown, and how typed times are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.cli.output import format_bytes, format_span, format_table, format_time
from market_data_pipeline.cli.times import parse_time
from market_data_pipeline.durations import duration_ns

INT64 = st.integers(-(1 << 63) + 1, (1 << 63) - 2)


@given(INT64)
def test_times_are_read_back_as_they_were(ns: int) -> None:
    """No digit is lost between printing and typing, over all of int64."""
    text = format_time(ns)
    assert text is not None
    assert text.endswith("Z")
    assert parse_time(text) == ns


@given(st.integers(0, (1 << 63) - 1))
def test_spans_can_be_typed_as_durations(ns: int) -> None:
    """What is printed can be given to `--out-of-order`."""
    assert duration_ns(format_span(ns)) == ns


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("2024-05-06", "2024-05-06T00:00:00Z"),
        ("2024-05-06T09:30", "2024-05-06T09:30:00Z"),
        ("2024-05-06 09:30:00.5", "2024-05-06T09:30:00.500Z"),
        ("2024-05-06T09:30:00.123456789Z", "2024-05-06T09:30:00.123456789Z"),
        ("2024-05-06T09:30:00.25+02:00", "2024-05-06T07:30:00.250Z"),
        ("1969-12-31T23:59:59.999999999", "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_are_utc_unless_they_name_a_zone(typed: str, shown: str) -> None:
    """ISO in its usual forms."""
    assert format_time(parse_time(typed)) == shown


@pytest.mark.parametrize("typed", ["", "yesterday", "2024-13-01", "1500-01-01", "9999-01-01"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    """Also what nanoseconds cannot hold."""
    with pytest.raises(ValueError, match=r"."):
        parse_time(typed)


def test_ends_of_int64_are_no_times() -> None:
    """They stand for none."""
    assert format_time(None) is None
    assert format_time((1 << 63) - 1) is None


def test_table_aligns_numbers_to_the_right() -> None:
    """Text to the left, thousands apart, none as a dash."""
    table = format_table(("name", "rows"), [("a", 1234), ("bcdef", 5), (None, 0)])
    assert table.splitlines() == [
        "name    rows",
        "-----  -----",
        "a      1,234",
        "bcdef      5",
        "-          0",
    ]


def test_bytes_are_shown_in_the_unit_that_suits() -> None:
    """Binary units."""
    assert [format_bytes(n) for n in (5, 2048, 3 << 30)] == ["5 B", "2.0 KiB", "3.0 GiB"]
