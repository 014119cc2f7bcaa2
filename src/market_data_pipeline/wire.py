"""Rows exactly as they are in memory, as Arrow: for what is written to be read by us again.

Times and fixed point stay int64, symbols go by their names, all else is as it is. Nothing
of it depends on the run.
"""

from __future__ import annotations

__all__ = (
    "CODED",
    "SCHEMA_KEY",
    "arrow_schema",
    "arrow_type",
    "from_arrow",
    "schema_of",
    "to_arrow",
)

import json
from typing import Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column, Progress
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

SCHEMA_KEY: Final = b"mdp.schema"
"""Where the schema stands in the metadata of Arrow's."""
_PROGRESS: Final = b"mdp.progress"
_MARKS: Final = "mdp.watermark"
CODED: Final = pa.dictionary(pa.int32(), pa.string())
"""Symbols as codes into their names."""
_ARROW: Final = {
    Kind.TIME: pa.int64(),
    Kind.SYMBOL: pa.string(),
    Kind.FIXED: pa.int64(),
    Kind.INT: pa.int64(),
    Kind.CHAR: pa.uint8(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
}


def arrow_type(field: Field) -> pa.DataType:
    """Return the Arrow type of a column."""
    return field.arrow if field.kind is Kind.ARROW else _ARROW[field.kind]


def arrow_schema(schema: Schema, *, coded: bool = False) -> pa.Schema:
    """Return the Arrow schema of rows, from which `schema_of` makes theirs.

    Args:
        schema: The columns.
        coded: True if symbols are dictionaries, for whoever writes many batches.
    """
    fields = [
        pa.field(f.name, CODED if coded and f.kind is Kind.SYMBOL else arrow_type(f))
        for f in schema
    ]
    told = {
        "name": schema.name,
        "time": schema.time,
        "conflatable": schema.conflatable,
        "fields": [[field.kind.value, field.scale] for field in schema],
    }
    return pa.schema(fields, metadata={SCHEMA_KEY: json.dumps(told).encode()})


def schema_of(found: pa.Schema) -> Schema:
    """Return the schema of rows that `to_arrow` gave.

    Raises:
        ValueError: If the rows are of no such schema.
    """
    try:
        told = json.loads((found.metadata or {})[SCHEMA_KEY])
        fields = []
        for place, (word, scale) in enumerate(told["fields"]):
            field, kind = found.field(place), Kind(word)
            if isinstance(field.type, pa.BaseExtensionType) or (
                kind is not Kind.ARROW
                and field.type != _ARROW[kind]
                and not (kind is Kind.SYMBOL and field.type == CODED)
            ):
                msg = f"the column `{field.name}` is of a type that rows do not have"
                raise ValueError(msg)
            arrow = field.type if kind is Kind.ARROW else None
            fields.append(Field(field.name, kind, int(scale), arrow))
        conflatable = bool(told["conflatable"])
        return Schema(told["name"], tuple(fields), told["time"], conflatable=conflatable)
    except (KeyError, TypeError, IndexError, pa.ArrowException) as err:
        msg = f"these are no rows of ours: {err}"
        raise ValueError(msg) from err


def to_arrow(batch: Batch) -> pa.RecordBatch:
    """Return rows, with the watermark after each if they carry them."""
    arrays = [_to_arrow(field, batch) for field in batch.schema]
    schema, progress = arrow_schema(batch.schema), batch.progress
    if progress is not None:
        told = [progress.start, progress.bound, progress.end]
        schema = schema.with_metadata({**schema.metadata, _PROGRESS: json.dumps(told).encode()})
        if progress.column is not None:
            schema = schema.append(pa.field(_MARKS, pa.int64()))
            arrays.append(pa.array(progress.column))
    return pa.record_batch(arrays, schema=schema)


def from_arrow(rows: pa.RecordBatch, symbols: SymbolTable, schema: Schema | None = None) -> Batch:
    """Return rows that `to_arrow` gave.

    Args:
        rows: The rows.
        symbols: The symbol table of the run; names are added to it.
        schema: What `schema_of` says of them, where that is known.

    Raises:
        ValueError: If they are no such rows.
    """
    schema = schema_of(rows.schema) if schema is None else schema
    columns: dict[str, Column] = {
        field.name: _to_column(field, rows.column(place), symbols)
        for place, field in enumerate(schema)
    }
    batch = Batch(schema, columns, symbols)
    told = (rows.schema.metadata or {}).get(_PROGRESS)
    if told is None:
        return batch
    start, bound, end = map(int, json.loads(told))
    marks = None
    if rows.num_columns > len(schema.names):
        marks = rows.column(len(schema.names)).to_numpy(zero_copy_only=False)
    return batch.with_progress(Progress(start, bound, end, marks))


def _to_arrow(field: Field, batch: Batch) -> pa.Array:
    column = batch.columns[field.name]
    if field.kind is Kind.ARROW:
        return column
    if field.kind is Kind.SYMBOL:
        return batch.symbols.decode(column).cast(pa.string())
    return pa.array(np.ascontiguousarray(column), _ARROW[field.kind])


def _to_column(field: Field, column: pa.Array, symbols: SymbolTable) -> Column:
    if field.kind is Kind.ARROW:
        return column
    if field.kind is Kind.SYMBOL:
        return symbols.encode_arrow(column)
    return np.asarray(column.to_numpy(zero_copy_only=False), field.dtype)
