"""Rows that a fan-in has read ahead, as an Arrow file, and back."""

from __future__ import annotations

__all__ = ("Held", "read_held", "write_held")

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.checkpoints.arrow_files import write_arrow
from market_data_pipeline.dag.checkpoints.files import HashedFile
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Held: TypeAlias = Mapping[str, Sequence[tuple[Batch, npt.NDArray[np.int64]]]]
"""By input, the batches that are held and the watermark after each of their rows."""

_META: Final = b"mdp.held"
_MARKS: Final = "watermark"


@dataclass(frozen=True, slots=True)
class _Layout:
    schema: Schema
    counts: dict[str, list[int]]


def write_held(file: HashedFile, held: Held) -> None:
    """Write the rows that are held; there is at least one batch."""
    parts = [part for parts in held.values() for part in parts]
    schema = parts[0][0].schema
    whole = Batch.concat([Batch(b.schema, b.columns, b.symbols) for b, _ in parts])
    names = [_MARKS]
    arrays = [pa.array(np.concatenate([marks for _, marks in parts]))]
    for place, field in enumerate(schema):
        names.append(f"column_{place}")
        arrays.append(_to_arrow(field, whole[field.name], whole.symbols))
    told = {
        "schema": schema.name,
        "time": schema.time,
        "conflatable": schema.conflatable,
        "fields": [[field.name, field.kind.value, field.scale] for field in schema],
        "rows": {name: [len(batch) for batch, _ in parts] for name, parts in held.items()},
    }
    batch = pa.record_batch(arrays, names=names)
    write_arrow(file, batch.replace_schema_metadata({_META: json.dumps(told).encode()}))


def read_held(batch: pa.RecordBatch, symbols: SymbolTable) -> Held:
    """Return the rows that were held, over the symbol table of the run.

    Raises:
        CheckpointError: If they are none.
    """
    try:
        layout = _layout(json.loads((batch.schema.metadata or {})[_META]), batch)
        columns: dict[str, Column] = {
            field.name: _to_column(field, batch.column(f"column_{place}"), symbols)
            for place, field in enumerate(layout.schema)
        }
        whole = Batch(layout.schema, columns, symbols)
        marks = np.array(batch.column(_MARKS).to_numpy(zero_copy_only=False), np.int64)
        held: dict[str, list[tuple[Batch, npt.NDArray[np.int64]]]] = {}
        at = 0
        for name, counts in layout.counts.items():
            held[name] = []
            for count in counts:
                held[name].append((whole.slice(at, at + count), marks[at : at + count]))
                at += count
    except (KeyError, TypeError, ValueError, pa.ArrowException) as err:
        msg = f"the file holds no rows of a fan-in: {err}"
        raise CheckpointError(msg) from err
    return held


def _layout(told: Mapping[str, Any], batch: pa.RecordBatch) -> _Layout:
    fields = []
    for place, (name, kind, scale) in enumerate(told["fields"]):
        of_arrow = Kind(kind) is Kind.ARROW
        arrow = batch.schema.field(f"column_{place}").type if of_arrow else None
        fields.append(Field(name, Kind(kind), scale, arrow))
    schema = Schema(told["schema"], tuple(fields), told["time"], conflatable=told["conflatable"])
    return _Layout(schema, told["rows"])


def _to_arrow(field: Field, column: Column, symbols: SymbolTable) -> pa.Array:
    if field.kind is Kind.ARROW:
        return column
    return symbols.decode(column) if field.kind is Kind.SYMBOL else pa.array(column)


def _to_column(field: Field, column: pa.Array, symbols: SymbolTable) -> Column:
    if field.kind is Kind.ARROW:
        return column
    if field.kind is Kind.SYMBOL:
        return symbols.encode_arrow(column)
    return np.array(column.to_numpy(zero_copy_only=False), field.dtype)
