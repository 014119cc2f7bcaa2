"""Bars into the table `bars_ohlcv` of market_data_store."""

from __future__ import annotations

__all__ = ("BarsStoreSink",)

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import pyarrow as pa
from pydantic import Field

from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.retrying import Backoff
from market_data_pipeline.adapters.store_bars import (
    StoreBar,
    StoreBars,
    StoredTime,
    check_bars,
)
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.dag.secret import Secret, SecretText
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.postgres_connection import (
    PostgresConnection,
    connection_settings,
    is_transient,
)
from market_data_pipeline.sink.postgres_sql import TableName, load_psycopg
from market_data_pipeline.sink.postgres_table import PostgresTable

_TABLE: Final = TableName("bars_ohlcv")
_PLACE: Final = f"table `{_TABLE}`"
_COLUMNS: Final = {
    **dict.fromkeys(("provider", "symbol", "interval"), "text"),
    "ts": "timestamptz",
    **dict.fromkeys(("open", "high", "low", "close", "volume"), "double precision"),
}
_KEY: Final = ("provider", "symbol", "interval", "ts")
_TIMEOUT_MS: Final = 60_000
_TRIES: Final = 8
_PENDING_ROWS: Final = 65_536


@component("market_data_store")
class BarsStoreSink:
    """Writes bars to the table `bars_ohlcv` of market_data_store, through its own client.

    A bar takes the place of the one with the same provider, symbol, interval and time.
    Symbols become upper case. Prices and volumes are floats there: all but the first 15 to
    17 digits are lost, so use the sink `postgres` where they must be exact.

    Backpressure: waits for each transaction. A server that cannot be reached is tried
    again, with growing delays, for about a quarter of a minute.

    Delivery: at least once, and twice does no harm. Rows are visible with the transaction
    they are written in, and stay if the run fails.

    Attributes:
        dsn: Where the database is, as `postgresql://USER@HOST/DATABASE`. Not shown
            anywhere. Best `${env:NAME}`; left out, the variable `DATABASE_URL` says it.
        provider: Who made the bars: the column `provider`.
        interval: The column `interval`; by default the length of each bar, as `1s` or `5min`.
        time: Which end of a bar is its time.
        create: Make the table where it is not there.
        hypertable: Make it a hypertable of TimescaleDB.
        batch_rows: Most rows in one transaction.
    """

    dsn: SecretText = Secret("")
    provider: str = "market_data_pipeline"
    interval: str | None = None
    time: StoredTime = "open"
    create: bool = False
    hypertable: bool = False
    batch_rows: int = Field(default=500, ge=1, le=100_000)

    delivery: ClassVar[Delivery] = "at_least_once"

    def check(self) -> None:
        """Look at the database before anything runs.

        Raises:
            ConfigError: If there is no address of a database, or a wrong one.
            OutputError: If it cannot be reached, or has no such table.
            MissingDependencyError: If market_data_store is not installed.
        """
        require_optional("datastore.writes", extra="store")
        self._transact(lambda connection: self._look(connection, make=False))

    async def open(self, context: NodeContext, schema: Schema | None) -> BarsStoreWriter:
        """Make the table where that is asked for.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            SchemaError: If the rows are no bars.
            OutputError: If the database cannot be reached, or the table is another.
        """
        if schema is not None:
            check_bars(schema)
        await in_thread(
            lambda: self._transact(lambda connection: self._look(connection, make=True))
        )
        return BarsStoreWriter(self, context)

    def read(self) -> pa.Table:
        """Return the bars of this provider, by symbol, interval and time.

        Raises:
            OutputError: If there is no such table.
        """

        def select(connection: Any) -> list[tuple[Any, ...]]:
            statement = (
                "SELECT provider, symbol, interval, ts, open, high, low, close, volume "
                "FROM bars_ohlcv WHERE provider = %s ORDER BY 2, 3, 4"
            )
            rows: list[tuple[Any, ...]] = connection.execute(
                statement, (self.provider,)
            ).fetchall()
            return rows

        rows = self._transact(select)
        columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
        types = {"text": pa.string(), "timestamptz": pa.timestamp("us", "UTC")}
        schema = pa.schema([(n, types.get(k, pa.float64())) for n, k in _COLUMNS.items()])
        return pa.table(
            [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema
        )

    def _transact(self, work: Any) -> Any:
        secret = self.dsn if isinstance(self.dsn, Secret) else Secret(self.dsn)
        connection = PostgresConnection(secret, place=_PLACE, timeout_ms=_TIMEOUT_MS)
        try:
            return connection.transact(work, tries=1)
        finally:
            connection.close()

    def _look(self, connection: Any, *, make: bool) -> None:
        table = PostgresTable(_TABLE, _COLUMNS, _KEY, "append", "ts" if self.hypertable else None)
        if not table.exists(connection) and not self.create:
            msg = "there is no such table in the database; set `create: true` to make it"
            raise OutputError(msg, path=_PLACE)
        if table.exists(connection) or make:
            table.prepare(connection, is_own=True)


class BarsStoreWriter:
    """Writes bars through a client, and takes another one after any failure.

    After an error the client's connection takes nothing any more. More rows than
    `batch_threshold` it would copy, and fails at the second copy of a transaction.
    """

    def __init__(self, sink: BarsStoreSink, context: NodeContext) -> None:
        psycopg = load_psycopg()
        secret = sink.dsn if isinstance(sink.dsn, Secret) else Secret(sink.dsn)
        self._address: str = psycopg.conninfo.make_conninfo(**connection_settings(secret))
        self._psycopg = psycopg
        self._rows = sink.batch_rows
        self._bars = StoreBars(sink.provider, sink.interval, sink.time)
        self._account = context.account
        self._clock = context.clock
        self._client: Any = None
        self._commit_s: float | None = None

    async def write(self, batch: Batch) -> None:
        """Write bars; return once they are there.

        Raises:
            SchemaError: If the rows are no bars.
            OutputError: If the server refuses them, or cannot be reached.
        """
        account = self._account
        account.held += len(batch)
        for piece in _cut(batch, self._rows):
            records, replaced, priceless = self._bars.records(piece)
            if records:
                await self._written(records)
            account.held -= len(piece)
            account.rows_out += len(records)
            account.add("replaced", replaced)
            account.add("rejected", priceless)

    async def finish(self) -> None:
        """Close the client; everything is written."""
        await self._close()

    async def abort(self) -> None:
        """Close the client; what was written stays."""
        await self._close()

    def pressure(self) -> Pressure:
        """Return how many rows wait for their transaction, and how long the last one took."""
        return Pressure(self._account.held, _PENDING_ROWS, self._commit_s)

    async def _written(self, records: Sequence[StoreBar]) -> None:
        backoff = Backoff(0.1, 5.0)
        for done in range(1, _TRIES + 1):
            began_s = self._clock.monotonic()
            try:
                client = await self._opened()
                await client.write_bars(records, batch_size=self._rows)
            except self._psycopg.Error as err:
                await self._close()
                if done == _TRIES or not is_transient(err):
                    raise _output_error(err, done) from err
            else:
                self._commit_s = self._clock.monotonic() - began_s
                return
            await self._clock.sleep(backoff.next_s())

    async def _opened(self) -> Any:
        if self._client is None:
            writes: Any = require_optional("datastore.writes", extra="store")
            client = writes.AsyncStoreClient(self._address, batch_threshold=self._rows + 1)
            self._client = await client.__aenter__()
        return self._client

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(self._psycopg.Error):
                await client.__aexit__(None, None, None)


def _cut(batch: Batch, rows: int) -> Iterator[Batch]:
    for at in range(0, len(batch), rows):
        yield batch.slice(at, min(at + rows, len(batch)))


def _output_error(err: Any, tries: int) -> OutputError:
    # What the server says of itself; the text of a failed connection may quote the address.
    said = err.diag.message_primary or type(err).__name__
    state = f"; SQLSTATE {err.sqlstate}" if err.sqlstate else ""
    more = f"; after {tries} tries" if tries > 1 else ""
    return OutputError(f"PostgreSQL: {said}{state}{more}", path=_PLACE)
