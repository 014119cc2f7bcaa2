"""Rows as a table of a DuckDB database."""

from __future__ import annotations

__all__ = ("DuckDBSink", "quoted_name", "quoted_text")

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, OutputError, SchemaError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.sink.duckdb_epochs import DuckDBEpochs, Mode
from market_data_pipeline.sink.duckdb_file import (
    MERGING,
    check_same,
    columns_of,
    duckdb_error,
    opened,
    table_exists,
)
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.keyed import check_key
from market_data_pipeline.sink.publish import (
    Draft,
    OutputPath,
    check_parent,
    is_writable,
    reporting,
)
from market_data_pipeline.sink.sql_ledger import LEDGER
from market_data_pipeline.sink.sql_names import quoted_name, quoted_text
from market_data_pipeline.sink.writer import ThreadedWriter


@component("duckdb")
class DuckDBSink:
    """Writes a table of a DuckDB database, all of it in one step at the end.

    Rows are gathered in a hidden database beside `path`. At the end it becomes `path`;
    or, where `path` exists, its rows move there in one transaction, and other tables stay
    as they are. Prices and sizes are `DECIMAL(38, 9)`: all that fixed point can hold, and
    sums of it. Times are `TIMESTAMP_NS`, UTC.

    Delivery: in a run with checkpoints exactly once, visible epoch by epoch: rows and their
    row in the table `mdp_ledger` are one transaction. Others can read the database between
    two epochs. Without checkpoints all rows at the end or none.

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

    delivery: ClassVar[Delivery] = "exactly_once"

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
        with opened(path) as database:
            create = self.mode == "create" and not self.overwrite
            # Whose a table is that was written by epochs is seen once the job is known.
            if create and columns_of(database, self.table) and not columns_of(database, LEDGER):
                raise table_exists(path, self.table)

    async def open(
        self, context: NodeContext, schema: Schema | None
    ) -> ThreadedWriter | EpochedWriter:
        """Open the output: under a hidden name, or in a job the database itself.

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
        if context.job is not None:
            output = DuckDBEpochs(
                str(self.path),
                self.table,
                "replace" if self.overwrite else self.mode,
                self.key,
                context.job,
                context.node,
                context.account,
                schema,
            )
            epochs = EpochedWriter(output, context)
            await epochs.begin(output.begin)
            return epochs
        self._check_free()
        return ThreadedWriter(_DuckDBOutput(self, schema, context.account), context)

    def _check_free(self) -> None:
        """Refuse a table of a run with checkpoints as any other."""
        if self.mode == "create" and not self.overwrite and Path(self.path).exists():
            with opened(str(self.path)) as database:
                if columns_of(database, self.table):
                    raise table_exists(str(self.path), self.table)

    def read(self) -> pa.Table:
        """Return the table; times have the zone UTC.

        Raises:
            OutputError: If there is no such table.
        """
        with opened(str(self.path)) as database:
            if not columns_of(database, self.table):
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
            raise duckdb_error(err, self._path) from err

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
            with MERGING, self._reporting():
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
        with opened(self._path) as database:
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
        there = columns_of(database, self._sink.table)
        if there and self._mode == "create":
            raise table_exists(self._path, self._sink.table)
        if there and self._mode == "append":
            rows = database.sql(f"FROM {staged}")
            here = dict(zip(rows.columns, map(str, rows.types), strict=True))
            check_same(self._path, self._sink.table, there, here)
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

    def discard(self) -> None:
        with suppress(self._error):
            self._database.close()
        self._draft.discard()
        with suppress(FileNotFoundError):
            Path(f"{self._draft.temporary}.wal").unlink()
