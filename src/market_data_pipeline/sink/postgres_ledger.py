"""The ledger in PostgreSQL: which epochs a sink has, in the same transaction as its rows."""

from __future__ import annotations

__all__ = ("PostgresLedger",)

from collections.abc import Sequence
from typing import Any, final

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.errors import OutputError
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

    def begin(self, connection: Any) -> bool:
        """Enter the lineage as the one that may commit; tell whether it was there before.

        Raises:
            OutputError: If a later lineage of the job has been entered since.
        """
        lock_creation(connection, self._table)
        if oid_of(connection, self._table) is None:
            connection.execute(create_ledger(self._table))
        turns = self._turns(connection)
        if any(lineage == self._job.lineage for lineage, _, _ in turns):
            if turns[0][0] != self._job.lineage:
                raise self._fenced()
            return True
        insert = self._sql(
            "INSERT INTO {} (job, sink, lineage, turn, epoch) VALUES (%s, %s, %s, %s, 0)"
        )
        turn = turns[0][1] + 1 if turns else 1
        connection.execute(insert, (self._job.name, self._sink, self._job.lineage, turn))
        return False

    def mark(self, connection: Any) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        if oid_of(connection, self._table) is None:
            return None
        turns = self._turns(connection)
        return next((EpochMark(name, epoch) for name, _, epoch in turns if epoch), None)

    def has(self, connection: Any, epoch: int) -> bool:
        """Tell whether an epoch is committed; nobody else commits one until the end.

        Raises:
            OutputError: If a later lineage of the job has been entered since.
        """
        turns = self._turns(connection, " FOR UPDATE")
        if not turns or turns[0][0] != self._job.lineage:
            raise self._fenced()
        return turns[0][2] >= epoch

    def record(self, connection: Any, epoch: int) -> None:
        """Record that an epoch is committed, with the transaction."""
        update = self._sql(
            "UPDATE {} SET epoch = %s, committed_at = now() "
            "WHERE job = %s AND sink = %s AND lineage = %s"
        )
        connection.execute(update, (epoch, self._job.name, self._sink, self._job.lineage))

    def _turns(self, connection: Any, lock: str = "") -> Sequence[tuple[str, int, int]]:
        """Return lineage, turn and epoch of all that wrote to the sink, the latest first."""
        select = "SELECT lineage, turn, epoch FROM {} WHERE job = %s AND sink = %s"
        statement = self._sql(f"{select} ORDER BY turn DESC{lock}")
        rows: Sequence[tuple[str, int, int]] = connection.execute(
            statement, (self._job.name, self._sink)
        ).fetchall()
        return rows

    def _sql(self, text: str) -> Any:
        return load_psycopg().sql.SQL(text).format(self._table.sql)

    def _fenced(self) -> OutputError:
        msg = (
            "a later run of this job has written here since, so this one, which knows nothing "
            "of that, may not; stop it, or start from scratch"
        )
        return OutputError(msg, path=self._place)
