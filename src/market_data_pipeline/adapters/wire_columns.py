"""Batches as plain lists by column, for JSON and msgpack."""

from __future__ import annotations

__all__ = ("check_kinds", "plain_columns", "read_columns")

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.adapters.wire_values import (
    bad,
    decimal_of,
    decimal_text,
    fixed_of,
    fixed_text,
    int_of,
    text_of,
)
from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_NOT_NUMBERS: Final[Mapping[str, float]] = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
_CHAR_MAX: Final = 255
_NAME: Final = "schema"
_COLUMNS: Final = "columns"


def check_kinds(schema: Schema) -> None:
    """Refuse columns that cannot travel.

    Raises:
        SchemaError: If there is one.
    """
    for field in schema:
        if field.kind is Kind.ARROW and _arrow_reader(field) is None:
            msg = f"column `{field.name}` of type {field.arrow} cannot be sent; leave it out"
            raise SchemaError(msg)


def plain_columns(batch: Batch) -> dict[str, Any]:
    """Return a batch as a dictionary of lists of numbers, text, truth values and None."""
    check_kinds(batch.schema)
    return {
        _NAME: batch.schema.name,
        _COLUMNS: {field.name: _plain(batch, field) for field in batch.schema},
    }


def _plain(batch: Batch, field: Field) -> list[Any]:
    column = batch.columns[field.name]
    if field.kind is Kind.ARROW:
        return [_plain_value(value, field.name) for value in column.to_pylist()]
    values: list[Any] = column.tolist()
    if field.kind is Kind.SYMBOL:
        return [batch.symbols.name(code) for code in values]
    if field.kind is Kind.FIXED:
        return [None if v == UNDEFINED else fixed_text(v, field.scale) for v in values]
    if field.kind is Kind.CHAR:
        return [chr(code) for code in values]
    if field.kind is Kind.FLOAT:
        return [value if math.isfinite(value) else str(value) for value in values]
    if field.kind is Kind.BOOL:
        return values
    return [None if value == UNDEFINED else value for value in values]


def _plain_value(value: Any, place: str) -> Any:
    if isinstance(value, Decimal):
        return decimal_text(value, place)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def read_columns(plain: Any, schema: Schema, symbols: SymbolTable) -> Batch:
    """Return the batch of what `plain_columns` gave, after looking at every value.

    Args:
        plain: What a message held; may be anything.
        schema: What it must be.
        symbols: The table that the symbols are added to.

    Raises:
        RecordError: If it is not rows of this schema.
    """
    check_kinds(schema)
    if type(plain) is not dict or set(plain) != {_NAME, _COLUMNS}:
        bad("shape", f"a batch must be an object of `{_NAME}` and `{_COLUMNS}`")
    if plain[_NAME] != schema.name:
        bad("schema", f"rows must be of `{schema.name}`")
    columns = plain[_COLUMNS]
    if type(columns) is not dict or set(columns) != set(schema.names):
        names = ", ".join(f"`{name}`" for name in schema.names)
        bad("schema", f"rows of `{schema.name}` must have exactly the columns {names}")
    lengths = {len(c) if type(c) is list else -1 for c in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        bad("shape", "columns must be lists of one length")
    read = {f.name: _column(f, columns[f.name], symbols) for f in schema if f.kind != Kind.SYMBOL}
    # Last, so that a message that is refused adds no symbols.
    read.update(
        {
            field.name: symbols.encode([text_of(v, field.name) for v in columns[field.name]])
            for field in schema
            if field.kind is Kind.SYMBOL
        }
    )
    return Batch(schema, {name: read[name] for name in schema.names}, symbols)


def _column(field: Field, values: list[Any], symbols: SymbolTable) -> Column:  # noqa: ARG001
    if field.kind is Kind.ARROW:
        read = _arrow_reader(field)
        assert read is not None  # noqa: S101 - `check_kinds` has looked
        taken = [None if value is None else read(value) for value in values]
        try:
            return pa.array(taken, field.arrow)
        except (pa.ArrowException, OverflowError):
            bad("range", f"`{field.name}` holds a value that is no {field.arrow}")
    reader = _READERS[field.kind]
    return np.array([reader(value, field) for value in values], field.dtype)


def _read_int(value: Any, field: Field) -> int:
    return UNDEFINED if value is None else int_of(value, field.name, high=UNDEFINED - 1)


def _read_fixed(value: Any, field: Field) -> int:
    return UNDEFINED if value is None else fixed_of(value, field.scale, field.name)


def _read_char(value: Any, field: Field) -> int:
    letter = text_of(value, field.name)
    if len(letter) != 1 or ord(letter) > _CHAR_MAX:
        bad("type", f"`{field.name}` must be one letter")
    return ord(letter)


def _read_float(value: Any, field: Field) -> float:
    return _float_of(value, field.name)


def _float_of(value: Any, place: str) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is str and value in _NOT_NUMBERS:
        return _NOT_NUMBERS[value]
    return float(int_of(value, place))


def _read_bool(value: Any, field: Field) -> bool:
    if type(value) is not bool:
        bad("type", f"`{field.name}` must be true or false")
    return bool(value)


_READERS: Final[Mapping[Kind, Callable[[Any, Field], Any]]] = {
    Kind.TIME: _read_int,
    Kind.INT: _read_int,
    Kind.FIXED: _read_fixed,
    Kind.CHAR: _read_char,
    Kind.FLOAT: _read_float,
    Kind.BOOL: _read_bool,
}


def _arrow_reader(field: Field) -> Callable[[Any], Any] | None:
    of: Any = field.arrow
    name, types = field.name, pa.types
    if types.is_string(of) or types.is_large_string(of):
        return lambda value: text_of(value, name)
    if types.is_decimal(of):
        return lambda value: decimal_of(value, name)
    if types.is_integer(of):
        return lambda value: int_of(value, name, high=2**64 - 1)
    if types.is_floating(of):
        return lambda value: _float_of(value, name)
    if types.is_boolean(of):
        return lambda value: _read_bool(value, field)
    if types.is_date32(of):
        return lambda value: _date_of(value, name)
    if types.is_binary(of) or types.is_large_binary(of):
        return lambda value: _bytes_of(value, name)
    return None


def _date_of(value: Any, place: str) -> date:
    text = text_of(value, place)
    try:
        return date.fromisoformat(text)
    except ValueError:
        bad("type", f"`{place}` must be a date as YYYY-MM-DD")


def _bytes_of(value: Any, place: str) -> bytes:
    text = text_of(value, place)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        bad("type", f"`{place}` must be bytes in base64")
