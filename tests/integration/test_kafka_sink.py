"""Bars through a broker that lives in Kafka's own client library."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from market_data_pipeline.errors import ConfigError, MissingDependencyError, SinkError
from market_data_pipeline.sink.bar_objects import bar_json
from market_data_pipeline.sink.kafka import KafkaSink
from market_data_pipeline.sink.retry import RetryPolicy
from market_data_pipeline.sink.write_queue import DeadBatch
from market_data_pipeline.types import Bar
from support.in_loop import in_loop
from support.services import require

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)

try:
    import confluent_kafka
except ImportError:
    confluent_kafka = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _client() -> None:
    require(confluent_kafka is not None, "confluent-kafka is not installed (the extra `kafka`)")


def bar(second: int, symbol: str = "SPY", **extra: Any) -> Bar:
    price = Decimal("100.10")
    time = NOON + timedelta(seconds=second)
    return Bar(symbol, time, price, price, price, price, Decimal("0.5"), **extra)


def mock_sink(**given: Any) -> KafkaSink:
    config = {"test.mock.num.brokers": 1, **given.pop("config", {})}
    return KafkaSink("127.0.0.1:1", "bars", config=config, **given)


def received(sink: KafkaSink, count: int) -> list[tuple[bytes | None, Any]]:
    """Read the topic from its beginning; the brokers live as long as the sink."""
    [broker] = sink._producer.list_topics(timeout=5).brokers.values()
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": f"{broker.host}:{broker.port}",
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    found: list[tuple[bytes | None, Any]] = []
    try:
        consumer.subscribe(["bars"])
        for _ in range(200):
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                found.append((message.key(), json.loads(message.value() or b"")))
            if len(found) >= count:
                break
    finally:
        consumer.close()
    return found


@in_loop
async def test_bars_arrive_exactly() -> None:
    """By symbol, with prices as text."""
    sink = mock_sink()
    await sink.start()
    await sink.write([bar(0, vwap=Decimal("100.123456789")), bar(1, "QQQ", trade_count=3)])
    await sink.flush()
    assert sink.get_metrics()["items_written"] == 2
    found = dict(await asyncio.to_thread(received, sink, 2))
    await sink.close()
    assert set(found) == {b"SPY", b"QQQ"}
    assert found[b"SPY"] == {
        "symbol": "SPY",
        "timestamp": "2024-01-02T12:00:00+00:00",
        "open": "100.10",
        "high": "100.10",
        "low": "100.10",
        "close": "100.10",
        "volume": "0.5",
        "vwap": "100.123456789",
        "trade_count": None,
        "source": "unknown",
        "metadata": {},
    }


@in_loop
async def test_broker_that_is_not_there_is_told_in_time() -> None:
    """Neither `flush` nor `close` waits for ever, and neither says that all is well."""
    dead: list[DeadBatch] = []
    sink = KafkaSink(
        "127.0.0.1:1",
        "bars",
        delivery_timeout_s=0.3,
        retry=RetryPolicy(2, backoff_s=0),
        config={"log_level": 0},
    )
    await sink.start()
    await sink.write([bar(0), bar(1)])
    async with asyncio.timeout(15):
        with pytest.raises(SinkError, match=r"2 of 2 messages were not confirmed: _MSG_TIMED_OUT"):
            await sink.flush()
        sink._writes._dead_letters = dead.append  # type: ignore[union-attr]
        await sink.write([bar(2)])
        await sink.close()
    counts = sink.get_metrics()
    assert (counts["batches_failed"], counts["retries"], counts["dead_lettered"]) == (2, 2, 1)
    assert dead[0].items == [bar(2)]


@in_loop
async def test_message_that_no_broker_may_take_is_not_sent_again() -> None:
    """It is larger than is allowed; the other of its batch is written, and only once."""
    sink = mock_sink(config={"message.max.bytes": 2000})
    await sink.start()
    await sink.write([bar(0), bar(1, "BIG", metadata={"text": "x" * 4000})])
    with pytest.raises(SinkError, match="1 of 2 messages were not confirmed"):
        await sink.flush()
    assert sink.counters.retries <= 2
    await sink.write([bar(2)])
    await sink.flush()
    found = await asyncio.to_thread(received, sink, 2)
    await sink.close()
    assert [row["timestamp"][-11:-6] for _, row in found] == ["00:00", "00:02"]


def test_setting_that_loads_a_library_is_refused() -> None:
    """Config is data."""
    with pytest.raises(ConfigError, match=r"`plugin\.library\.paths` may not be set"):
        KafkaSink("x", "t", config={"plugin.library.paths": "evil.so"})


@in_loop
async def test_setting_that_is_none_is_told() -> None:
    """At the start."""
    with pytest.raises(ConfigError, match="a setting of librdkafka is wrong"):
        await KafkaSink("x", "t", config={"no.such": 1}).start()


def test_client_that_is_not_installed_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ImportError, match=r"market-data-pipeline\[kafka\]") as caught:
        KafkaSink("x", "t")
    assert isinstance(caught.value, MissingDependencyError)


def test_message_is_json() -> None:
    """What JSON does not know is text."""
    message = json.loads(bar_json(bar(0, metadata={"at": NOON})))
    assert message["metadata"] == {"at": "2024-01-02 12:00:00+00:00"}
