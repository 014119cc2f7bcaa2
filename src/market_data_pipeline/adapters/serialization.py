"""Records and batches as bytes, and back: JSON, msgpack and Arrow IPC.

Prices and sizes are exact: decimal text in JSON and msgpack and in Arrow's records,
decimals in Arrow's batches. Times are nanoseconds. What comes from outside is checked
against the schema value by value, and whatever is wrong with it is a `RecordError`.
"""

from __future__ import annotations

__all__ = (
    "MAX_BYTES",
    "Format",
    "dump_batch",
    "dump_records",
    "load_batch",
    "load_records",
)

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, cast

import pyarrow as pa

from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.wire_arrow import (
    arrow_schema,
    batch_of_table,
    read_stream,
    table_of_batch,
    write_stream,
)
from market_data_pipeline.adapters.wire_columns import plain_columns, read_columns
from market_data_pipeline.adapters.wire_records import (
    TIME,
    plain_record,
    read_record,
    record_name,
)
from market_data_pipeline.adapters.wire_values import bad
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

Format: TypeAlias = Literal["json", "msgpack", "arrow"]
"""How things are written; `msgpack` needs the extra of that name."""

MAX_BYTES: Final = 64 * 2**20
"""How long a message may be, unless the reader says otherwise."""

T = TypeVar("T")
_Pairs: TypeAlias = list[tuple[Any, Any]]
_FORMATS: Final = ("json", "msgpack", "arrow")
_NAME: Final = "record"
_ROWS: Final = "rows"


def dump_batch(batch: Batch, format: Format = "json") -> bytes:  # noqa: A002 - the word for it
    """Return a batch as bytes; its watermarks stay behind.

    Args:
        batch: The rows.
        format: How to write them.

    Raises:
        SchemaError: If a column cannot travel.
        MissingDependencyError: If the format's package is not installed.
    """
    if _checked_format(format) == "arrow":
        return write_stream(table_of_batch(batch))
    return _packed(plain_columns(batch), format)


def load_batch(
    data: bytes,
    schema: Schema,
    symbols: SymbolTable,
    format: Format = "json",  # noqa: A002 - the word for it
    *,
    max_bytes: int = MAX_BYTES,
) -> Batch:
    """Return the batch of bytes that `dump_batch` made.

    Args:
        data: The bytes; may be anything.
        schema: What the rows must be, to the column.
        symbols: The table that the symbols are added to, if the message is sound.
        format: How they were written.
        max_bytes: How many there may be.

    Raises:
        RecordError: If they are no rows of this schema.
        SchemaError: If a column cannot travel.
        MissingDependencyError: If the format's package is not installed.
    """
    _check_size(data, max_bytes)
    if _checked_format(format) == "arrow":
        return batch_of_table(read_stream(data, arrow_schema(schema)), schema, symbols)
    return read_columns(_unpacked(data, format), schema, symbols)


def dump_records(records: Sequence[Any], format: Format = "json") -> bytes:  # noqa: A002
    """Return quotes or bars as bytes.

    Args:
        records: At least one `Quote` or `Bar`, all of one kind.
        format: How to write them.

    Raises:
        ConfigError: If they are not of one kind.
        RecordError: If one holds what cannot travel.
        MissingDependencyError: If the format's package is not installed.
    """
    kinds = {type(record) for record in records}
    if len(kinds) != 1:
        told = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        msg = f"records must be one or more of one kind, were {told}"
        raise ConfigError(msg)
    [cls] = kinds
    name = record_name(cls)
    rows = [plain_record(record) for record in records]
    if _checked_format(format) != "arrow":
        return _packed({_NAME: name, _ROWS: rows}, format)
    for row in rows:
        if row["metadata"] is not None:
            row["metadata"] = json.dumps(row["metadata"], ensure_ascii=False)
    return write_stream(pa.Table.from_pylist(rows, schema=_record_schema(cls)))


def load_records(
    data: bytes,
    cls: type[T],
    format: Format = "json",  # noqa: A002 - the word for it
    *,
    max_bytes: int = MAX_BYTES,
) -> list[T]:
    """Return the records of bytes that `dump_records` made.

    Args:
        data: The bytes; may be anything.
        cls: `Quote` or `Bar`.
        format: How they were written.
        max_bytes: How many there may be.

    Raises:
        RecordError: If they are no such records.
        ConfigError: If there is no such kind of record.
        MissingDependencyError: If the format's package is not installed.
    """
    name = record_name(cls)
    _check_size(data, max_bytes)
    if _checked_format(format) == "arrow":
        rows = read_stream(data, _record_schema(cls)).to_pylist()
        for row in rows:
            if row["metadata"] is not None:
                row["metadata"] = _json(row["metadata"])
    else:
        plain = _unpacked(data, format)
        if type(plain) is not dict or set(plain) != {_NAME, _ROWS}:
            bad("shape", f"records must be an object of `{_NAME}` and `{_ROWS}`")
        if plain[_NAME] != name:
            bad("schema", f"records must be of `{name}`")
        rows = plain[_ROWS]
        if type(rows) is not list:
            bad("shape", f"`{_ROWS}` must be a list")
    return [cast("T", read_record(row, cls)) for row in rows]


def _record_schema(cls: type[Any]) -> pa.Schema:
    types = {"timestamp": pa.int64(), "trade_count": pa.int64()}
    return pa.schema(
        [
            (TIME if field.name == "timestamp" else field.name, types.get(field.name, pa.string()))
            for field in fields(cls)
        ],
        {b"mdp.schema": record_name(cls).encode()},
    )


def _check_size(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        bad("size", f"a message must have at most {max_bytes:,} bytes, had {len(data):,}")


def _checked_format(name: str) -> str:
    if name not in _FORMATS:
        known = ", ".join(f"`{known}`" for known in _FORMATS)
        msg = f"`format` must be one of {known}, was {name!r}{nearest(name, _FORMATS)}"
        raise ConfigError(msg, parameter="format")
    return name


def _packed(plain: dict[str, Any], how: str) -> bytes:
    if how == "json":
        return json.dumps(
            plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    packed: bytes = _msgpack().packb(plain)
    return packed


def _unpacked(data: bytes, how: str) -> Any:
    if how == "json":
        try:
            text = data.decode()
        except UnicodeDecodeError as err:
            bad("malformed", f"not UTF-8 at byte {err.start}")
        return _json(text)
    return _unpack_msgpack(data)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        bad("malformed", f"not JSON: {str(err)[:200]}")


def _unpack_msgpack(data: bytes) -> Any:
    msgpack = _msgpack()
    unpack: Callable[..., Any] = msgpack.unpackb
    try:
        return unpack(
            data,
            strict_map_key=True,
            object_pairs_hook=_unique,
            ext_hook=_refuse_extension,
        )
    except (ValueError, RecursionError, TypeError, msgpack.UnpackException) as err:
        bad("malformed", f"not msgpack: {str(err)[:200]}")


def _unique(pairs: _Pairs) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        bad("malformed", "an object has a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    bad("malformed", f"`{name}` is no JSON")


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    bad("malformed", f"msgpack extension {code} is refused")


def _msgpack() -> Any:
    return require_optional("msgpack", extra="msgpack")
