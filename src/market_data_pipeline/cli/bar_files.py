"""Files of bars, as any sink writes them, read back for comparison."""

from __future__ import annotations

__all__ = ("KEYS", "load_bars")

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.cli.bar_tables import load_duckdb, load_sqlite
from market_data_pipeline.cli.output import format_rows
from market_data_pipeline.errors import ColumnError, ConfigError, InputError, MissingInputError
from market_data_pipeline.memory import reader_of

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
KEYS: Final = ("symbol", "ts_open")
_EXACT: Final = pa.decimal128(38, 9)
_TIME: Final = pa.timestamp("ns", "UTC")


def load_bars(path: Path, table: str = "bars") -> pa.Table:
    """Return a file's bars, with times as int64 nanoseconds and symbols as strings.

    Numbers written as text or decimals stay exact decimals; floats stay floats.

    Args:
        path: A `.parquet`, `.csv`, `.jsonl`, `.duckdb` or `.sqlite` file, or a folder of
            Parquet files; text may be compressed, as in `.csv.gz`.
        table: Name of the table in a `.duckdb` or `.sqlite` file.

    Raises:
        MissingInputError: If there is no such file.
        ConfigError: If the extension is none of these.
        ColumnError: If the rows are no bars.
        InputError: If the file cannot be read.
    """
    if not path.exists():
        msg = "no such file"
        raise MissingInputError(msg, place=str(path))
    suffix = _suffix_of(path)
    try:
        loaded = _LOADERS[suffix](path, table)
    except UnicodeDecodeError as err:
        msg = "this is no text in UTF-8"
        raise InputError(msg, place=str(path)) from err
    except (pa.ArrowException, OSError) as err:
        msg = f"cannot be read as {suffix[1:]}: {str(err).splitlines()[0]}"
        raise InputError(msg, place=str(path)) from err
    return _normal(loaded, str(path))


def _suffix_of(path: Path) -> str:
    if path.is_dir():
        return ".parquet"
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    suffix = Path(name).suffix
    if suffix in _LOADERS:
        return suffix
    names = ", ".join(f"`{known}`" for known in _LOADERS)
    msg = f"{path}: cannot tell the format from its name; it must end in one of {names}"
    raise ConfigError(msg)


def _load_parquet(path: Path, _table: str) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _load_csv(path: Path, _table: str) -> pa.Table:
    from pyarrow import csv

    data = _text(path, ".csv")
    if not data:
        msg = "the file is empty, without even a header"
        raise InputError(msg, place=str(path))
    header = csv.read_csv(reader_of(data.split(b"\n", 1)[0] + b"\n")).column_names
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    return csv.read_csv(reader_of(data), convert_options=options)


def _load_jsonl(path: Path, _table: str) -> pa.Table:
    from pyarrow import json

    data = _text(path, ".jsonl")
    if not data:
        return pa.table({name: pa.array([], pa.string()) for name in KEYS})
    return json.read_json(reader_of(data))


def _text(path: Path, suffix: str) -> bytes:
    from market_data_pipeline.sink.text_file import open_text

    with open_text(str(path), suffix) as file:
        data: bytes = file.read()
    return data


_LOADERS: Final[dict[str, Callable[[Path, str], pa.Table]]] = {
    ".parquet": _load_parquet,
    ".csv": _load_csv,
    ".jsonl": _load_jsonl,
    ".duckdb": load_duckdb,
    ".sqlite": load_sqlite,
    ".sqlite3": load_sqlite,
    ".db": load_sqlite,
}


def _normal(table: pa.Table, place: str) -> pa.Table:
    missing = [name for name in KEYS if name not in table.column_names]
    if missing:
        names = ", ".join(f"`{name}`" for name in table.column_names)
        msg = f"these are no bars: there is no column `{missing[0]}` (columns: {names})"
        raise ColumnError(msg, place=place)
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        try:
            columns[name] = _normal_column(name, column)
        except pa.ArrowException as err:
            msg = f"column `{name}` of type {column.type} cannot be taken: {err}"
            raise ColumnError(msg, place=place) from err
    if empty := columns["ts_open"].null_count:
        row = _pc.index(_pc.is_null(columns["ts_open"]), True).as_py() + 1
        msg = f"these are no bars: `ts_open` is empty in {format_rows(empty)}, row {row} the first"
        raise ColumnError(msg, place=place)
    return pa.table(columns)


def _normal_column(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if name.startswith("ts_"):
        return _nanoseconds(column)
    if name == "session" and not pa.types.is_integer(column.type):
        return column.cast(pa.date32())
    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.string()) if name == "symbol" else _number_or_text(column)
    return column.cast(pa.string()) if name == "symbol" else column


def _nanoseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    text = column.cast(pa.string())
    if not _pc.any(_pc.match_substring(text, "-"), skip_nulls=True).as_py():
        return text.cast(pa.int64())
    zoned = _pc.all(_pc.ends_with(text, "Z"), skip_nulls=True).as_py()
    return text.cast(_TIME if zoned else pa.timestamp("ns")).cast(pa.int64())


def _number_or_text(text: pa.ChunkedArray) -> pa.ChunkedArray:
    for type_ in (_EXACT, pa.float64(), pa.bool_()):
        try:
            return text.cast(type_)
        except pa.ArrowInvalid:
            continue
    return text.cast(pa.string())
