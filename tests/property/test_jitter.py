"""Times that go back a little, all the time, hold up no window and lose no row."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.source.memory import MemorySource

_MILLISECOND = 10**6
_START = 1_700_000_000 * 1_000 * _MILLISECOND


@pytest.mark.parametrize("batch_rows", [7_001, 65_536])
def test_a_million_times_that_tremble(batch_rows: int) -> None:
    """Each row is off by up to a millisecond either way, and the bound is two."""
    chance, rows = random.Random(1), 1_000_000
    times = [
        _START + n * _MILLISECOND // 10 + chance.randint(-_MILLISECOND, _MILLISECOND)
        for n in range(rows)
    ]
    table = pa.table(
        {
            "ts_event": pa.array(times, pa.int64()),
            "symbol": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["A"]),
            "price": pa.array([1] * rows, pa.int64()),
            "size": pa.array([1] * rows, pa.int64()),
        }
    )
    dag = mdp.Dag()
    source = MemorySource(table, out_of_order="2ms", batch_rows=batch_rows)
    bars = dag.source(source, name="ticks").bars("1s", name="bars")
    bars.collect(name="store")
    bars.late.collect(name="late")
    result = mdp.run(dag)
    made = result.to_arrow("store")
    assert sum(made["count"].to_pylist()) == rows
    assert made.num_rows == len({time // (1_000 * _MILLISECOND) for time in times})
    assert result.to_arrow("late").num_rows == 0
