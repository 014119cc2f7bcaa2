"""A table of an SQLite database, and rows on their way to it."""

from __future__ import annotations

__all__ = (
    "SqliteEpochs",
    "SqliteMode",
    "SqliteOutput",
    "SqlitePrices",
    "SqliteTable",
    "columns_of",
    "opened",
    "table_exists",
)

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import pyarrow as pa

from market_data_pipeline.arrow_text import column_text
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.errors import OutputError, OutputExistsError, SchemaError
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.sink.keyed import check_key, lasting_rows, revision_column
from market_data_pipeline.sink.outbox import Spool, read_outbox
from market_data_pipeline.sink.publish import output_error, reporting
from market_data_pipeline.sink.sql_ledger import LEDGER, SqlLedger
from market_data_pipeline.sink.sql_names import quoted_name
from market_data_pipeline.symbols import SymbolTable

SqliteMode: TypeAlias = Literal["create", "append"]
SqlitePrices: TypeAlias = Literal["decimal", "integer"]

_BUSY_S: Final = 10.0
_PLAIN: Final = {
    Kind.TIME: "INTEGER",
    Kind.SYMBOL: "TEXT",
    Kind.CHAR: "TEXT",
    Kind.INT: "INTEGER",
    Kind.FLOAT: "REAL",
    Kind.BOOL: "INTEGER",
}


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open a database and close it again; errors name the output."""
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as database:
            yield database
    except sqlite3.Error as err:
        if "not a database" in str(err):
            msg = "is not an SQLite database; choose another name"
            raise OutputError(msg, path=path) from err
        if "locked" in str(err):
            msg = f"cannot be written: another process has held it for {_BUSY_S:.0f} s"
            raise OutputError(msg, path=path) from err
        raise output_error(str(err), path) from err


@contextmanager
def _transaction(path: str) -> Iterator[sqlite3.Connection]:
    with opened(path) as database:
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise


def columns_of(database: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns of a table and their types; none if it does not exist."""
    rows = database.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    return dict(rows)


def table_exists(path: str, table: str) -> OutputExistsError:
    """Return the error for a table that is there and must not be."""
    msg = (
        f"table `{table}` exists already; set `mode: append` to add to it, or choose another "
        "`table`"
    )
    return OutputExistsError(msg, path=path)


@final
class SqliteTable:
    """A table and how it is written."""

    def __init__(
        self, path: str, name: str, key: tuple[str, ...], mode: SqliteMode, prices: SqlitePrices
    ) -> None:
        self.path = path
        self._name = name
        self._key = key
        self._mode: SqliteMode = mode
        self._prices: SqlitePrices = prices

    def check_free(self) -> None:
        """Refuse a table that is there and must not be.

        Raises:
            OutputExistsError: If it is there.
        """
        if self._mode == "create" and Path(self.path).exists():
            with opened(self.path) as database:
                if columns_of(database, self._name):
                    raise table_exists(self.path, self._name)

    def prepare(self, database: sqlite3.Connection, schema: Schema, *, is_own: bool) -> None:
        """Make the table, or make sure that the rows fit into the one that is there.

        Raises:
            OutputError: If they do not.
        """
        check_key(self._key, schema)
        here = {field.name: self._type(field) for field in schema}
        there = columns_of(database, self._name)
        table = quoted_name(self._name)
        if not there:
            lines = [f"{quoted_name(name)} {kind}" for name, kind in here.items()]
            if self._key:
                lines.append(f"PRIMARY KEY ({', '.join(map(quoted_name, self._key))})")
            database.execute(f"CREATE TABLE {table} ({', '.join(lines)})")
            return
        if self._mode == "create" and not is_own:
            found = database.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608  quoted
            if found.fetchone():
                raise table_exists(self.path, self._name)
        for name, kind in here.items():
            if there.get(name, "missing").upper() != kind:
                msg = (
                    f"column `{name}` of table `{self._name}` is {there.get(name, 'missing')} "
                    f"there and {kind} here; choose another `table`"
                )
                raise OutputError(msg, path=self.path)

    def _type(self, field: Field) -> str:
        if field.kind is Kind.FIXED:
            return "TEXT" if self._prices == "decimal" else "INTEGER"
        if field.kind is not Kind.ARROW:
            return _PLAIN[field.kind]
        arrow: Any = field.arrow
        if pa.types.is_nested(arrow):
            msg = f"column `{field}` cannot be kept in SQLite; leave it out with `select`"
            raise SchemaError(msg)
        if pa.types.is_integer(arrow) or pa.types.is_boolean(arrow):
            return "INTEGER"
        if pa.types.is_floating(arrow):
            return "REAL"
        return "BLOB" if pa.types.is_binary(arrow) else "TEXT"

    def put(self, database: sqlite3.Connection, batches: Iterable[Batch]) -> Counter[str]:
        """Put rows into the table, inside a transaction.

        Returns:
            How many of them another row stands for, by the word for why.
        """
        marks: Counter[str] = Counter()
        rows: ArrowRows | None = None
        for batch in batches:
            if rows is None:
                rows = ArrowRows(batch.schema, prices="decimal")
            kept = batch
            if self._key:
                lasting = lasting_rows(batch, self._key)
                if len(lasting) < len(batch):
                    kept = batch.reorder(lasting)
                    marks["replaced"] += len(batch) - len(lasting)
            before = database.total_changes
            database.executemany(self._statement(batch.schema), self._values(rows, kept))
            marks["outdated"] += len(kept) - (database.total_changes - before)
        return marks

    def _statement(self, schema: Schema) -> str:
        names = [quoted_name(name) for name in schema.names]
        key = [quoted_name(name) for name in self._key]
        statement = (
            f"INSERT INTO {quoted_name(self._name)} ({', '.join(names)}) "  # noqa: S608  quoted
            f"VALUES ({', '.join('?' * len(names))})"
        )
        if not key:
            return statement
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
        statement += f" ON CONFLICT ({', '.join(key)}) DO "
        if not changes:
            return statement + "NOTHING"
        statement += f"UPDATE SET {changes}"
        revision = revision_column(self._key, schema)
        if revision is not None:
            column = quoted_name(revision)
            present = f"{quoted_name(self._name)}.{column}"
            statement += f" WHERE {present} IS NULL OR excluded.{column} >= {present}"
        return statement

    def _values(self, rows: ArrowRows, batch: Batch) -> Iterator[tuple[Any, ...]]:
        table = rows.table([batch])
        columns = []
        for field in batch.schema:
            values: Any = batch[field.name]
            whole = field.kind in {Kind.TIME, Kind.INT} or (
                field.kind is Kind.FIXED and self._prices == "integer"
            )
            if whole:
                columns.append([None if v == UNDEFINED else v for v in values.tolist()])
                continue
            array = table.column(field.name).combine_chunks()
            kind = self._type(field)
            if kind == "TEXT":
                array = column_text(array)
            columns.append(array.to_pylist())
        return zip(*columns, strict=True)


