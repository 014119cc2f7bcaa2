from __future__ import annotations

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.source.time_range import moment_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01 00:00:01.5", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01T01:00:00,25+01:00", 250_000_000),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
    ],
)
def test_moments_are_exact_to_the_nanosecond(text: str, expected: int) -> None:
    """With or without zone and fraction, before and after the epoch."""
    assert moment_ns(text, "UTC", "start") == expected


def test_a_moment_without_zone_is_in_the_given_one() -> None:
    """One with a zone is not."""
    assert moment_ns("2024-07-01T00:00", "America/New_York", "end") == 1_719_806_400 * 10**9
    assert moment_ns("2024-07-01T00:00Z", "America/New_York", "end") == 1_719_792_000 * 10**9


@pytest.mark.parametrize("text", ["", "noon", "2024-13-01", "2024-01-01T00:00:00.0123456789"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(ConfigError, match="`end` must be an ISO 8601 moment, as"):
        moment_ns(text, "UTC", "end")


def test_an_unknown_zone_is_refused() -> None:
    """By its name."""
    with pytest.raises(ConfigError, match="no time zone `Nowhere`"):
        moment_ns("2024-01-01", "Nowhere", "start")
