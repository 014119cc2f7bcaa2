"""Rows as a table of a PostgreSQL database."""

from __future__ import annotations

__all__ = ("PostgresSink",)

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import pyarrow as pa

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.secret import Secret, SecretText
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, OutputError, SchemaError, nearest
from market_data_pipeline.records import DEFAULT_SCALE, Schema
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.keyed import check_key
from market_data_pipeline.sink.postgres_connection import PostgresConnection
from market_data_pipeline.sink.postgres_ledger import PostgresLedger
from market_data_pipeline.sink.postgres_output import PostgresEpochs, PostgresRows, PostgresWriter
from market_data_pipeline.sink.postgres_sql import (
    LEDGER,
    TableName,
    Times,
    check_name,
    column_types,
    load_psycopg,
)
from market_data_pipeline.sink.postgres_table import PostgresMode, PostgresTable

_READ_TYPES: Final[Mapping[str, pa.DataType]] = {
    "text": pa.string(),
    "character varying": pa.string(),
    "bigint": pa.int64(),
    "integer": pa.int64(),
    "smallint": pa.int64(),
    "double precision": pa.float64(),
    "real": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "bytea": pa.binary(),
    "timestamp with time zone": pa.timestamp("ns", "UTC"),
}
_PLAIN_NUMERIC: Final = pa.decimal128(38, DEFAULT_SCALE)


