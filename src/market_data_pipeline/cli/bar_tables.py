"""Tables of bars in databases, read whole."""

from __future__ import annotations

__all__ = ("load_duckdb", "load_sqlite")

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from market_data_pipeline.errors import ConfigError, InputError, nearest

_TRUTH: Final = frozenset({"is_final", "filled"})


def load_duckdb(path: Path, table: str) -> pa.Table:
    """Return a table of a DuckDB file.

    Raises:
        ConfigError: If there is no such table.
        InputError: If the file cannot be read.
    """
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            _check_there(path, table, [str(row[0]) for row in rows])
            found: pa.Table = connection.sql(f"SELECT * FROM {_quoted(table)}").to_arrow_table()  # noqa: S608
            return found
    except duckdb.Error as err:
        msg = f"cannot be read as DuckDB: {str(err).splitlines()[0]}"
        raise InputError(msg, place=str(path)) from err


def load_sqlite(path: Path, table: str) -> pa.Table:
    """Return a table of an SQLite file, with numbers in text as text.

    Raises:
        ConfigError: If there is no such table.
        InputError: If the file cannot be read.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            rows = database.execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')"
            ).fetchall()
            _check_there(path, table, [str(row[0]) for row in rows])
            cursor = database.execute(f"SELECT * FROM {_quoted(table)}")  # noqa: S608
            names = [str(column[0]) for column in cursor.description]
            columns = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(names)
    except sqlite3.Error as err:
        msg = f"cannot be read as SQLite: {err}"
        raise InputError(msg, place=str(path)) from err
    return pa.table(
        {name: _array(name, values) for name, values in zip(names, columns, strict=True)}
    )


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    if name in _TRUTH and {*values} <= {0, 1, None}:  # SQLite has no truth values
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column may hold values of many types
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _check_there(path: Path, table: str, tables: Sequence[str]) -> None:
    if table in tables:
        return
    names = ", ".join(f"`{name}`" for name in sorted(tables)) or "none"
    msg = (
        f"{path} has no table `{table}`{nearest(table, sorted(tables))} (tables: {names}); "
        "name one with --table"
    )
    raise ConfigError(msg)


def _quoted(table: str) -> str:
    name = table.replace('"', '""')
    return f'"{name}"'
