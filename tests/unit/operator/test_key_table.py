"""The table of keys: its size, its layout, what is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from market_data_pipeline.operator.key_table import KeyTable

_NONE = np.empty(0, np.int64)


def _put(table: KeyTable, first: Any, second: Any, times: Any, ttl: int) -> int:
    """Put keys in, in batches of 5,000 rows; return how many were there before."""
    duplicates, highest = 0, -(2**63)
    keep = np.empty(5_000, np.bool_)
    for begin in range(0, len(times), 5_000):
        part = slice(begin, begin + 5_000)
        halves = (np.ascontiguousarray(first[part]), np.ascontiguousarray(second[part]))
        table.mark(halves, times[part], (_NONE, highest, 0), ttl, keep)
        highest = int(times[part].max())
        duplicates += table.duplicates
    return duplicates


def _keys(kind: str, count: int) -> Any:
    if kind == "counting":
        return np.arange(count)
    return np.random.default_rng(5).integers(-(2**63), 2**63 - 1, count)


@pytest.mark.parametrize("kind", ["counting", "random"])
def test_size_follows_the_keys_alive_and_not_those_seen(kind: str) -> None:
    """A million keys of which a thousand are alive leave the table as it was."""
    table = KeyTable(spread=False)
    keys, times = _keys(kind, 1_000_000), np.arange(1_000_000)
    zeros = np.zeros(len(keys), np.int32)
    _put(table, zeros[:100_000], keys[:100_000], times[:100_000], 1_000)
    size = table.nbytes
    assert _put(table, zeros[100_000:], keys[100_000:], times[100_000:], 1_000) == 0
    assert table.nbytes == size
    assert size < 1_000_000


def test_size_falls_again_after_a_crowded_time() -> None:
    """Memory that a burst took is given back."""
    table = KeyTable(spread=False)
    burst = np.random.default_rng(5).integers(0, 2**60, 30_000)
    _put(table, np.zeros(30_000, np.int32), burst, np.zeros(30_000, np.int64), 10)
    crowded = table.nbytes
    later = np.arange(1_000, 1_001_000)
    _put(table, np.zeros(1_000_000, np.int32), later, later, 10)
    assert table.nbytes < crowded / 50


@pytest.mark.parametrize(
    ("kind", "most"), [("counting", 110), ("random", 300)], ids=["counting", "random"]
)
def test_bytes_per_key_alive_are_as_said(kind: str, most: int) -> None:
    """A hundred thousand keys alive; numbers that count up share their entries."""
    table = KeyTable(spread=False)
    keys, times = _keys(kind, 1_500_000), np.arange(1_500_000)
    for end in range(300_000, 1_500_001, 150_000):
        part = slice(end - 150_000 if end > 300_000 else 0, end)
        _put(table, np.zeros(end - part.start, np.int32), keys[part], times[part], 100_000)
        assert table.nbytes / 100_000 < most


def test_layout_follows_the_keys_both_ways() -> None:
    """Random numbers get entries of their own, and numbers that count up share them again."""
    table = KeyTable(spread=False)
    zeros, times = np.zeros(4_000_000, np.int32), np.arange(4_000_000)
    widths = []
    for kind, part in (
        ("counting", slice(0, 500_000)),
        ("random", slice(500_000, 1_200_000)),
        ("counting", slice(1_200_000, 4_000_000)),
    ):
        keys = _keys(kind, 4_000_000)[part]
        assert _put(table, zeros[part], keys, times[part], 150_000) == 0
        widths.append(table.groups.shape[1])
    assert widths == [10, 3, 10]


@pytest.mark.parametrize(
    ("kind", "width", "most"),
    [("counting", 10, 80), ("random", 3, 100)],
    ids=["counting", "random"],
)
def test_keys_that_are_loaded_get_the_layout_that_suits_them(
    kind: str, width: int, most: int
) -> None:
    """At once: keys put in as groups, and then each by itself, would take the room of both."""
    table = KeyTable(spread=False)
    keys, count = _keys(kind, 1_000_000), 1_000_000
    table.load(np.zeros(count, np.int64), keys, np.full(count, 5))
    assert table.groups.shape[1] == width
    assert table.nbytes / count < most
    assert len(table.keys()[0]) == count


def test_hashes_are_never_grouped() -> None:
    """Keys that are known to be spread get entries of their own from the start."""
    table = KeyTable(spread=True)
    _put(table, np.zeros(10, np.int32), np.arange(10), np.arange(10), 5)
    assert table.groups.shape[1] == 3


@pytest.mark.parametrize("spread", [False, True])
def test_keys_that_were_loaded_are_those_given_back(spread: bool) -> None:
    """Also those at the ends of int64, and more than the first table holds."""
    rng = np.random.default_rng(3)
    ends = np.array([-(2**63), -(2**63) + 1, -9, -8, -1, 0, 7, 8, 2**63 - 8, 2**63 - 1])
    second = np.concatenate([ends, rng.integers(-(2**62), 2**62, 5_000)])
    first = rng.integers(-(2**63), 2**63 - 1, len(second))
    expires = rng.integers(0, 2**63 - 1, len(second))
    table = KeyTable(spread=spread)
    table.load(first, second, expires)
    given = sorted(zip(first.tolist(), second.tolist(), expires.tolist(), strict=True))
    first, second, expires = table.keys()
    found = sorted(zip(first.tolist(), second.tolist(), expires.tolist(), strict=True))
    assert found == given
