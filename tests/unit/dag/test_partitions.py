from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.dag.partitions import (
    KEY_GROUP_COUNT,
    key_group_of,
    key_groups_of_partition,
    partition_of,
)
from market_data_pipeline.errors import ConfigError

KEYS = ["EURUSD", "BTC-USD", "GC_201312", "ÆØÅ", "x" * 300, ""]


@given(st.integers(1, KEY_GROUP_COUNT))
def test_every_key_group_is_in_exactly_one_partition(count: int) -> None:
    """The partitions cut the key groups into pieces without gap or overlap."""
    pieces = [key_groups_of_partition(partition, count) for partition in range(count)]
    assert [group for piece in pieces for group in piece] == list(range(KEY_GROUP_COUNT))
    for partition, piece in enumerate(pieces):
        assert piece
        assert {partition_of(group, count) for group in piece} == {partition}


def test_key_groups_are_the_same_in_another_process() -> None:
    """No salt and no process state goes into the hash."""
    script = (
        "from market_data_pipeline.dag.partitions import key_group_of;"
        f"print([key_group_of(key) for key in {KEYS!r}])"
    )
    other = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert other.stdout.strip() == str([key_group_of(key) for key in KEYS])


def test_key_groups_are_those_of_the_format() -> None:
    """Saved state depends on these numbers."""
    assert [key_group_of(key) for key in ("EURUSD", "BTC-USD", "")] == [47, 123, 0]


def test_count_out_of_range_is_refused() -> None:
    """There are no more partitions than key groups."""
    for count in (0, KEY_GROUP_COUNT + 1):
        with pytest.raises(ConfigError, match="partition_count"):
            partition_of(0, count)
