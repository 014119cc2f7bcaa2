"""Batches as Polars frames and back, exactly."""

from __future__ import annotations

__all__ = ("POSITION", "batch_of_frame", "frame_of_batch", "polars")

from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from market_data_pipeline.batch import Batch, Column, Progress
from market_data_pipeline.errors import MissingDependencyError, SchemaError
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema

POSITION: Final = "__row__"
"""The column that tells which row of the batch a row of the frame is."""

_TIME: Final = pa.timestamp("ns", "UTC")


def polars() -> ModuleType:
    """Return the package.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        package = "polars"
        raise MissingDependencyError(package, extra="polars") from None
    return pl


def frame_of_batch(batch: Batch, *, position: bool) -> Any:
    """Return a batch as a frame.

    Prices and sizes are Decimal(38, scale), times Datetime in ns, UTC, symbols and letters
    strings; what is undefined is null.

    Args:
        batch: The rows.
        position: Add the column `POSITION`.
    """
    arrays = {field.name: _arrow_of(field, batch[field.name], batch) for field in batch.schema}
    if position:
        arrays[POSITION] = pa.array(np.arange(len(batch)))
    return polars().from_arrow(pa.table(arrays))


def _arrow_of(field: Field, column: Column, batch: Batch) -> pa.Array:
    match field.kind:
        case Kind.FIXED:
            return _decimals(column, field.scale)
        case Kind.TIME:
            undefined = column == UNDEFINED
            mask = undefined if undefined.any() else None
            return pa.array(column, pa.int64(), mask=mask).cast(_TIME)
        case Kind.INT:
            undefined = column == UNDEFINED
            return pa.array(column, pa.int64(), mask=undefined if undefined.any() else None)
        case Kind.SYMBOL:
            return pc.cast(batch.symbols.decode(column), pa.string())
        case Kind.CHAR:
            letters = np.array([chr(code) for code in range(256)], object)
            return pa.array(letters[column], pa.string())
    return column if isinstance(column, pa.Array) else pa.array(column)


def _decimals(column: npt.NDArray[np.int64], scale: int) -> pa.Array:
    words = np.empty((len(column), 2), np.int64)
    words[:, 0] = column
    words[:, 1] = column >> 63
    undefined = column == UNDEFINED
    valid = None
    if undefined.any():
        valid = pa.py_buffer(np.packbits(~undefined, bitorder="little").tobytes())
    return pa.Array.from_buffers(
        pa.decimal128(38, scale), len(column), [valid, pa.py_buffer(words)]
    )


def batch_of_frame(frame: Any, batch: Batch, node: str) -> Batch:
    """Return the rows of a frame that a function made of the frame of a batch.

    Columns keep the types they had; others get the type that fits their values. Each row
    keeps the watermark of the row it was, told by `POSITION`; without that column, rows
    are the same in the same order if they are as many, else new rows with the watermark
    before the batch.

    Raises:
        SchemaError: If a column cannot be taken, or the event time is gone.
    """
    table = frame.to_arrow()
    fields: list[Field] = []
    columns: dict[str, Column] = {}
    for name in table.column_names:
        if name == POSITION:
            continue
        array = table[name].combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
        field = batch.schema[name] if name in batch.schema else _field_of(name, array.type)
        try:
            columns[name] = _column_of(field, array, batch)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as err:
            msg = f"column `{name}` of the returned frame, {array.type}, is no {field}: {err}"
            raise SchemaError(msg, node=node) from err
        fields.append(field)
    if batch.schema.time and batch.schema.time not in columns:
        msg = f"the returned frame lacks `{batch.schema.time}`, the event time"
        raise SchemaError(msg, node=node)
    schema = Schema(batch.schema.name, tuple(fields), batch.schema.time, batch.schema.conflatable)
    return Batch(schema, columns, batch.symbols, _progress_of(table, batch, node))


def _field_of(name: str, kind: pa.DataType) -> Field:
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return Field(name, Kind.INT)
    if pa.types.is_floating(kind):
        return Field(name, Kind.FLOAT)
    if pa.types.is_boolean(kind):
        return Field(name, Kind.BOOL)
    if pa.types.is_timestamp(kind):
        return Field(name, Kind.TIME)
    if pa.types.is_decimal(kind) and kind.scale <= 18:
        return Field(name, Kind.FIXED, kind.scale)
    if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind) or _is_view(kind):
        return Field(name, Kind.ARROW, arrow=pa.string())
    return Field(name, Kind.ARROW, arrow=kind)


def _is_view(kind: pa.DataType) -> bool:
    return bool(kind == pa.string_view())


def _column_of(field: Field, array: pa.Array, batch: Batch) -> Column:
    if field.kind is Kind.ARROW:
        return array.cast(field.arrow)
    if field.kind is Kind.FIXED:
        return _fixed_of(array, field.scale)
    if field.kind is Kind.TIME:
        if not (pa.types.is_timestamp(array.type) or pa.types.is_integer(array.type)):
            msg = "times are Datetime or whole nanoseconds"
            raise ValueError(msg)
        if pa.types.is_timestamp(array.type):
            array = array.cast(pa.timestamp("ns", array.type.tz))
        return np.ascontiguousarray(pc.fill_null(array.cast(pa.int64()), UNDEFINED).to_numpy())
    if array.null_count and field.kind not in {Kind.FLOAT, Kind.INT}:
        msg = f"{array.null_count} values are null"
        raise ValueError(msg)
    if field.kind is Kind.SYMBOL:
        return batch.symbols.encode_arrow(array.cast(pa.string()))
    if field.kind is Kind.CHAR:
        return _letters_of(array.cast(pa.string()))
    target = {Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.BOOL: pa.bool_()}[field.kind]
    if field.kind is Kind.INT and not pa.types.is_integer(array.type):
        msg = "an integer column must stay one"
        raise ValueError(msg)
    if field.kind is Kind.INT and array.null_count:
        array = pc.fill_null(array.cast(target), UNDEFINED)
    return np.ascontiguousarray(array.cast(target).to_numpy(zero_copy_only=False))


def _letters_of(array: pa.Array) -> npt.NDArray[np.uint8]:
    letters = array.to_pylist()
    if any(len(letter) != 1 or ord(letter) > 255 for letter in letters):
        msg = "a letter is needed in each row"
        raise ValueError(msg)
    return np.frombuffer("".join(letters).encode("latin-1"), np.uint8)


def _fixed_of(array: pa.Array, scale: int) -> npt.NDArray[np.int64]:
    from market_data_pipeline.kernels.narrow_decimals import narrow_decimals

    if pa.types.is_floating(array.type):
        msg = "floats are not exact; keep prices and sizes Decimal"
        raise ValueError(msg)
    if not pa.types.is_decimal(array.type):
        array = array.cast(pa.decimal128(38, 0))
    if pa.types.is_decimal256(array.type):
        array = array.cast(pa.decimal128(38, array.type.scale))
    own = array.type.scale
    if own < scale:
        array = array.cast(pa.decimal128(38, scale))
        own = scale
    if own - scale > 18:
        msg = f"more than {scale + 18} places"
        raise ValueError(msg)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    array = pc.fill_null(array, pa.scalar(0, array.type)) if missing.any() else array
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset :][: 2 * len(array)]
    out = np.empty(len(array), np.int64)
    bad = narrow_decimals(words, 10 ** (own - scale), out)
    if bad >= 0:
        msg = f"{array[bad]} is out of range"
        raise ValueError(msg)
    out[missing] = UNDEFINED
    return out


def _progress_of(table: pa.Table, batch: Batch, node: str) -> Progress | None:
    progress = batch.progress
    if progress is None:
        return None
    watermarks = progress.watermarks(batch.times)
    if POSITION not in table.column_names:
        if table.num_rows != len(batch):
            watermarks = np.full(table.num_rows, progress.before)
        return Progress(progress.before, 0, progress.end, watermarks)
    positions = np.asarray(table[POSITION].to_numpy())
    whole = positions.dtype.kind in "iu"
    if not whole or (len(positions) and not 0 <= positions.min() <= positions.max() < len(batch)):
        msg = f"`{POSITION}` of the returned frame must be left as it is, or left out"
        raise SchemaError(msg, node=node)
    # Where rows changed places, a row's watermark is the lowest from there on: none
    # becomes late that was not.
    own = watermarks[positions]
    lowest = np.minimum.accumulate(own[::-1])[::-1]
    return Progress(progress.before, 0, progress.end, np.ascontiguousarray(lowest))
