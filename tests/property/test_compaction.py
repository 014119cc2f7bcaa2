"""Rows that are taken out of a batch, by whichever way is fastest for so many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.records import TRADE, Field, Kind
from market_data_pipeline.symbols import SymbolTable

_SCHEMA = TRADE.only(["ts_event", "symbol", "price"]).having(
    Field("flag", Kind.BOOL),
    Field("level", Kind.FLOAT),
    Field("note", Kind.ARROW, arrow=pa.string()),
)


@given(
    rows=st.integers(1, 200),
    share=st.sampled_from([0.0, 0.01, 0.5, 0.95]),
    first=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(-50, 50),
    explicit=st.booleans(),
    order=st.sampled_from(["any", "rising", "falling"]),
)
def test_kept_rows_are_those_of_the_mask(
    rows: int, share: float, first: bool, seed: int, start: int, explicit: bool, order: str
) -> None:
    """Their values and their watermarks are what they were, whether few or many go."""
    rng = np.random.default_rng(seed)
    times = rng.integers(-60, 60, rows)
    if order != "any":
        times = np.sort(times)[:: 1 if order == "rising" else -1]
    symbols = SymbolTable(["A", "B"])
    columns: dict[str, Any] = {
        "ts_event": np.ascontiguousarray(times),
        "symbol": rng.integers(0, 2, rows).astype(np.int32),
        "price": rng.integers(0, 9, rows),
        "flag": rng.random(rows) < 0.5,
        "level": rng.random(rows),
        "note": pa.array([f"note {k}" for k in range(rows)], pa.string()),
    }
    progress = Progress(start, 7, 100)
    batch = Batch(_SCHEMA, columns, symbols, progress)
    if explicit:
        marks = progress.watermarks(batch.times)
        batch = batch.with_progress(Progress(progress.before, 0, 100, marks))
    keep = rng.random(rows) >= share
    # The first row raises the watermark more often than others.
    keep[0] = not first

    found = keep_rows(batch, keep, int(keep.sum()))

    expected = batch.take(np.flatnonzero(keep))
    assert len(found) == len(expected) == keep.sum()
    for name in _SCHEMA.names:
        assert found[name].tolist() == expected[name].tolist()
    assert found.progress is not None
    assert expected.progress is not None
    assert found.watermark == expected.watermark
    assert found.progress.before == expected.progress.before
    watermarks = found.progress.watermarks(found.times).tolist()
    assert watermarks == expected.progress.watermarks(expected.times).tolist()
