"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from market_data_pipeline.durations import duration_ns, format_duration, signed_duration_ns
from market_data_pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("1.5us", 1_500),
        (" 500ms ", 500_000_000),
        ("1h30min", 5_400_000_000_000),
        ("5m", 300_000_000_000),
        ("36525d", 3_155_760_000_000_000_000),
        (timedelta(days=1, microseconds=1), 86_400_000_001_000),
    ],
)
def test_numbers_with_units_are_read(text: str | timedelta, ns: int) -> None:
    """One or several, to the nanosecond; the shortest spelling means the same."""
    assert duration_ns(text) == ns
    assert duration_ns(format_duration(ns)) == ns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a duration"),
        ("5", "a number and a unit"),
        ("s", "not a duration"),
        ("1 s", "not a duration"),
        ("-1s", "not a duration"),
        ("1week", "not a duration"),
        ("\u0661s", "not a duration"),
        ("1s,", "not a duration"),
        ("0.5ns", "finer than a nanosecond"),
        ("36526d", "must be 0 to 36525 days"),
        ("9" * 50 + "d", "must be 0 to 36525 days"),
        ("9" * 5_000 + "d", "not a duration"),
        (timedelta(seconds=-1), "must be 0 to"),
    ],
)
def test_what_is_no_duration_is_refused(text: str | timedelta, words: str) -> None:
    """The message shows the text and the way out, and stays short."""
    with pytest.raises(ConfigError, match=words) as caught:
        duration_ns(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "ns"),
    [("-5s", -5_000_000_000), ("0", 0), ("-0s", 0), (timedelta(seconds=-1), -1_000_000_000)],
)
def test_signed_durations_may_be_before(text: str | timedelta, ns: int) -> None:
    """A minus stands in front of the whole."""
    assert signed_duration_ns(text) == ns


@pytest.mark.parametrize("text", ["--5s", "- 5s 1", "5", "-"])
def test_what_is_no_signed_duration_is_refused(text: str) -> None:
    """One sign, then a duration."""
    with pytest.raises(ConfigError):
        signed_duration_ns(text)
