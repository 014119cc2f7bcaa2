"""Bars in a real PostgreSQL: exact, once per key, also where the server fails."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from market_data_pipeline.errors import ConfigError, SinkError
from market_data_pipeline.sink.database import DatabaseSink, DatabaseSinkSettings
from market_data_pipeline.sink.postgres_bars import PostgresBars
from market_data_pipeline.sink.write_queue import DeadBatch
from market_data_pipeline.types import Bar
from support.in_loop import in_loop
from support.postgres import Database, PostgresServer, postgres_server

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
_STORE_LAYOUT = (
    "CREATE TABLE bars (tenant_id text, vendor text, symbol text, timeframe text, "
    "ts timestamptz, open_price numeric(20,8), high_price numeric(20,8), "
    "low_price numeric(20,8), close_price numeric(20,8), volume bigint, "
    "PRIMARY KEY (ts, tenant_id, vendor, symbol, timeframe))"
)


def bar(second: int, price: str = "100.5", volume: str = "10", **extra: Any) -> Bar:
    value = Decimal(price)
    time = NOON + timedelta(seconds=second)
    return Bar("SPY", time, value, value, value, value, Decimal(volume), **extra)


def sink(database: Database, **given: Any) -> DatabaseSink:
    settings = DatabaseSinkSettings(**{"workers": 2, "retry_backoff_ms": 10, **given})
    return DatabaseSink(tenant_id="t1", settings=settings, database_url=database.dsn)


async def written(sink: DatabaseSink, *batches: list[Bar]) -> None:
    await sink.start()
    for batch in batches:
        await sink.write(batch)
    await sink.close()


def test_bars_are_exact_and_the_last_of_a_key_holds(postgres_database: Database) -> None:
    """All digits survive; a bar written again takes the place of the first."""
    exact = "0.123456789012345678901234567890"
    batches = [
        [bar(0, "1"), bar(0, exact, "0.000000001", vwap=Decimal(exact), trade_count=7)],
        [bar(1, metadata={"venue": "X"})],
        [bar(1, "2.50")],
    ]
    asyncio.run(written(sink(postgres_database), *batches))
    rows = postgres_database.rows(
        "SELECT ts, open_price::text, volume::text, vwap::text, trade_count, metadata, vendor "
        "FROM bars ORDER BY ts"
    )
    assert rows == [
        (NOON, exact, "0.000000001", exact, 7, {}, "market_data_pipeline"),
        (NOON + timedelta(seconds=1), "2.50", "10", None, None, {}, "market_data_pipeline"),
    ]


def test_many_batches_of_one_key_end_with_the_last(postgres_database: Database) -> None:
    """Workers do not overtake each other where rows are the same."""
    batches = [[bar(at % 3, str(at))] for at in range(60)]
    asyncio.run(written(sink(postgres_database, workers=4), *batches))
    rows = postgres_database.rows("SELECT open_price FROM bars ORDER BY ts")
    assert [int(price) for (price,) in rows] == [57, 58, 59]


def test_metadata_is_kept(postgres_database: Database) -> None:
    """As JSON."""
    asyncio.run(written(sink(postgres_database), [bar(0, metadata={"n": 1})]))
    [(found,)] = postgres_database.rows("SELECT metadata::text FROM bars")
    assert json.loads(found) == {"n": 1}


def test_table_of_the_store_is_used_as_it_is(
    postgres_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Columns that it has not are left out, which is said."""
    postgres_database.rows(_STORE_LAYOUT)
    postgres_database.rows("ALTER TABLE bars OWNER TO loader")
    asyncio.run(written(sink(postgres_database), [bar(0, trade_count=3)]))
    assert postgres_database.rows("SELECT volume FROM bars") == [(10,)]
    assert "no column for trade_count, vwap, metadata" in caplog.text


@pytest.mark.parametrize(("price", "volume"), [("1.123456789", "10"), ("1", "0.5")])
def test_value_that_a_table_would_round_is_refused(
    postgres_database: Database, price: str, volume: str
) -> None:
    """The server would say nothing; the way out is said."""
    postgres_database.rows(_STORE_LAYOUT)
    postgres_database.rows("ALTER TABLE bars OWNER TO loader")
    with pytest.raises(SinkError, match=r"would round .*ALTER TABLE bars ALTER COLUMN"):
        asyncio.run(written(sink(postgres_database), [bar(0, price, volume)]))
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(0,)]


def test_table_of_floats_is_refused(postgres_database: Database) -> None:
    """It cannot hold a price."""
    postgres_database.rows(_STORE_LAYOUT.replace("numeric(20,8)", "double precision"))
    postgres_database.rows("ALTER TABLE bars OWNER TO loader")
    with pytest.raises(SinkError, match="double precision, which rounds"):
        asyncio.run(written(sink(postgres_database), [bar(0)]))


