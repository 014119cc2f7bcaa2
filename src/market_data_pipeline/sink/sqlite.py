"""Rows as a table of an SQLite database."""

from __future__ import annotations

__all__ = ("SqliteSink",)

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import ClassVar

import pyarrow as pa

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, OutputError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.keyed import check_key
from market_data_pipeline.sink.publish import OutputPath, check_parent
from market_data_pipeline.sink.sql_ledger import LEDGER
from market_data_pipeline.sink.sql_names import quoted_name
from market_data_pipeline.sink.sqlite_table import (
    SqliteEpochs,
    SqliteMode,
    SqliteOutput,
    SqlitePrices,
    SqliteTable,
    columns_of,
    opened,
    table_exists,
)
from market_data_pipeline.sink.writer import ThreadedWriter


@component("sqlite")
class SqliteSink:
    """Writes a table of an SQLite database, in one transaction at the end.

    Times are integers: nanoseconds since 1970, UTC. SQLite has no exact decimals, so prices
    and sizes are text, as `1.0835`, exact and readable; or with `prices: integer` the fixed
    point itself, 9 decimal places for all that the sources here give, which can be added up.

    Delivery: in a run with checkpoints exactly once, visible epoch by epoch: rows and their
    row in the table `mdp_ledger` are one transaction. Without checkpoints all rows at the
    end, or none.

    Attributes:
        path: The database file; made if it is not there.
        table: Name of the table; made if it is not there.
        key: Columns that tell rows apart, as `[symbol, ts_open]` for bars: the last row
            of a key takes the place of the others, but never one with a lower `revision`
            that of a higher one. A table that exists needs a unique index on them.
        mode: What to do with a table that exists: `create` refuses, `append` adds rows.
        prices: Fixed-point columns as `decimal` text, or as `integer`.
    """

    path: OutputPath
    table: str = "bars"
    key: tuple[str, ...] = ()
    mode: SqliteMode = "create"
    prices: SqlitePrices = "decimal"

    delivery: ClassVar[Delivery] = "exactly_once"

    def __post_init__(self) -> None:
        quoted_name(self.table)
        check_key(self.key)
        if self.table.lower() == LEDGER or self.table.lower().startswith("sqlite_"):
            msg = f"`table` cannot be `{self.table}`, which is taken; choose another name"
            raise ConfigError(msg, parameter="table")

    def _table(self) -> SqliteTable:
        return SqliteTable(str(self.path), self.table, self.key, self.mode, self.prices)

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If the table exists and may not.
            OutputError: If it cannot be written, or `path` is no SQLite database.
        """
        check_parent(str(self.path))
        with self._existing() as database:
            if (
                database is not None
                and self.mode == "create"
                and columns_of(database, self.table)
                and not columns_of(database, LEDGER)
            ):
                raise table_exists(str(self.path), self.table)

    @contextmanager
    def _existing(self) -> Iterator[Connection | None]:
        """Give the database if the file is there: opening it would make it."""
        if Path(self.path).exists():
            with opened(str(self.path)) as database:
                yield database
        else:
            yield None

    async def open(
        self, context: NodeContext, schema: Schema | None
    ) -> ThreadedWriter | EpochedWriter:
        """Open the output.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If the table exists and may not.
            OutputError: If it cannot be written.
        """
        self.check()
        if schema is not None:
            check_key(self.key, schema)
        table = self._table()
        if context.job is None:
            table.check_free()
            return ThreadedWriter(SqliteOutput(table, schema, context.account), context)
        output = SqliteEpochs(table, context.job, context.node, schema, context.account)
        writer = EpochedWriter(output, context)
        await writer.begin(output.begin)
        return writer

    def read(self) -> pa.Table:
        """Return the table as it is kept: times as integers, decimals as text.

        Raises:
            OutputError: If there is no such table.
        """
        with self._existing() as database:
            types = {} if database is None else columns_of(database, self.table)
            if database is None or not types:
                msg = f"there is no table `{self.table}` in the database"
                raise OutputError(msg, path=str(self.path))
            select = f"SELECT * FROM {quoted_name(self.table)}"  # noqa: S608  quoted
            rows = database.execute(select).fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * len(types)
        return pa.table(
            {
                name: pa.array(column, _ARROW.get(kind.upper()))
                for (name, kind), column in zip(types.items(), columns, strict=True)
            }
        )


_ARROW = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.binary()}
