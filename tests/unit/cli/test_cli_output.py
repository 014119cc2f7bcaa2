"""How numbers and times are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.cli.output import format_bytes, format_span, format_table, format_time
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.source.time_range import moment_ns

INT64 = st.integers(-(1 << 63) + 1, (1 << 63) - 2)


@given(INT64)
def test_times_are_read_back_as_they_were(ns: int) -> None:
    """No digit is lost between printing and typing, over all of int64."""
    text = format_time(ns)
    assert text is not None
    assert text.endswith("Z")
    assert moment_ns(text, "UTC", "from") == ns


@given(st.integers(0, duration_ns("36525d")))
def test_spans_can_be_typed_as_durations(ns: int) -> None:
    """What is printed can be given to `--out-of-order`."""
    assert duration_ns(format_span(ns)) == ns


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
