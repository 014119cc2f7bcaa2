"""Rows on their way to PostgreSQL: a transaction for each epoch, or for each batch."""

from __future__ import annotations

__all__ = ("PostgresEpochs", "PostgresRows", "PostgresWriter")

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import EpochMark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.sink.arrow_rows import check_columns
from market_data_pipeline.sink.keyed import lasting_rows, revision_column
from market_data_pipeline.sink.outbox import Spool, read_outbox
from market_data_pipeline.sink.postgres_connection import PostgresConnection
from market_data_pipeline.sink.postgres_copy import SIGNATURE, TRAILER, CopyRows
from market_data_pipeline.sink.postgres_ledger import PostgresLedger
from market_data_pipeline.sink.postgres_sql import (
    TableName,
    Times,
    create_table,
    load_psycopg,
    upsert,
)
from market_data_pipeline.sink.postgres_table import PostgresTable
from market_data_pipeline.sink.writer import PENDING_ROWS_MAX, RowQueue, in_thread
from market_data_pipeline.symbols import SymbolTable

_INCOMING: Final = TableName("mdp_incoming", "pg_temp")


@dataclass(slots=True)
class Put:
    """What became of the rows of a transaction.

    Attributes:
        written: Rows that are in the table now.
        replaced: Rows that another of the same transaction took the place of.
        outdated: Rows of which a later revision is in the table.
        shortened: Times that lost nanoseconds.
    """

    written: int = 0
    replaced: int = 0
    outdated: int = 0
    shortened: int = 0


@final
class PostgresRows:
    """Puts batches into a table, inside a transaction.

    Attributes:
        schema: The columns of the batches.
    """

    def __init__(
        self, table: PostgresTable, schema: Schema, columns: dict[str, str], times: Times
    ) -> None:
        """Settle the statements.

        Args:
            table: Where to.
            schema: The columns of the batches.
            columns: The columns to write, and their names in the table.
            times: How times are kept.
        """
        self.schema = schema
        self._table = table
        self._sources = list(columns)
        self._times: Times = times
        inside = {there: here for here, there in columns.items()}
        self._key = tuple(inside[name] for name in table.key)
        revision = revision_column(self._key, schema)
        self._revision = columns.get(revision) if revision is not None else None
        self._short_keys = [
            name for name in self._key if schema[name].kind is Kind.TIME and times != "bigint"
        ]

    def put(self, connection: Any, batches: Iterable[Batch]) -> Put:
        """Put rows into the table.

        Raises:
            OutputError: If a row cannot be kept there.
            psycopg.Error: If the server does not take them.
        """
        if not self._key:
            return self._copy(connection, self._table.name, batches)
        batches = list(batches)
        if not batches:
            return Put()
        whole = Batch.concat(batches)
        self._check_times(whole)
        kept = lasting_rows(whole, self._key)
        replaced = len(whole) - len(kept)
        if replaced:
            whole = whole.reorder(kept)
        connection.execute(create_table(_INCOMING, self._table.columns, temporary=True))
        put = self._copy(connection, _INCOMING, [whole])
        sql = load_psycopg().sql
        names = list(self._table.columns)
        select = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(sql.Identifier(name) for name in names), _INCOMING.sql
        )
        done = connection.execute(
            upsert(self._table.name, select, names, self._table.key, self._revision)
        )
        put.replaced = replaced
        put.outdated = put.written - done.rowcount
        put.written = done.rowcount
        return put

    def _check_times(self, batch: Batch) -> None:
        """Refuse to make one key of two that differ by nanoseconds only."""
        for name in self._short_keys:
            values: Any = batch[name]
            if np.any(values % 1000):
                msg = (
                    f"`{name}` is part of the `key` and holds nanoseconds, which timestamptz "
                    f"does not keep; set `times: bigint`"
                )
                raise OutputError(msg, path=str(self._table.name))

    def _copy(self, connection: Any, table: TableName, batches: Iterable[Batch]) -> Put:
        encoder = CopyRows(self.schema, self._sources, self._times)
        sql = load_psycopg().sql
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            table.sql, sql.SQL(", ").join(sql.Identifier(name) for name in self._table.columns)
        )
        put = Put()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(SIGNATURE)
            for batch in batches:
                check_columns(self.schema, [batch])
                for piece in encoder.encoded(batch):
                    copy.write(piece)
                put.written += len(batch)
            copy.write(TRAILER)
        put.shortened = encoder.shortened
        return put


Layout: TypeAlias = tuple[PostgresTable, PostgresRows]


class _Layout:
    """The table and its rows, which may be known only once rows come."""

    def __init__(self, make: Callable[[Schema], Layout], schema: Schema | None) -> None:
        self._make = make
        self.known = None if schema is None else make(schema)

    def of(self, schema: Schema) -> Layout:
        if self.known is None:
            self.known = self._make(schema)
        return self.known


