"""What `sequence` tells of a gap: the columns of its records."""

from __future__ import annotations

__all__ = ("MISSING", "gap_batch", "gap_schema")

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import Field, Kind, Schema

MISSING: Final = Field("missing", Kind.INT)
"""Rows of the sequence that are missing right before a row; -1 for one that fills a gap."""

_TIME: Final = Field("ts_event", Kind.TIME)
_TOLD: Final = (
    Field("kind", Kind.ARROW, arrow=pa.string()),
    Field("sequence", Kind.INT),
    Field("previous", Kind.INT),
    Field("first_missing", Kind.INT),
    Field("last_missing", Kind.INT),
    Field("rows", Kind.INT),
    Field("ts_before", Kind.TIME),
    Field("ts_after", Kind.TIME),
)


def gap_schema(schema: Schema, by: Sequence[str]) -> Schema:
    """Return the columns of a record: when, whose, what.

    Raises:
        SchemaError: If a column of the key is named as one that the record has anyway.
    """
    names = [*by]
    if "symbol" in schema and "symbol" not in names:
        names.insert(0, "symbol")
    clash = {field.name for field in (_TIME, *_TOLD)}.intersection(names)
    if clash:
        msg = (
            f"`sequence` cannot have `{min(clash)}` in `by`: its records have a column of this "
            f"name; rename it before"
        )
        raise SchemaError(msg, node="sequence")
    return Schema("sequence_gap", (_TIME, *(schema[name] for name in names), *_TOLD))


def gap_batch(
    batch: Batch, schema: Schema, records: npt.NDArray[np.int64], kinds: Sequence[str]
) -> Batch:
    """Return records as rows.

    Args:
        batch: The rows that told of the gaps.
        schema: The columns of a record.
        records: (n, 9) int64 as the kernel writes them, at ascending rows; they are copied.
        kinds: The words for the kinds.
    """
    rows = np.ascontiguousarray(records[:, 0])
    times = batch.times
    columns: dict[str, Any] = {"ts_event": times[rows]}
    words = [kinds[code] for code in records[:, 1].tolist()]
    for field in schema:
        if field.name in batch.columns and field not in _TOLD and field != _TIME:
            column = batch.columns[field.name]
            columns[field.name] = (
                column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]
            )
    columns["kind"] = pa.array(words, pa.string())
    for place, field in enumerate(_TOLD[1:], start=2):
        # A copy, also of one record: the kernel writes the next ones over these.
        columns[field.name] = records[:, place].copy()
    progress = batch.progress
    if progress is not None:
        marks = progress.watermarks(times)[rows]
        progress = Progress(progress.before, 0, progress.end, marks)
    ordered = {name: columns[name] for name in schema.names}
    return Batch(schema, ordered, batch.symbols, progress)
