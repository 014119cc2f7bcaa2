"""The ledger in an embedded database, as DuckDB and SQLite take it."""

from __future__ import annotations

__all__ = ("LEDGER", "SqlLedger")

from typing import Any, Final, final

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.sink.ledger import Entry, LedgerLine, enter, has_epoch, mark_of

LEDGER: Final = "mdp_ledger"
"""The table in which a sink records what it has committed."""

_WHERE: Final = "WHERE job = ? AND sink = ?"


@final
class SqlLedger:
    """One sink of one job in the ledger. All methods are called inside a transaction.

    Attributes:
        create: The statement that makes the ledger if it is not there.
    """

    create: Final = (
        f"CREATE TABLE IF NOT EXISTS {LEDGER} "
        "(job TEXT, sink TEXT, lineage TEXT, turn BIGINT, epoch BIGINT)"
    )

    def __init__(self, job: Job, sink: str, place: str) -> None:
        """Look at nothing yet.

        Args:
            job: Whose rows they are.
            sink: Name of the node.
            place: The output, for messages.
        """
        self._job = job
        self._who = (job.name, sink)
        self._place = place

    def lines(self, database: Any) -> list[LedgerLine]:
        """Return the lines of the job and the sink."""
        rows = database.execute(
            f"SELECT lineage, turn, epoch FROM {LEDGER} {_WHERE}",  # noqa: S608  constant
            self._who,
        ).fetchall()
        return [LedgerLine(*row) for row in rows]

    def enter(self, database: Any) -> Entry:
        """Enter the lineage as the one that may commit.

        Raises:
            OutputError: If another lineage of the job has committed since.
        """
        entry = enter(self.lines(database), self._job, self._place)
        values = (entry.turn, *self._who, self._job.lineage)
        if entry.is_new:
            database.execute(
                f"INSERT INTO {LEDGER} (turn, job, sink, lineage, epoch) "  # noqa: S608
                "VALUES (?, ?, ?, ?, 0)",
                values,
            )
        else:
            database.execute(
                f"UPDATE {LEDGER} SET turn = ? {_WHERE} AND lineage = ?",  # noqa: S608
                values,
            )
        return entry

    def has(self, database: Any, epoch: int) -> bool:
        """Tell whether an epoch is committed.

        Raises:
            OutputError: If another lineage of the job was opened since.
        """
        return has_epoch(self.lines(database), self._job, epoch, self._place)

    def is_first(self, database: Any) -> bool:
        """Tell whether the job has committed nothing, in this lineage or its ancestors."""
        own = {self._job.lineage, *self._job.ancestors}
        return not any(line.epoch for line in self.lines(database) if line.lineage in own)

    def record(self, database: Any, epoch: int) -> None:
        """Record that an epoch is committed, with the transaction."""
        database.execute(
            f"UPDATE {LEDGER} SET epoch = ? {_WHERE} AND lineage = ?",  # noqa: S608
            (epoch, *self._who, self._job.lineage),
        )

    def mark(self, database: Any) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        return mark_of(self.lines(database))
