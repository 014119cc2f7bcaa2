"""What code written for version 0.8 relies on of `StoreSink` and `DatabaseSink`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import AsyncMock

import pytest

from market_data_pipeline.context import PipelineContext
from market_data_pipeline.sink.capabilities import SinkCapabilities, SinkHealth
from market_data_pipeline.sink.database import DatabaseSink, DatabaseSinkSettings
from market_data_pipeline.sink.store import StoreSink
from market_data_pipeline.types import Bar
from support.in_loop import in_loop

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def bar(price: str = "1.0", *, second: int = 0, symbol: str = "SPY") -> Bar:
    value = Decimal(price)
    time = NOON + timedelta(seconds=second)
    return Bar(symbol, time, value, value, value, value, Decimal(10), trade_count=3)


class PlainProcessor:
    """Records what it is given; has no `close`."""

    def __init__(self) -> None:
        self.writes: list[list[dict[str, Any]]] = []

    def upsert_bars(self, rows: list[dict[str, Any]]) -> int:
        self.writes.append(rows)
        return len(rows)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for rows in self.writes for row in rows]


class AsyncProcessor(PlainProcessor):
    async def upsert_bars(self, rows: list[dict[str, Any]]) -> int:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().upsert_bars(rows)


class Upsert:
    """An asynchronous callable that `inspect.iscoroutinefunction` does not know."""

    def __init__(self, *errors: Exception) -> None:
        self.calls: list[Any] = []
        self._errors = list(errors)

    async def __call__(self, records: Any) -> int:
        self.calls.append(records)
        if self._errors:
            raise self._errors.pop(0)
        return 1


def processor(*errors: Exception) -> Any:
    mock = AsyncMock()
    mock.upsert_bars = Upsert(*errors)
    return mock


def database(settings: DatabaseSinkSettings | None = None, **given: Any) -> DatabaseSink:
    chosen = settings or DatabaseSinkSettings(workers=1)
    return DatabaseSink(tenant_id="t", settings=chosen, **given)


@pytest.mark.parametrize("make", [PlainProcessor, AsyncProcessor])
@in_loop
async def test_store_sink_writes_all_rows_by_the_time_it_is_closed(make: Any) -> None:
    """A processor may be plain or asynchronous, and may have no `close`."""
    store = make()
    sink = StoreSink(store, workers=1, queue_max=10, ctx=PipelineContext("t", "p"))
    await sink.start()
    await sink.write([bar("1.0"), bar("2.0", second=1)])
    await sink.write([bar("3.0", second=2)])
    await sink.flush()
    await sink.close(drain=True)
    assert sink.batch_processor is store
    assert [row["open"] for row in store.rows] == [1.0, 2.0, 3.0]
    assert all(type(row["open"]) is float for row in store.rows)
    assert store.rows[0]["idempotency_key"] == f"t:p:SPY:{NOON}"
    assert "vwap" not in store.rows[0]
    assert store.rows[0]["trade_count"] == 3


@pytest.mark.parametrize("policy", ["drop_oldest", "oldest"])
@in_loop
async def test_store_sink_keeps_the_newest_batch(policy: str) -> None:
    """Of two batches for one place the later one is written."""
    store = PlainProcessor()
    sink = StoreSink(store, workers=1, queue_max=1, backpressure_policy=policy, ctx=None)
    await sink.start()
    await sink.write([bar("1.0")])
    await sink.write([bar("2.0")])
    await sink.close(drain=True)
    assert store.rows[-1]["open"] == 2.0


def test_settings_of_the_database_sink_have_their_defaults() -> None:
    """They are mutable, and equal where their values are."""
    settings = DatabaseSinkSettings()
    assert (settings.vendor, settings.timeframe) == ("market_data_pipeline", "1s")
    assert (settings.workers, settings.queue_max) == (2, 200)
    assert settings.backpressure_policy == "block"
    assert (settings.retry_max_attempts, settings.retry_backoff_ms) == (5, 50)
    settings.workers = 3
    assert settings != DatabaseSinkSettings()


def test_database_sink_starts_out_with_nothing() -> None:
    """It is made without a loop and without a client."""
    settings = DatabaseSinkSettings()
    sink = DatabaseSink(tenant_id="t", settings=settings)
    assert (sink.tenant_id, sink.settings, sink.ctx) == ("t", settings, None)
    assert sink._processor is None
    assert sink._queue is None
    assert sink._workers == []
    assert sink._closed is False
    assert sink.capabilities == SinkCapabilities.BATCH_WRITES
    names = ("batches_in", "batches_written", "batches_failed", "items_written", "retries")
    assert [sink.get_metrics()[name] for name in names] == [0] * 5


def test_database_sink_needs_a_tenant() -> None:
    """An empty one is refused."""
    with pytest.raises(ValueError, match="tenant_id is required"):
        DatabaseSink(tenant_id="")


@pytest.mark.parametrize("drain", [True, False])
@in_loop
async def test_workers_run_between_start_and_close(drain: bool) -> None:
    """There are as many as the settings say, and none is left."""
    sink = database(processor=processor())
    await sink.start()
    assert sink._queue is not None
    assert len(sink._workers) == 1
    assert bool(sink._closed) is False
    workers = sink._workers
    await sink.close(drain=drain)
    assert all(worker.done() or worker.cancelled() for worker in workers)
    assert sink._closed
    await sink.close(drain=drain)


@in_loop
async def test_write_to_a_closed_sink_is_refused() -> None:
    """Also where somebody only said that it is closed."""
    sink = database(processor=processor())
    await sink.start()
    sink._closed = True
    with pytest.raises(RuntimeError, match="DatabaseSink is closed"):
        await sink.write([bar()])
    sink._closed = False
    await sink.write([])
    await sink.close()
    assert sink.get_metrics()["batches_in"] == 0


@in_loop
async def test_batch_is_written_once() -> None:
    """What is counted are the records sent, not what the processor returned."""
    mock = processor()
    sink = database(processor=mock)
    await sink.start()
    await sink.write([bar("1.0"), bar("2.0", second=1)])
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await sink.flush()
    counts = sink.get_metrics()
    assert len(mock.upsert_bars.calls) == 1
    assert (counts["batches_in"], counts["batches_written"], counts["items_written"]) == (1, 1, 2)
    await sink.close()


@in_loop
async def test_transient_error_is_tried_again() -> None:
    """With the backoff of the settings it takes less than a second."""
    mock = processor(Exception("Connection timeout"))
    sink = database()
    sink._processor = mock
    await sink.start()
    await sink.write([bar()])
    async with asyncio.timeout(1):
        await sink.flush()
    counts = sink.get_metrics()
    assert len(mock.upsert_bars.calls) == 2
    assert (counts["retries"], counts["batches_written"]) == (1, 1)
    await sink.close()


@in_loop
async def test_newest_batch_is_dropped_where_there_is_no_room() -> None:
    """Nothing runs between two writes, so the second finds the one place taken."""
    chosen = DatabaseSinkSettings(workers=1, queue_max=1, backpressure_policy="drop_newest")
    sink = database(chosen, processor=processor())
    await sink.start()
    await sink.write([bar("1.0")])
    await sink.write([bar("2.0")])
    await sink.flush()
    counts = sink.get_metrics()
    assert (counts["batches_in"], counts["batches_written"]) == (2, 1)
    assert counts["batches_dropped"] == 1
    await sink.close()


@in_loop
async def test_oldest_batch_is_dropped_where_there_is_no_room() -> None:
    """The later one is written."""
    chosen = DatabaseSinkSettings(workers=1, queue_max=1, backpressure_policy="drop_oldest")
    mock = processor()
    sink = database(chosen, processor=mock)
    await sink.start()
    await sink.write([bar("1.0")])
    await sink.write([bar("2.0")])
    await sink.flush()
    assert sink.get_metrics()["batches_in"] == 2
    assert mock.upsert_bars.calls[-1][0]["open_price"] == 2.0
    await sink.close()


def test_records_have_the_columns_of_the_table() -> None:
    """A fractional volume stays whole, a time without zone is UTC."""
    metadata = {"venue": "X"}
    naive = datetime(2024, 1, 2)  # noqa: DTZ001
    value = Decimal("1.5")
    given = Bar("SPY", naive, value, value, value, value, Decimal("0.25"), metadata=metadata)
    [record] = list(database()._to_records([given]))
    assert record == {
        "tenant_id": "t",
        "vendor": "market_data_pipeline",
        "symbol": "SPY",
        "timeframe": "1s",
        "ts": naive.replace(tzinfo=UTC),
        "open_price": 1.5,
        "high_price": 1.5,
        "low_price": 1.5,
        "close_price": 1.5,
        "volume": 0.25,
        "trade_count": None,
        "vwap": None,
        "metadata": metadata,
    }
    assert next(iter(database()._to_records([bar()])))["metadata"] == {}


@pytest.mark.parametrize(
    "text",
    ["Connection timeout", "Temporarily unavailable", "Deadlock detected", "Connection reset"],
)
def test_text_of_a_transient_error_is_known(text: str) -> None:
    """Where there is nothing but a text."""
    assert DatabaseSink._is_transient(Exception(text)) is True


@pytest.mark.parametrize("text", ["Invalid data", "Permission denied", "Syntax error"])
def test_text_of_a_permanent_error_is_known(text: str) -> None:
    """Where there is nothing but a text."""
    assert DatabaseSink._is_transient(Exception(text)) is False


@in_loop
async def test_commit_and_process_can_be_called_by_themselves() -> None:
    """Without workers as well."""
    mock = processor()
    sink = database(DatabaseSinkSettings(workers=0), processor=mock)
    await sink.start()
    assert await sink._commit([bar()]) == 1
    await sink._process_with_retry([bar()], 0)
    assert sink.get_metrics()["batches_written"] == 1
    assert len(mock.upsert_bars.calls) == 2
    await sink.close()


@pytest.mark.parametrize("batches", [1, 2])
@in_loop
async def test_no_workers_neither_hang_nor_fail(batches: int) -> None:
    """Whoever writes where there is no room, or closes, does the work."""
    mock = processor()
    sink = database(DatabaseSinkSettings(workers=0, queue_max=1), processor=mock)
    await sink.start()
    async with asyncio.timeout(1):
        for second in range(batches):
            await sink.write([bar(second=second)])
        await sink.close()
    assert len(mock.upsert_bars.calls) == batches


@in_loop
async def test_closing_right_after_the_start_is_fine() -> None:
    """Twice, too."""
    sink = database(processor=processor())
    await sink.start()
    await sink.close()
    await sink.close()


@in_loop
async def test_health_is_told() -> None:
    """Before the start a sink is not connected."""
    sink = database(processor=processor())
    assert await sink.health() == SinkHealth(connected=False)
    await sink.start()
    await sink.write([bar()])
    assert (await sink.health()).queue_depth == 1
    await sink.flush()
    health = await sink.health()
    assert health.connected
    assert health.last_commit_at is not None
    await sink.close()
