"""Rows in a DuckDB database by epochs: each is one transaction with its row of the ledger.

What is known to break the database's log is left out: there is no index, so nothing is
deleted and inserted again under one, tables are made in transactions of their own that are
checkpointed, and a database is made under another name and renamed. A failed checkpoint is
told; the epoch may be committed all the same, which the ledger knows. The database is
opened for each epoch, so that others can read it in between, and an instance that has
given up is not used again.
"""

from __future__ import annotations

__all__ = ("DuckDBEpochs", "Mode")

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.sink.duckdb_file import (
    MERGING,
    check_same,
    columns_of,
    opened,
    table_exists,
)
from market_data_pipeline.sink.keyed import check_key, lasting_rows, revision_column
from market_data_pipeline.sink.outbox import Spool, read_outbox
from market_data_pipeline.sink.publish import Draft
from market_data_pipeline.sink.sql_ledger import LEDGER, SqlLedger
from market_data_pipeline.sink.sql_names import quoted_name
from market_data_pipeline.symbols import SymbolTable

Mode: TypeAlias = Literal["create", "append", "replace"]

_INCOMING: Final = "mdp incoming rows"


@final
class DuckDBEpochs:
    """An `EpochOutput` for one table."""

    def __init__(
        self,
        path: str,
        table: str,
        mode: Mode,
        key: tuple[str, ...],
        job: Job,
        sink: str,
        account: Account,
        schema: Schema | None,
    ) -> None:
        self._path = path
        self._name = table
        self._table = quoted_name(table)
        self._mode: Mode = mode
        self._key = key
        self._ledger = SqlLedger(job, sink, path)
        self._account = account
        self._schema = schema
        self._spool = Spool()
        self._begun = False
        self._is_stale = False

    def begin(self) -> None:
        """Make the database and the table where they are not there, and enter the lineage.

        Raises:
            OutputError: If the table or a later run stands in the way.
        """
        if self._schema is not None:
            self._begin(self._schema)

    def _begin(self, schema: Schema) -> None:
        check_key(self._key, schema)
        empty = ArrowRows(schema, prices="decimal", timezone=None).schema.empty_table()
        with MERGING:
            if not Path(self._path).exists():
                self._make_database(empty)
            with opened(self._path) as database:
                self._make_tables(database, empty)
                self._enter(database)
                database.execute("CHECKPOINT")
        self._begun = True

    def _make_database(self, empty: pa.Table) -> None:
        draft = Draft(self._path, overwrite=False)
        try:
            with opened(str(draft.temporary)) as database:
                database.execute(SqlLedger.create)
                self._make_table(database, empty)
                database.execute("CHECKPOINT")
            draft.publish_file()
        finally:
            draft.discard()
            with suppress(FileNotFoundError):
                Path(f"{draft.temporary}.wal").unlink()

    def _make_table(self, database: Any, empty: pa.Table) -> None:
        database.register(_INCOMING, empty)
        database.execute(f"CREATE TABLE {self._table} AS FROM {quoted_name(_INCOMING)}")
        database.unregister(_INCOMING)

    def _make_tables(self, database: Any, empty: pa.Table) -> None:
        there = columns_of(database, self._name)
        if not columns_of(database, LEDGER):
            if there and self._mode == "create":
                raise table_exists(self._path, self._name)
            database.execute(SqlLedger.create)
        if not there:
            self._make_table(database, empty)
            return
        database.register(_INCOMING, empty)
        here = _columns_here(database, _INCOMING)
        database.unregister(_INCOMING)
        replaces = self._mode == "replace"
        check_same(self._path, self._name, there, here, replaces=replaces)

    def _enter(self, database: Any) -> None:
        entry = self._ledger.enter(database)
        has_rows = self._has_rows(database)
        if not entry.is_own and self._mode == "create" and has_rows:
            raise table_exists(self._path, self._name)
        self._is_stale = has_rows and self._replaces(database)

    def _replaces(self, database: Any) -> bool:
        return self._mode == "replace" and self._ledger.is_first(database)

    def _has_rows(self, database: Any) -> bool:
        query = f"SELECT 1 FROM {self._table} LIMIT 1"  # noqa: S608  quoted
        return bool(database.execute(query).fetchall())

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows."""
        self._spool.write(batches)

    def stage(self, epoch: int, folder: Path) -> None:  # noqa: ARG002  the folder says it
        """Put the rows into the epoch's folder; none, where there are others to replace."""
        if self._is_stale and self._schema is not None and not self._spool.rows:
            self._spool.write([Batch.empty(self._schema, SymbolTable())])
        self._spool.stage(folder)
        self._is_stale = False

    def commit(self, epoch: int, folder: Path) -> None:
        """Put the rows of an epoch into the table and record it, in one transaction.

        Raises:
            OutputError: If it is not known to be done.
        """
        batches = list(read_outbox(folder, SymbolTable()))
        if batches and not self._begun:
            self._begin(batches[0].schema)
        with MERGING, opened(self._path) as database:
            database.execute("BEGIN")
            try:
                done = self._ledger.has(database, epoch)
                marks: Counter[str] = Counter()
                if not done:
                    marks = self._put(database, batches, folder)
                    self._ledger.record(database, epoch)
                database.execute("COMMIT")
            except BaseException:
                with suppress(Exception):  # what led here is raised
                    database.execute("ROLLBACK")
                raise
            # What is tried again must not be counted twice.
            self._account.mark_all(marks)
            if not done:
                database.execute("CHECKPOINT")

    def _put(self, database: Any, batches: Sequence[Batch], folder: Path) -> Counter[str]:
        """Put rows into the table; return how many of them another one stands for."""
        if not batches:
            msg = "what was staged is not there"
            raise OutputError(msg, path=str(folder))
        if self._replaces(database):
            database.execute(f"DELETE FROM {self._table}")  # noqa: S608  quoted
        rows = ArrowRows(batches[0].schema, prices="decimal", timezone=None)
        if not self._key:
            self._insert(database, rows.table(batches))
            return Counter()
        whole = Batch.concat(batches)
        kept = lasting_rows(whole, self._key)
        marks = Counter(replaced=len(whole) - len(kept))
        if len(kept) < len(whole):
            whole = whole.reorder(kept)
        revision = revision_column(self._key, whole.schema)
        marks["outdated"] = self._upsert(database, rows.table([whole]), revision)
        return marks

    def _insert(self, database: Any, table: pa.Table) -> None:
        database.register(_INCOMING, table)
        database.execute(f"INSERT INTO {self._table} BY NAME FROM {quoted_name(_INCOMING)}")
        database.unregister(_INCOMING)

    def _upsert(self, database: Any, table: pa.Table, revision: str | None) -> int:
        """Put in what no newer revision is there for; return how many rows were older."""
        same = " AND ".join(
            f"present.{name} IS NOT DISTINCT FROM fresh.{name}"
            for name in map(quoted_name, self._key)
        )
        incoming = quoted_name(_INCOMING)
        changes = ", ".join(
            f"{name} = fresh.{name}"
            for name in map(quoted_name, table.column_names)
            if name not in map(quoted_name, self._key)
        )
        database.register(_INCOMING, table)
        known = changed = 0
        if changes:
            newer = ""
            if revision is not None:
                column = quoted_name(revision)
                newer = f" AND (present.{column} IS NULL OR fresh.{column} >= present.{column})"
            [(known,)] = database.execute(
                f"SELECT count(*) FROM {incoming} AS fresh SEMI JOIN {self._table} "  # noqa: S608
                f"AS present ON {same}"
            ).fetchall()
            [(changed,)] = database.execute(
                f"UPDATE {self._table} AS present SET {changes} "  # noqa: S608  quoted
                f"FROM {incoming} AS fresh WHERE {same}{newer}"
            ).fetchall()
        database.execute(
            f"INSERT INTO {self._table} BY NAME "
            f"FROM {incoming} AS fresh ANTI JOIN {self._table} AS present ON {same}"
        )
        database.unregister(_INCOMING)
        return known - changed

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        if not Path(self._path).exists():
            return None
        with MERGING, opened(self._path) as database:
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


def _columns_here(database: Any, name: str) -> dict[str, str]:
    rows = database.sql(f"FROM {quoted_name(name)}")
    return dict(zip(rows.columns, map(str, rows.types), strict=True))