def test_rows_are_written_where_tenants_are_told_apart(postgres_database: Database) -> None:
    """A policy on `app.tenant_id` lets rows of the sink's own tenant in."""
    postgres_database.rows(_STORE_LAYOUT)
    for statement in (
        "ALTER TABLE bars OWNER TO loader",
        "ALTER TABLE bars ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE bars FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON bars USING (tenant_id = current_setting('app.tenant_id'))",
    ):
        postgres_database.rows(statement)
    asyncio.run(written(sink(postgres_database), [bar(0)]))
    assert postgres_database.rows("SELECT tenant_id FROM bars") == [("t1",)]


def test_sinks_that_start_at_once_make_one_table(postgres_database: Database) -> None:
    """None of them fails."""

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for second in range(6):
                group.create_task(written(sink(postgres_database), [bar(second)]))

    asyncio.run(together())
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(6,)]


@in_loop
async def test_backend_that_is_killed_costs_no_row(postgres_database: Database) -> None:
    """The next attempt uses another connection."""
    store = sink(postgres_database, workers=1)
    await store.start()
    await store.write([bar(0)])
    await store.flush()
    await asyncio.to_thread(
        postgres_database.rows,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'market_data_pipeline' AND datname = current_database()",
    )
    await store.write([bar(1)])
    await store.close()
    assert store.counters.retries >= 1
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(2,)]
    left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    assert postgres_database.rows(f"{left} pg_backend_pid()") == [(0,)]


def test_server_that_is_restarted_costs_no_row() -> None:
    """Batches wait for it, and are written once it is back."""
    with postgres_server() as server:
        database = server.database()

        async def across_a_crash() -> DatabaseSink:
            store = sink(database, retry_max_attempts=12, retry_backoff_ms=20)
            await store.start()
            for second in range(5):
                await store.write([bar(second)])
            await store.flush()
            crash = asyncio.create_task(asyncio.to_thread(server.restart, "immediate"))
            for second in range(5, 10):
                await store.write([bar(second)])
            await crash
            await store.close()
            return store

        store = asyncio.run(across_a_crash())
        assert database.rows("SELECT count(*) FROM bars") == [(10,)]
        assert store.counters.batches_written == 10


def test_server_that_is_not_there_is_told(postgres_server: PostgresServer) -> None:
    """After the last attempt, by `close`; the password is in no message."""
    url = "postgresql://loader:hunter2@127.0.0.1:1/none"
    store = DatabaseSink(
        tenant_id="t",
        settings=DatabaseSinkSettings(retry_max_attempts=2, retry_backoff_ms=1),
        database_url=url,
    )
    with pytest.raises(SinkError, match="1 batch could not be written") as caught:
        asyncio.run(written(store, [bar(0)]))
    assert store.counters.retries == 1
    told = f"{caught.value} {caught.value.__cause__} {store!r} {store.get_metrics()}"
    assert "hunter2" not in told


def test_dead_letters_have_what_the_database_refuses(postgres_database: Database) -> None:
    """Nobody else is told, and the rest is written."""
    dead: list[DeadBatch] = []
    store = DatabaseSink(
        tenant_id="t", database_url=postgres_database.dsn, dead_letters=dead.append
    )
    bad = bar(1, metadata={"text": "a\0b"})
    asyncio.run(written(store, [bar(0)], [bad], [bar(2)]))
    assert [letter.items for letter in dead] == [[bad]]
    assert dead[0].attempts == 1
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(2,)]
    assert store.get_metrics()["dead_lettered"] == 1


def test_url_that_is_none_is_refused_without_being_shown() -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError, match="`database_url` is no address") as caught:
        PostgresBars("post gres://u:hunter2")
    assert "hunter2" not in str(caught.value)


def test_url_may_name_a_driver(postgres_database: Database) -> None:
    """As other libraries write it."""
    url = postgres_database.dsn.replace("postgresql://", "postgresql+psycopg://")
    store = DatabaseSink(tenant_id="t", database_url=url)
    asyncio.run(written(store, [bar(0)]))
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(1,)]


def test_database_comes_from_the_environment(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it is said what to give."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match="`DATABASE_URL`"):
        asyncio.run(written(DatabaseSink(tenant_id="t"), [bar(0)]))
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    asyncio.run(written(DatabaseSink(tenant_id="t"), [bar(0)]))
    assert postgres_database.rows("SELECT count(*) FROM bars") == [(1,)]