@component("postgres")
class PostgresSink:
    """Writes a table of a PostgreSQL database, by COPY, each row exact.

    Prices and sizes are `numeric(38, 9)`, times `timestamptz`, which keeps microseconds:
    what is finer is cut off and counted as `shortened`; say `times: bigint` to keep
    nanoseconds. Plain PostgreSQL is enough.

    Backpressure: rows that come while a transaction runs wait and are the next one; once
    262,144 wait, so does the run. A server that cannot be reached is tried again for about
    15 seconds.

    Delivery: in a run with checkpoints exactly once: the rows of an epoch and its row in
    the table `mdp_ledger` of the same schema are one transaction. Without checkpoints at
    least once: each transaction is visible at once, stays if the run fails, and is
    repeated if the connection breaks before the server has answered; with a `key` that
    does no harm.

    Attributes:
        dsn: Where the database is, as `postgresql://USER@HOST/DATABASE`. Not shown
            anywhere. Best `${env:NAME}`, which takes it from the environment; left out it
            is taken from the variable `DATABASE_URL`. Beyond this machine the server's
            certificate is checked unless it says `sslmode`.
        table: Name of the table; made if it is not there.
        schema: Schema of the table; the first of the search path if left out.
        key: Columns that tell rows apart, as `[symbol, ts_open]` for bars: the last row
            of a key takes the place of the others, but never one with a lower `revision`
            that of a higher one. The others are counted as `replaced` and `outdated`. A
            table that exists needs a unique index on them.
        mode: What to do with a table that exists: `create` refuses, `append` adds rows,
            `upsert` does the same and needs a `key`.
        columns: The columns to write, as a list, or as a mapping from their names to those
            in the table; all if left out.
        times: `timestamptz`, or `bigint` for nanoseconds since 1970, UTC.
        hypertable: Make a table that is not there a hypertable of TimescaleDB, by the
            event time.
        timeout: How long one statement may take.
    """

    dsn: SecretText = Secret("")
    table: str = "bars"
    schema: str | None = None
    key: tuple[str, ...] = ()
    mode: PostgresMode = "create"
    columns: tuple[str, ...] | Mapping[str, str] = ()
    times: Times = "timestamptz"
    hypertable: bool = False
    timeout: Duration = "60s"

    delivery: ClassVar[Delivery] = "exactly_once"

    def __post_init__(self) -> None:
        check_name(self.table, "table")
        if self.schema is not None:
            check_name(self.schema, "schema")
        if self.table == LEDGER:
            msg = f"`table` cannot be `{LEDGER}`, which holds the epochs; choose another name"
            raise ConfigError(msg, parameter="table")
        check_key(self.key)
        if self.mode == "upsert" and not self.key:
            msg = "`mode: upsert` needs a `key`: the columns that tell rows apart"
            raise ConfigError(msg, parameter="key")
        named = self._named()
        for name in named.values():
            check_name(name, "columns")
        if len(set(named.values())) < len(named) or len(named) < len(self.columns):
            msg = "`columns` must name each column once"
            raise ConfigError(msg, parameter="columns")
        if not 0 < duration_ns(self.timeout) < 2**31 * 1_000_000:
            msg = "`timeout` must be longer than nothing, and at most 24 days"
            raise ConfigError(msg, parameter="timeout")

    def _named(self) -> dict[str, str]:
        if isinstance(self.columns, Mapping):
            return dict(self.columns)
        return {name: name for name in self.columns}

    @property
    def name(self) -> TableName:
        """The table."""
        return TableName(self.table, self.schema)

    def check(self) -> None:
        """Look at the output before anything runs.

        A table of an earlier run with checkpoints is no hindrance here: whether it is the
        same job's is seen when it is opened.

        Raises:
            ConfigError: If there is no address of a database, or a wrong one.
            OutputExistsError: If the table exists and may not.
            OutputError: If the database cannot be reached.
            MissingDependencyError: If psycopg is not installed.
        """
        connection = self._connection()
        try:
            connection.transact(self._check, tries=1)
        finally:
            connection.close()

    def _check(self, connection: Any) -> None:
        table = PostgresTable(self.name, {}, (), self.mode)
        if self.mode == "create" and table.exists(connection):
            if PostgresTable(TableName(LEDGER, self.schema), {}, (), "append").exists(connection):
                return
            raise table.exists_already()

    def _connection(self) -> PostgresConnection:
        return PostgresConnection(
            self.dsn if isinstance(self.dsn, Secret) else Secret(self.dsn),
            place=f"table `{self.name}`",
            timeout_ms=max(1, duration_ns(self.timeout) // 1_000_000),
        )

    def layout(self, schema: Schema) -> tuple[PostgresTable, PostgresRows]:
        """Return the table for rows of a schema, and what puts them into it.

        Raises:
            SchemaError: If a column is not there, or cannot be kept.
        """
        named = self._named() or {name: name for name in schema.names}
        for name in named:
            if name not in schema:
                names = ", ".join(f"`{known}`" for known in schema.names)
                close = nearest(name, schema.names)
                msg = f"`columns` names `{name}`, which is not there{close} (columns: {names})"
                raise SchemaError(msg)
        check_key(self.key, schema)
        outside = [name for name in self.key if name not in named]
        if outside:
            msg = f"`key` names `{outside[0]}`, which is not among `columns`"
            raise SchemaError(msg)
        types = column_types(schema.only(named), self.times)
        table = PostgresTable(
            self.name,
            {there: types[here] for here, there in named.items()},
            tuple(named[name] for name in self.key),
            self.mode,
            named.get(schema.time) if self.hypertable else None,
        )
        return table, PostgresRows(table, schema, named, self.times)

    async def open(
        self, context: NodeContext, schema: Schema | None
    ) -> EpochedWriter | PostgresWriter:
        """Connect, and make the table if its columns are known.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If the table exists and may not.
            OutputError: If the database cannot be reached, or the table is another.
        """
        connection = self._connection()
        if context.job is None:
            writer = PostgresWriter(self.layout, connection, context, schema)
            await writer.begin()
            return writer
        ledger = PostgresLedger(self.name, context.job, context.node)
        output = PostgresEpochs(self.layout, ledger, connection, context.account, schema)
        epochs = EpochedWriter(output, context)
        await epochs.begin(output.begin)
        return epochs

    def read(self) -> pa.Table:
        """Return the table, in no certain order; times have nanoseconds and the zone UTC.

        Raises:
            OutputError: If there is no such table.
        """
        connection = self._connection()
        try:
            table: pa.Table = connection.transact(self._read)
        finally:
            connection.close()
        return table

    def _read(self, connection: Any) -> pa.Table:
        table = PostgresTable(self.name, {}, (), self.mode)
        if not table.exists(connection):
            msg = "there is no such table in the database"
            raise OutputError(msg, path=f"table `{self.name}`")
        types = table.types(connection)
        with connection.cursor(binary=True) as cursor:
            statement = load_psycopg().sql.SQL("SELECT * FROM {}").format(self.name.sql)
            rows = cursor.execute(statement).fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * len(types)
        fields = [pa.field(name, _arrow_type(kind)) for name, kind in types.items()]
        arrays = [
            pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _arrow_type(kind: str) -> pa.DataType:
    base, _, size = kind.partition("(")
    if base == "numeric":
        digits, _, scale = size.rstrip(")").partition(",")
        return pa.decimal128(int(digits), int(scale)) if size else _PLAIN_NUMERIC
    return _READ_TYPES.get(base, pa.string())
