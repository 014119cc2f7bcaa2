"""Batches as Arrow IPC streams, looked at before anything in them is trusted."""

from __future__ import annotations

__all__ = ("arrow_schema", "batch_of_table", "read_stream", "table_of_batch", "write_stream")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.adapters.wire_columns import check_kinds
from market_data_pipeline.adapters.wire_values import bad
from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_NAME_KEY: Final = b"mdp.schema"
_EXTENSION: Final = b"ARROW:extension:name"
_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_DIGITS: Final = 38
_TYPES: Final = {
    Kind.TIME: pa.timestamp("ns", "UTC"),
    Kind.SYMBOL: pa.string(),
    Kind.INT: pa.int64(),
    Kind.CHAR: pa.uint8(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
}


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the columns as they travel: times as such, fixed point as decimals.

    Raises:
        SchemaError: If a column cannot travel.
    """
    check_kinds(schema)
    return pa.schema([(f.name, _type(f)) for f in schema], {_NAME_KEY: schema.name.encode()})


def _type(field: Field) -> pa.DataType:
    if field.kind is Kind.ARROW:
        return field.arrow
    if field.kind is Kind.FIXED:
        return pa.decimal128(_DIGITS, field.scale)
    return _TYPES[field.kind]


def table_of_batch(batch: Batch) -> pa.Table:
    """Return a batch as an Arrow table."""
    schema = arrow_schema(batch.schema)
    arrays = [
        _array(batch, field, of.type) for field, of in zip(batch.schema, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(batch: Batch, field: Field, of: pa.DataType) -> pa.Array:
    column = batch.columns[field.name]
    if field.kind is Kind.ARROW:
        return column
    if field.kind is Kind.SYMBOL:
        return batch.symbols.decode(column).cast(pa.string())
    if field.kind not in {Kind.TIME, Kind.INT, Kind.FIXED}:
        return pa.array(column, of)
    missing = column == UNDEFINED
    if field.kind is not Kind.FIXED:
        return pa.array(column, pa.int64(), mask=missing).cast(of)
    words = np.empty((len(column), 2), np.int64)
    words[:, 0] = column
    words[:, 1] = column >> 63
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(of, len(column), [valid, pa.py_buffer(words)])


def batch_of_table(table: pa.Table, schema: Schema, symbols: SymbolTable) -> Batch:
    """Return the batch of a table with exactly the columns of `arrow_schema`.

    Raises:
        RecordError: If a value is missing or too large.
    """
    arrays = {name: table.column(name).combine_chunks() for name in schema.names}
    arrays = {
        name: array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        for name, array in arrays.items()
    }
    columns: dict[str, Column] = {
        field.name: _column(field, arrays[field.name])
        for field in schema
        if field.kind is not Kind.SYMBOL
    }
    for field in schema:
        if field.kind is Kind.SYMBOL:
            _check_full(arrays[field.name], field)
            columns[field.name] = symbols.encode_arrow(arrays[field.name])
    return Batch(schema, {name: columns[name] for name in schema.names}, symbols)


def _check_full(array: pa.Array, field: Field) -> None:
    if array.null_count:
        bad("missing", f"`{field.name}` must not be null")


def _column(field: Field, array: pa.Array) -> Column:
    if field.kind is Kind.ARROW:
        return array
    if field.kind is Kind.FIXED:
        return _fixed(field, array)
    if field.kind in {Kind.TIME, Kind.INT}:
        numbers = array.cast(pa.int64())
        return np.array(numbers.fill_null(UNDEFINED).to_numpy(zero_copy_only=False), np.int64)
    _check_full(array, field)
    return np.array(array.to_numpy(zero_copy_only=False), field.dtype)


def _fixed(field: Field, array: pa.Array) -> npt.NDArray[np.int64]:
    data = array.buffers()[1]
    if data is None or not len(array):
        return np.full(len(array), UNDEFINED, np.int64)
    words = np.frombuffer(data, np.int64, 2 * len(array), 16 * array.offset).reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    missing = array.is_null().to_numpy(zero_copy_only=False)
    fits = (high == low >> 63) & (low != UNDEFINED) & (low != -UNDEFINED - 1)
    if not bool(np.all(fits | missing)):
        bad("range", f"`{field.name}` holds a number that is too large")
    return np.where(missing, UNDEFINED, low)


def write_stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream of one message."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_stream(data: bytes, expected: pa.Schema) -> pa.Table:
    """Return the table of an Arrow IPC stream.

    The columns are compared before any rows are looked at, and rows are checked before
    they are used. Extension types are refused unread: they may run code.

    Raises:
        RecordError: If it is no such stream.
    """
    try:
        first = pa.ipc.read_message(pa.py_buffer(data))
        if first.type != "schema" or _EXTENSION in first.metadata.to_pybytes():
            bad("schema", "an Arrow message must begin with a schema without extension types")
        source = pa.BufferReader(data)
        with pa.ipc.open_stream(source) as reader:
            found: Any = reader.schema
            if not found.equals(expected, check_metadata=False):
                bad("schema", f"columns must be {_names(expected)}, were {_names(found)[:300]}")
            metadata = found.metadata or {}
            if metadata.get(_NAME_KEY) != expected.metadata[_NAME_KEY]:
                bad("schema", f"rows must be of `{expected.metadata[_NAME_KEY].decode()}`")
            table = reader.read_all()
        if source.tell() != len(data) or not data.endswith(_END):
            # Arrow takes what it finds up to an end; batches behind it would be lost unseen.
            bad("malformed", "an Arrow stream must end where the message does")
        table.validate(full=True)
    except (pa.ArrowException, OSError, EOFError, MemoryError, UnicodeDecodeError) as err:
        bad("malformed", f"not an Arrow stream: {str(err)[:200]}")
    return table


def _names(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
