"""Rows are the same after they were Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline import wire
from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.rows import rows_of
from support.operator_batches import random_batches


@pytest.mark.parametrize("explicit", [False, True])
def test_rows_and_watermarks_come_back(explicit: bool) -> None:
    """Over another symbol table, with watermarks in either form, or none."""
    for given in random_batches(3):
        assert given.progress is not None
        marks = np.asarray(given.progress.watermarks(given.times))
        explicit_one = given.with_progress(Progress(-5, 0, given.watermark, marks))
        batch = explicit_one if explicit else given
        table = SymbolTable(["of another run"])
        back = wire.from_arrow(wire.to_arrow(batch), table)
        assert back.schema == batch.schema
        assert rows_of(back) == rows_of(batch)
        assert back.watermark == batch.watermark
        bare = wire.from_arrow(wire.to_arrow(_without_progress(batch)), table)
        assert bare.progress is None


def test_a_slice_is_only_the_slice() -> None:
    """Rows that are not in it are not written."""
    batch = random_batches(5)[0]
    part = batch.slice(3, 7)
    assert rows_of(wire.from_arrow(wire.to_arrow(part), SymbolTable())) == rows_of(part)


def test_other_tables_are_refused() -> None:
    """Without our schema, with another type, with an extension type."""
    ours = wire.to_arrow(random_batches(5)[0])
    with pytest.raises(ValueError, match="no rows of ours"):
        wire.schema_of(pa.schema([("a", pa.int64())]))
    wrong = ours.schema.set(0, pa.field("ts_event", pa.float64()))
    with pytest.raises(ValueError, match="`ts_event` is of a type"):
        wire.schema_of(wrong)
    place = ours.schema.get_field_index("note")
    odd = ours.schema.set(place, pa.field("note", pa.uuid()))
    with pytest.raises(ValueError, match="`note` is of a type"):
        wire.schema_of(odd)


def _without_progress(batch: Batch) -> Batch:
    return Batch(batch.schema, batch.columns, batch.symbols)
