"""Bars in PostgreSQL through the clients of market_data_store, as a plain role."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.adapters.bars_store import BarsStoreSink
from market_data_pipeline.adapters.sink_adapter import StoreSinkAdapter
from market_data_pipeline.adapters.store_bars import StoreBar, tenant_bars
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import PressureWriter
from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.errors import ConfigError, NodeError, OutputError, SchemaError
from market_data_pipeline.flow import Dag
from market_data_pipeline.records import BAR, OP, UNDEFINED
from market_data_pipeline.running import run
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.symbols import SymbolTable
from support.optional_packages import real_package
from support.postgres import Database, PostgresServer, postgres_server

SECOND = 10**9
UNIT = 10**9
START = 1_715_002_200 * SECOND
FIGURES = ("open", "high", "low", "close", "volume")
SCHEMA = BAR.only(["symbol", "ts_open", "ts_close", *FIGURES])
TENANT = "6f3c0e9e-6f0a-4c3e-9c2e-0b6f3b0d4a11"
SYMBOLS = SymbolTable()


@pytest.fixture(autouse=True)
def real_store() -> None:
    """These tests are about the package itself."""
    real_package("market_data_store", "store")


def bars(rows: int, *, symbol: str = "aapl", close: int = 7, at: int = 0, **more: Any) -> Batch:
    """Return one bar a second."""
    opens = START + (at + np.arange(rows, dtype=np.int64)) * SECOND
    columns: dict[str, Any] = {
        "symbol": SYMBOLS.encode([symbol] * rows),
        "ts_open": opens,
        "ts_close": opens + SECOND,
        **{name: np.full(rows, 5 * UNIT, np.int64) for name in FIGURES},
        **more,
    }
    columns["close"] = np.full(rows, close * UNIT, np.int64)
    return Batch(SCHEMA, columns, SYMBOLS)


def sink_of(database: Database, **settings: Any) -> BarsStoreSink:
    return BarsStoreSink(Secret(database.dsn), **{"create": True, **settings})


def write(sink: BarsStoreSink, batches: Sequence[Batch]) -> Account:
    account = Account("store")

    async def main() -> None:
        writer = await sink.open(NodeContext("store", account=account), SCHEMA)
        assert isinstance(writer, PressureWriter)
        for batch in batches:
            await writer.write(batch)
        assert writer.pressure().commit_s is not None
        await writer.finish()

    asyncio.run(main())
    return account


def test_bars_of_a_graph_are_in_the_table(postgres_database: Database) -> None:
    """Made on request by a role that may make tables and nothing else; read back as written."""
    sink = sink_of(postgres_database, provider="synthetic")
    dag = Dag("to-store")
    made = dag.source(SyntheticSource(rows=20_000, symbols=("aa", "bb"), duplicates=0)).bars("1s")
    made.sink(sink, name="store")
    made.collect(name="kept")
    result = run(dag)
    kept = result.to_arrow("kept").sort_by([("symbol", "ascending"), ("ts_open", "ascending")])
    stored = result.to_arrow("store")
    assert len(stored) == result.ledger["store"].rows_out == len(kept) > 30
    assert stored["symbol"].to_pylist() == [name.upper() for name in kept["symbol"].to_pylist()]
    assert stored["close"].to_pylist() == kept["close"].to_pylist()
    assert stored["volume"].to_pylist() == kept["volume"].to_pylist()
    assert set(stored["interval"].to_pylist()) == {"1s"}


def test_second_run_changes_nothing(postgres_database: Database) -> None:
    """A bar is told by provider, symbol, interval and time; the last one stands."""
    sink = sink_of(postgres_database, provider="us")
    write(sink, [bars(10)])
    write(sink, [bars(10, close=6)])
    assert postgres_database.rows(
        "SELECT symbol, count(*), min(close), max(close) FROM bars_ohlcv GROUP BY 1"
    ) == [("AAPL", 10, 6.0, 6.0)]


@pytest.mark.parametrize("rows", [1, 7, 500, 501, 2500])
def test_any_number_of_rows_is_written(rows: int, postgres_database: Database) -> None:
    """Also those at which the client itself would begin to copy, and fail."""
    account = write(sink_of(postgres_database, batch_rows=500), [bars(rows)])
    assert postgres_database.rows("SELECT count(*) FROM bars_ohlcv") == [(rows,)]
    assert (account.rows_out, account.held) == (rows, 0)


def test_rows_of_one_key_are_one_row_and_the_rest_is_counted(postgres_database: Database) -> None:
    """The last one stands; symbols that differ in case are one."""
    batch = Batch.concat([bars(3), bars(3, symbol="AAPL", close=8)])
    account = write(sink_of(postgres_database), [batch])
    assert account.reasons == {"replaced": 3}
    assert postgres_database.rows("SELECT count(*), min(close) FROM bars_ohlcv") == [(3, 8.0)]


def test_bar_without_a_price_is_rejected_and_counted(postgres_database: Database) -> None:
    """The table takes none."""
    account = write(sink_of(postgres_database), [bars(2, open=np.array([UNDEFINED, UNIT]))])
    assert account.reasons == {"rejected": 1}
    assert account.rows_out == 1


def test_time_is_the_end_of_the_bar_where_that_is_asked_for(postgres_database: Database) -> None:
    """As market_data_core counts; and the interval may be given."""
    write(sink_of(postgres_database, time="close", interval="1sec"), [bars(1)])
    at = datetime.fromtimestamp(START / SECOND + 1, UTC)
    assert postgres_database.rows("SELECT ts, interval FROM bars_ohlcv") == [(at, "1sec")]


def test_table_is_only_made_on_request(postgres_database: Database) -> None:
    """Whoever has migrations does not want another table."""
    sink = sink_of(postgres_database, create=False)
    with pytest.raises(OutputError, match=r"no such table.*`create: true`"):
        sink.check()
    with pytest.raises(OutputError, match="no TimescaleDB in the database"):
        write(sink_of(postgres_database, hypertable=True), [])
    assert postgres_database.rows("SELECT to_regclass('bars_ohlcv')") == [(None,)]


def test_table_of_other_columns_is_refused(postgres_database: Database) -> None:
    """Before anything is written."""
    postgres_database.rows("CREATE TABLE bars_ohlcv (provider text, symbol text)")
    with pytest.raises(OutputError, match="column `interval` is missing in the table"):
        sink_of(postgres_database).check()


def test_rows_that_are_no_bars_are_refused(postgres_database: Database) -> None:
    """By the name of what is missing; and bars that are taken back."""
    dag = Dag("wrong")
    dag.source(SyntheticSource(rows=10)).sink(sink_of(postgres_database))
    with pytest.raises((NodeError, SchemaError), match="these rows have no `ts_open`"):
        run(dag)
    back = bars(1).with_columns([OP], {"op": np.array([-1])})
    with pytest.raises(SchemaError, match="cannot take bars back"):
        write(sink_of(postgres_database), [back])


def test_server_that_comes_back_has_every_row() -> None:
    """The client is useless after an error; another one takes its place."""
    with postgres_server() as server:
        database = server.database()
        sink = sink_of(database)
        account = Account("store")

        async def main() -> None:
            writer = await sink.open(NodeContext("store", account=account), SCHEMA)
            await writer.write(bars(10))
            await asyncio.to_thread(restart, server)
            await writer.write(bars(10, at=10))
            await writer.finish()

        asyncio.run(main())
        assert database.rows("SELECT count(*) FROM bars_ohlcv") == [(20,)]
        assert (account.rows_out, account.held) == (20, 0)


def restart(server: PostgresServer) -> None:
    server.restart("immediate")


def test_refusal_of_the_server_is_an_error_that_keeps_the_password(
    postgres_database: Database,
) -> None:
    """Neither the error nor the settings show it."""
    sink = sink_of(postgres_database)
    write(sink, [bars(1)])
    postgres_database.rows("ALTER TABLE bars_ohlcv ADD CHECK (close < 5)  NOT VALID")
    dag = Dag("refused")
    dag.source(MemorySource([bars(1, at=50)])).sink(sink, name="store")
    with pytest.raises(NodeError, match=r"violates check constraint.*SQLSTATE 23514") as caught:
        run(dag)
    assert postgres_database.password not in f"{caught.value!r}{caught.value.__cause__!r}{sink!r}"


def test_address_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the sink `postgres`."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="is not set"):
        BarsStoreSink().check()


def tenant_table(database: Database) -> None:
    """Make the table of tenants as far as its client writes it, with the rows of each apart."""
    database.rows(
        "CREATE TABLE bars (id text, tenant_id uuid, vendor text, symbol text, timeframe text, "
        "ts timestamptz, open_price numeric(20, 8), high_price numeric(20, 8), "
        "low_price numeric(20, 8), close_price numeric(20, 8), volume bigint, "
        "PRIMARY KEY (ts, tenant_id, vendor, symbol, timeframe))"
    )
    database.rows("ALTER TABLE bars ENABLE ROW LEVEL SECURITY")
    database.rows(
        "CREATE POLICY own ON bars USING "
        "(tenant_id = current_setting('app.tenant_id', true)::uuid)"
    )
    database.rows("GRANT ALL ON bars TO loader")


def test_bars_sink_of_the_store_writes_for_its_tenant(postgres_database: Database) -> None:
    """Through our coordinator, as a role that row-level security holds for."""
    from market_data_store.sinks import BarsSink
    from mds_client import AMDS

    tenant_table(postgres_database)
    # What the client itself makes of a tenant, libpq refuses.
    dsn = f"{postgres_database.dsn}?options=-c%20app.tenant_id%3D{TENANT}"
    account = Account("store")

    async def main() -> None:
        client = AMDS({"dsn": dsn, "tenant_id": TENANT, "pool_max": 4})
        await client.aopen()
        try:
            adapter = StoreSinkAdapter.from_sink(
                BarsSink(client),
                convert=tenant_bars(tenant_id=TENANT, vendor="us"),
                coord_id="tenant",
            )
            writer = await adapter.open(NodeContext("store", account=account), SCHEMA)
            await writer.write(bars(10))
            await writer.finish()
        finally:
            await client.aclose()

    asyncio.run(main())
    assert account.rows_out == 10
    assert postgres_database.rows("SELECT symbol, count(*) FROM bars GROUP BY 1") == [("AAPL", 10)]


@pytest.mark.xfail(strict=True, reason="a second copy in one call meets the table of the first")
def test_canary_client_copies_more_than_once(postgres_database: Database) -> None:
    """Passes once market_data_store is mended; then larger transactions may copy."""
    from datastore.writes import AsyncStoreClient

    write(sink_of(postgres_database), [bars(1)])
    at = datetime(2024, 5, 6, tzinfo=UTC)
    records: list[Any] = [
        StoreBar("us", f"S{n}", "1s", at, 1.0, 1.0, 1.0, 1.0, 1.0) for n in range(25)
    ]

    async def main() -> None:
        async with AsyncStoreClient(postgres_database.dsn, batch_threshold=10) as client:
            await client.write_bars(records, batch_size=10)

    asyncio.run(main())
