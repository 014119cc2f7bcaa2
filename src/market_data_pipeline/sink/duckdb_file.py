"""A DuckDB database: opening it, its tables, what its errors mean."""

from __future__ import annotations

__all__ = (
    "MERGING",
    "check_same",
    "columns_of",
    "duckdb_error",
    "opened",
    "table_exists",
)

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.sink.publish import output_error

# One instance of DuckDB holds a file open at a time; sinks of one run may share a file.
MERGING: Final = threading.Lock()


def table_exists(path: str, table: str) -> OutputExistsError:
    """Return the error for a table that is there and must not be."""
    msg = (
        f"table `{table}` exists already; set `overwrite: true` (`--overwrite` of `mdp bars` "
        "and `mdp dlq`) to replace it, set `mode: append` to add to it, or choose another `table`"
    )
    return OutputExistsError(msg, path=path)


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a database and close it again; errors name the output."""
    import duckdb

    try:
        with duckdb.connect(path) as database:
            yield database
    except duckdb.Error as err:
        raise duckdb_error(err, path) from err


def duckdb_error(err: Exception, path: str) -> OutputError:
    """Return the error that names the output and, where it is known, the way out."""
    text = str(err)
    if "lock" in text and "Conflicting" in text:
        msg = "cannot be written: another process has the database open; close it there first"
        return OutputError(msg, path=path)
    if "not a valid DuckDB database" in text:
        msg = "is not a DuckDB database; choose another name"
        return OutputError(msg, path=path)
    return output_error(text.splitlines()[0], path)


def columns_of(database: Any, table: str) -> dict[str, str]:
    """Return the columns of a table and their types; none if it does not exist."""
    found = database.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = current_schema() "
        "AND lower(table_name) = lower(?) ORDER BY column_index",
        [table],
    ).fetchall()
    return dict(found)


def check_same(
    path: str, table: str, there: dict[str, str], here: dict[str, str], *, replaces: bool = False
) -> None:
    """Refuse rows whose columns are not those of the table.

    Args:
        path: The database.
        table: Name of the table.
        there: Types of the table's columns.
        here: Types of the columns of the rows.
        replaces: Whether the rows are to take the place of those that are there.

    Raises:
        OutputError: If a name or type differs.
    """
    odd = [name for name in [*there, *here] if there.get(name) != here.get(name)]
    if odd:
        name = odd[0]
        refused, way_out = f"cannot append to table `{table}`", "set `overwrite: true`"
        if replaces:
            refused = f"cannot replace the rows of table `{table}`"
            way_out = "drop it first: with checkpoints its columns stay"
        msg = (
            f"{refused}: column `{name}` is {there.get(name, 'missing')} there and "
            f"{here.get(name, 'missing')} here; choose another `table`, or {way_out}"
        )
        raise OutputError(msg, path=path)
