"""The ledger in PostgreSQL: which epochs a sink has, in the same transaction as its rows."""

from __future__ import annotations

__all__ = ("PostgresLedger",)

from typing import Any, final

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.sink.ledger import Entry, LedgerLine, enter, has_epoch, mark_of
from market_data_pipeline.sink.postgres_sql import (
    LEDGER,
    TableName,
    create_ledger,
    load_psycopg,
    lock_creation,
    oid_of,
)


@final
class PostgresLedger:
    """One sink of one job in the ledger. All methods are called inside a transaction."""

    def __init__(self, table: TableName, job: Job, sink: str) -> None:
        """Look at nothing yet.

        Args:
            table: The table of the rows; the ledger lies in the same schema.
            job: Whose rows they are.
            sink: Name of the node.
        """
        self._place = str(table)
        self._table = TableName(LEDGER, table.schema)
        self._job = job
        self._sink = sink

    def enter(self, connection: Any) -> Entry:
        """Enter the lineage as the one that may commit.

        Raises:
            OutputError: If another lineage of the job has committed since.
        """
        lock_creation(connection, self._table)
        if oid_of(connection, self._table) is None:
            connection.execute(create_ledger(self._table))
        entry = enter(self._lines(connection), self._job, self._place)
        put = (
            "INSERT INTO {} (turn, epoch, job, sink, lineage) VALUES (%s, 0, %s, %s, %s)"
            if entry.is_new
            else "UPDATE {} SET turn = %s WHERE job = %s AND sink = %s AND lineage = %s"
        )
        connection.execute(self._sql(put), (entry.turn, *self._who))
        return entry

    def mark(self, connection: Any) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        if oid_of(connection, self._table) is None:
            return None
        return mark_of(self._lines(connection))

    def has(self, connection: Any, epoch: int) -> bool:
        """Tell whether an epoch is committed; nobody else commits one until the end.

        Raises:
            OutputError: If another lineage of the job was opened since.
        """
        lines = self._lines(connection, " FOR UPDATE")
        return has_epoch(lines, self._job, epoch, self._place)

    def record(self, connection: Any, epoch: int) -> None:
        """Record that an epoch is committed, with the transaction."""
        update = self._sql(
            "UPDATE {} SET epoch = %s, committed_at = now() "
            "WHERE job = %s AND sink = %s AND lineage = %s"
        )
        connection.execute(update, (epoch, *self._who))

    @property
    def _who(self) -> tuple[str, str, str]:
        return self._job.name, self._sink, self._job.lineage

    def _lines(self, connection: Any, lock: str = "") -> list[LedgerLine]:
        select = "SELECT lineage, turn, epoch FROM {} WHERE job = %s AND sink = %s"
        rows = connection.execute(self._sql(select + lock), self._who[:2]).fetchall()
        return [LedgerLine(*row) for row in rows]

    def _sql(self, text: str) -> Any:
        return load_psycopg().sql.SQL(text).format(self._table.sql)
