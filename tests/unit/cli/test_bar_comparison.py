"""Two tables of bars are compared by key, and on the thread that asks."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.cli.bar_comparison import compare

_ALONE = """
import os
import pyarrow as pa
from pyarrow import compute
from market_data_pipeline.cli.bar_comparison import compare

bars = pa.table({"symbol": ["A", "B"], "ts_open": [1, 2], "close": [1.5, 2.5]})
before = len(os.listdir("/proc/self/task"))
assert compare(bars, bars, limit=1).same
print(len(os.listdir("/proc/self/task")) - before)
"""


def _bars(rows: list[tuple[str | None, int | None, int]]) -> pa.Table:
    symbols, times, closes = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "symbol": pa.array(symbols, pa.string()),
            "ts_open": pa.array(times, pa.int64()),
            "close": pa.array(closes, pa.int64()),
        }
    )


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_comparing_starts_no_thread() -> None:
    """One that lets go of an array while the process ends would abort it."""
    done = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0\n"


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_a_key_are_paired_in_their_order(seed: int) -> None:
    """As a plain loop pairs them; a key that is not there is a key like another."""
    rng = np.random.default_rng(seed)
    names, moments = ("A", "B", None), (-5, 0, 7, 2**62 + 1, None)
    sides: list[list[tuple[str | None, int | None, int]]] = [
        [
            (names[rng.integers(3)], moments[rng.integers(5)], int(rng.integers(2)))
            for _ in range(rng.integers(30))
        ]
        for _ in range(2)
    ]
    seen: list[dict[tuple[str | None, int | None, int], int]] = [{}, {}]
    for rows, found in zip(sides, seen, strict=True):
        count: Counter[tuple[str | None, int | None]] = Counter()
        for symbol, moment, close in rows:
            found[symbol, moment, count[symbol, moment]] = close
            count[symbol, moment] += 1
    shared = seen[0].keys() & seen[1].keys()
    told = compare(_bars(sides[0]), _bars(sides[1]), limit=0)
    assert (told.only_in_a, told.only_in_b, told.rows_differing) == (
        len(seen[0]) - len(shared),
        len(seen[1]) - len(shared),
        sum(seen[0][key] != seen[1][key] for key in shared),
    )
