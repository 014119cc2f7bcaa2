"""Rows as a table of a DuckDB database."""

from __future__ import annotations

__all__ = ("DuckDBSink", "quoted_name", "quoted_text")

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError, SchemaError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.sink.keyed import check_key
from market_data_pipeline.sink.publish import (
    Draft,
    OutputPath,
    check_parent,
    is_writable,
    output_error,
    reporting,
)
from market_data_pipeline.sink.writer import ThreadedWriter

Mode: TypeAlias = Literal["create", "append", "replace"]

_NAME_BYTES_MAX: Final = 255

# One instance of DuckDB holds a file open at a time; sinks of one run may share a file.
_MERGING: Final = threading.Lock()


def quoted_name(name: str) -> str:
    """Return a name as an SQL identifier, whatever is in it.

    Raises:
        ConfigError: If no identifier can be made of it.
    """
    if not name or "\0" in name or len(name.encode()) > _NAME_BYTES_MAX:
        msg = (
            f"a table name must have 1 to {_NAME_BYTES_MAX} bytes, none of them zero, was {name!r}"
        )
        raise ConfigError(msg, parameter="table")
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@component("duckdb")
class DuckDBSink:
    """Writes a table of a DuckDB database, all of it in one step at the end.

    Rows are gathered in a hidden database beside `path`. At the end it becomes `path`;
    or, where `path` exists, its rows move there in one transaction, and other tables stay
    as they are. Prices and sizes are `DECIMAL(38, 9)`: all that fixed point can hold, and
    sums of it. Times are `TIMESTAMP_NS`, UTC.

    Attributes:
        path: The database file.
        table: Name of the table.
        mode: What to do with a table that exists: `create` refuses, `append` adds rows to
            it if its columns are the same, `replace` drops it.
        overwrite: The same as `mode: replace`.
        key: Columns that tell rows apart, as `[symbol, ts_open]` for bars: of rows with the
            same key the last one stays, and the others are counted as `replaced`. With
            `mode: append` it stands for rows of earlier runs as well.
    """

    path: OutputPath
    table: str = "bars"
    mode: Mode = "create"
    overwrite: bool = False
    key: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        quoted_name(self.table)
        check_key(self.key)
        if self.overwrite and self.mode == "append":
            msg = "`overwrite: true` and `mode: append` exclude each other; drop one of them"
            raise ConfigError(msg, parameter="overwrite")

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If the table exists and may not be replaced.
            OutputError: If it cannot be written, or `path` is no DuckDB database.
        """
        path = str(self.path)
        check_parent(path)
        if not Path(path).exists():
            return
        if not is_writable(Path(path)):
            msg = "cannot be written: there is no permission; change it, or choose another file"
            raise OutputError(msg, path=path)
        with _database(path) as database:
            create = self.mode == "create" and not self.overwrite
            if create and _columns(database, self.table):
                raise _table_exists(path, self.table)

    async def open(self, context: NodeContext, schema: Schema | None) -> ThreadedWriter:
        """Open the output under a hidden name.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If the table exists and may not be replaced.
            OutputError: If it cannot be written.
        """
        self.check()
        if schema is not None:
            check_key(self.key, schema)
        return ThreadedWriter(_DuckDBOutput(self, schema, context.account), context)

    def read(self) -> pa.Table:
        """Return the table; times have the zone UTC.

        Raises:
            OutputError: If there is no such table.
        """
        with _database(str(self.path)) as database:
            if not _columns(database, self.table):
                msg = f"there is no table `{self.table}` in the database"
                raise OutputError(msg, path=str(self.path))
            found: pa.Table = database.sql(f"FROM {quoted_name(self.table)}").to_arrow_table()
        zoned = pa.schema(
            [
                field.with_type(pa.timestamp("ns", "UTC"))
                if field.type == pa.timestamp("ns")
                else field
                for field in found.schema
            ]
        )
        return found.cast(zoned)


def _table_exists(path: str, table: str) -> OutputExistsError:
    msg = (
        f"table `{table}` exists already; pass `--overwrite` or set `overwrite: true` to "
        "replace it, set `mode: append` to add to it, or choose another `table`"
    )
    return OutputExistsError(msg, path=path)


@contextmanager
def _database(path: str) -> Iterator[Any]:
    """Open a database and close it again; errors name the output."""
    import duckdb

    try:
        with duckdb.connect(path) as database:
            yield database
    except duckdb.Error as err:
        raise _duckdb_error(err, path) from err


def _duckdb_error(err: Exception, path: str) -> OutputError:
    text = str(err)
    if "lock" in text and "Conflicting" in text:
        msg = "cannot be written: another process has the database open; close it there first"
        return OutputError(msg, path=path)
    if "not a valid DuckDB database" in text:
        msg = "is not a DuckDB database; choose another name"
        return OutputError(msg, path=path)
    return output_error(text.splitlines()[0], path)


def _columns(database: Any, table: str) -> dict[str, str]:
    """Return the columns of a table and their types; none if it does not exist."""
    found = database.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = current_schema() "
        "AND lower(table_name) = lower(?) ORDER BY column_index",
        [table],
    ).fetchall()
    return dict(found)


@final
class _DuckDBOutput:
    """Rows on their way to a table, gathered in a database of their own."""

    def __init__(self, sink: DuckDBSink, schema: Schema | None, account: Account) -> None:
        import duckdb

        self._sink = sink
        self._path = str(sink.path)
        self._table = quoted_name(sink.table)
        self._mode: Mode = "replace" if sink.overwrite else sink.mode
        self._schema = schema
        self._account = account
        self._rows: ArrowRows | None = None
        self._draft = Draft(self._path, overwrite=False)
        self._incoming = self._draft.temporary.name
        self._view = quoted_name(self._incoming)
        self._error = duckdb.Error
        with self._reporting():
            self._database = duckdb.connect(str(self._draft.temporary))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            with reporting(self._path):
                yield
        except self._error as err:
            raise _duckdb_error(err, self._path) from err

    def write(self, batches: Sequence[Batch]) -> None:
        rows = self._begun(batches[0].schema)
        self._insert(rows.table(batches))

    def _begun(self, schema: Schema) -> ArrowRows:
        if self._rows is None:
            check_key(self._sink.key, schema)
            if self._sink.key and any(name.lower() == "rowid" for name in schema.names):
                msg = (
                    "a table with a `key` cannot have a column `rowid`; DuckDB numbers rows by it"
                )
                raise SchemaError(msg)
            self._rows = ArrowRows(schema, prices="decimal", timezone=None)
            with self._reporting():
                self._database.register(self._incoming, self._rows.schema.empty_table())
                self._database.execute(f"CREATE TABLE {self._table} AS FROM {self._view}")
        return self._rows

    def _insert(self, rows: pa.Table) -> None:
        with self._reporting():
            self._database.register(self._incoming, rows)
            self._database.execute(f"INSERT INTO {self._table} FROM {self._view}")

    def complete(self) -> None:
        try:
            if self._schema is not None:
                self._begun(self._schema)
            with self._reporting():
                self._database.unregister(self._incoming)
                self._keep_last()
                self._database.execute("CHECKPOINT")
                self._database.close()
            self._draft.complete_file()
        except BaseException:
            self.discard()
            raise

    def _keep_last(self) -> None:
        """Delete rows that another one with the same key came after."""
        if not self._sink.key or self._rows is None:
            return
        names = ", ".join(map(quoted_name, self._sink.key))
        last = f"SELECT max(rowid) FROM {self._table} GROUP BY {names}"  # noqa: S608  quoted
        [(deleted,)] = self._database.execute(
            f"DELETE FROM {self._table} WHERE rowid NOT IN ({last})"  # noqa: S608  quoted
        ).fetchall()
        self._account.rows_out -= deleted
        self._account.add("replaced", deleted)

    def publish(self) -> None:
        try:
            with _MERGING, self._reporting():
                if Path(self._path).exists():
                    self._merge()
                else:
                    self._draft.publish_file()
        finally:
            self.discard()

    def _merge(self) -> None:
        """Move the rows to the table of the database that exists, in one transaction."""
        if self._rows is None:
            return
        staged = self._draft.temporary.name
        with _database(self._path) as database:
            database.execute(
                f"ATTACH {quoted_text(str(self._draft.temporary))} "
                f"AS {quoted_name(staged)} (READ_ONLY)"
            )
            database.execute("BEGIN")
            try:
                self._move(database, f"{quoted_name(staged)}.main.{self._table}")
                database.execute("COMMIT")
            except BaseException:
                with suppress(self._error):
                    database.execute("ROLLBACK")
                raise
            finally:
                with suppress(self._error):
                    database.execute(f"DETACH {quoted_name(staged)}")
            # The rows are safe in the log already; another connection may hold this up.
            with suppress(self._error):
                database.execute("CHECKPOINT")

    def _move(self, database: Any, staged: str) -> None:
        there = _columns(database, self._sink.table)
        if there and self._mode == "create":
            raise _table_exists(self._path, self._sink.table)
        if there and self._mode == "append":
            rows = database.sql(f"FROM {staged}")
            here = dict(zip(rows.columns, map(str, rows.types), strict=True))
            self._check_same(there, here)
            if self._sink.key:
                same = " AND ".join(
                    f"{self._table}.{name} IS NOT DISTINCT FROM staged.{name}"
                    for name in map(quoted_name, self._sink.key)
                )
                database.execute(
                    f"DELETE FROM {self._table} USING {staged} AS staged "  # noqa: S608  quoted
                    f"WHERE {same}"
                )
            database.execute(f"INSERT INTO {self._table} BY NAME FROM {staged}")
            return
        database.execute(f"DROP TABLE IF EXISTS {self._table}")
        database.execute(f"CREATE TABLE {self._table} AS FROM {staged}")

    def _check_same(self, there: dict[str, str], here: dict[str, str]) -> None:
        odd = [name for name in [*there, *here] if there.get(name) != here.get(name)]
        if odd:
            name = odd[0]
            msg = (
                f"cannot append to table `{self._sink.table}`: column `{name}` is "
                f"{there.get(name, 'missing')} there and {here.get(name, 'missing')} here; "
                "choose another `table`, or set `overwrite: true`"
            )
            raise OutputError(msg, path=self._path)

    def discard(self) -> None:
        with suppress(self._error):
            self._database.close()
        self._draft.discard()
        with suppress(FileNotFoundError):
            Path(f"{self._draft.temporary}.wal").unlink()