@final
class SqliteOutput:
    """A `BlockingOutput`: rows wait in an outbox and become one transaction."""

    def __init__(self, table: SqliteTable, schema: Schema | None, account: Account) -> None:
        self._table = table
        self._schema = schema
        self._account = account
        self._spool = Spool()
        with reporting(table.path):
            self._folder = Path(tempfile.mkdtemp(prefix="mdp-"))

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows."""
        self._schema = self._schema or batches[0].schema
        self._spool.write(batches)

    def complete(self) -> None:
        """Put all rows on the disk."""
        try:
            self._spool.stage(self._folder)
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        """Put the rows into the table.

        Raises:
            OutputError: If they do not fit, or the database cannot be written.
        """
        marks: Counter[str] = Counter()
        try:
            with _transaction(self._table.path) as database:
                if self._schema is not None:
                    self._table.prepare(database, self._schema, is_own=False)
                    rows = read_outbox(self._folder, SymbolTable())
                    marks = self._table.put(database, rows)
            self._account.mark_all(marks)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._spool.discard()
        shutil.rmtree(self._folder, ignore_errors=True)


@final
class SqliteEpochs:
    """An `EpochOutput`: each epoch is one transaction with its row of the ledger."""

    def __init__(
        self, table: SqliteTable, job: Job, sink: str, schema: Schema | None, account: Account
    ) -> None:
        self._table = table
        self._schema = schema
        self._account = account
        self._ledger = SqlLedger(job, sink, table.path)
        self._spool = Spool()
        self._begun = False

    def begin(self) -> None:
        """Make the table if its columns are known, and enter the lineage.

        Raises:
            OutputError: If the table or a later run stands in the way.
        """
        if self._schema is not None:
            with _transaction(self._table.path) as database:
                self._begin(database, self._schema)
            self._begun = True

    def _begin(self, database: sqlite3.Connection, schema: Schema) -> None:
        if not self._begun:
            database.execute(SqlLedger.create)
            is_own = self._ledger.enter(database).is_own
            self._table.prepare(database, schema, is_own=is_own)

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows."""
        self._spool.write(batches)

    def stage(self, epoch: int, folder: Path) -> None:  # noqa: ARG002  the folder says it
        """Put the rows into the epoch's folder."""
        self._spool.stage(folder)

    def commit(self, epoch: int, folder: Path) -> None:
        """Put the rows of an epoch into the table and record it, in one transaction.

        Raises:
            OutputError: If it is not known to be done.
        """
        batches = list(read_outbox(folder, SymbolTable()))
        if not batches:
            msg = f"what was staged of epoch {epoch} is not there"
            raise OutputError(msg, path=str(folder))
        marks: Counter[str] = Counter()
        with _transaction(self._table.path) as database:
            self._begin(database, batches[0].schema)
            if not self._ledger.has(database, epoch):
                self._table.prepare(database, batches[0].schema, is_own=True)
                marks = self._table.put(database, batches)
                self._ledger.record(database, epoch)
        self._begun = True
        # What is tried again must not be counted twice.
        self._account.mark_all(marks)

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        if not Path(self._table.path).exists():
            return None
        with opened(self._table.path) as database:
            return self._ledger.mark(database) if columns_of(database, LEDGER) else None

    def finish(self) -> None:
        """Do nothing: all is committed."""

    def discard(self) -> None:
        """Forget what is not staged."""
        self._spool.discard()

    def close(self) -> None:
        """Forget what is not staged."""
        self._spool.discard()

    def interrupt(self) -> None:
        """Do nothing: a transaction takes as long as it takes."""