@final
class PostgresEpochs:
    """An `EpochOutput`: rows wait in outboxes, each is put into the table with its ledger row."""

    def __init__(
        self,
        layout: Callable[[Schema], Layout],
        ledger: PostgresLedger,
        connection: PostgresConnection,
        account: Account,
        schema: Schema | None,
    ) -> None:
        self._layout = _Layout(layout, schema)
        self._ledger = ledger
        self._connection = connection
        self._account = account
        self._spool = Spool()
        self._begun = False

    def begin(self) -> None:
        """Make the table if its columns are known, and enter the lineage.

        Raises:
            OutputError: If the table or a later run stands in the way.
        """
        known = self._layout.known
        if known is not None:
            self._connection.transact(lambda c: self._begin(c, known[0]))
            self._begun = True

    def _begin(self, connection: Any, table: PostgresTable) -> None:
        if not self._begun:
            entry = self._ledger.enter(connection)
            # A run that was killed early has made the table, and is known by nothing else.
            is_left = entry.is_unused and table.is_empty(connection)
            table.prepare(connection, is_own=entry.is_own or is_left)

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
        put = self._connection.transact(lambda c: self._commit(c, epoch, folder))
        self._begun = True
        self._account.mark("replaced", put.replaced)
        self._account.mark("outdated", put.outdated)
        self._account.mark("shortened", put.shortened)

    def _commit(self, connection: Any, epoch: int, folder: Path) -> Put:
        batches = read_outbox(folder, SymbolTable())
        first = next(batches, None)
        if first is None:
            msg = f"what was staged of epoch {epoch} is not there"
            raise OutputError(msg, path=str(folder))
        table, rows = self._layout.of(first.schema)
        self._begin(connection, table)
        if self._ledger.has(connection, epoch):
            return Put()
        put = rows.put(connection, chain((first,), batches))
        self._ledger.record(connection, epoch)
        return put

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        return self._connection.transact(self._ledger.mark)

    def finish(self) -> None:
        """Do nothing: all is committed."""

    def discard(self) -> None:
        """Forget what is not staged."""
        self._spool.discard()

    def close(self) -> None:
        """Close the connection."""
        self._spool.discard()
        self._connection.close()

    def interrupt(self) -> None:
        """Make a transaction that runs end."""
        self._connection.interrupt()


@final
class PostgresWriter:
    """A `SinkWriter` without checkpoints: rows that wait are a transaction, visible at once."""

    def __init__(
        self,
        layout: Callable[[Schema], Layout],
        connection: PostgresConnection,
        context: NodeContext,
        schema: Schema | None,
    ) -> None:
        self._layout = _Layout(layout, schema)
        self._connection = connection
        self._account = context.account
        self._clock = context.clock
        self._queue = RowQueue(self._put, context)
        self._stopper = ThreadPoolExecutor(1, thread_name_prefix=f"mdp-{context.node}-stop")
        self._made = False
        self._commit_s: float | None = None
        self._ended = False

    async def begin(self) -> None:
        """Make the table if its columns are known.

        Raises:
            OutputError: If the table stands in the way.
        """
        try:
            await in_thread(self._queue.thread, self._begin, interrupt=self._interrupt)
        except BaseException:
            await self._end()
            raise

    def _begin(self) -> None:
        known = self._layout.known
        if known is not None and not self._made:
            self._connection.transact(lambda c: known[0].prepare(c, is_own=False))
            self._made = True

    def _put(self, batches: Sequence[Batch]) -> None:
        began = self._clock.monotonic()
        _, rows = self._layout.of(batches[0].schema)
        self._begin()
        put = self._connection.transact(lambda c: rows.put(c, batches))
        self._account.rows_out -= put.replaced + put.outdated
        self._account.add("replaced", put.replaced)
        self._account.add("outdated", put.outdated)
        self._account.mark("shortened", put.shortened)
        self._commit_s = self._clock.monotonic() - began

    async def write(self, batch: Batch) -> None:
        """Take rows; wait while too many rows wait."""
        await self._queue.put(batch)

    async def flush(self) -> None:
        """Return once all rows are committed."""
        await self._queue.drain()

    def pressure(self) -> Pressure:
        """Return how many rows wait, and how long the last transaction took."""
        return Pressure(self._queue.waiting_rows, PENDING_ROWS_MAX, self._commit_s)

    async def finish(self) -> None:
        """Commit what waits and close the connection."""
        await self._queue.drain()
        await self._end()

    async def abort(self) -> None:
        """End the transaction that runs; what was committed before stays."""
        if self._ended:
            return
        await self._interrupt()
        await self._queue.give_up()
        await self._end()

    async def _end(self) -> None:
        self._ended = True
        await in_thread(self._queue.thread, self._connection.close)
        self._queue.thread.shutdown(wait=False)
        self._stopper.shutdown(wait=False)

    async def _interrupt(self) -> None:
        await in_thread(self._stopper, self._connection.interrupt)
