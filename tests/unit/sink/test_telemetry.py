"""The metrics of sinks for bars: their names, and what they count."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from market_data_pipeline.context import PipelineContext
from market_data_pipeline.sink import telemetry
from market_data_pipeline.sink.database import DatabaseSink, DatabaseSinkSettings
from market_data_pipeline.sink.store import StoreSink
from market_data_pipeline.sink.telemetry import (
    SinkTelemetry,
    get_sink_telemetry,
    set_sink_telemetry,
)
from market_data_pipeline.types import Bar
from support.in_loop import in_loop

DATABASE = (
    "mdp_sink_db_batches_in_total",
    "mdp_sink_db_batches_written_total",
    "mdp_sink_db_batches_failed_total",
    "mdp_sink_db_items_written_total",
    "mdp_sink_db_retries_total",
    "mdp_sink_db_queue_depth",
    "mdp_sink_db_commit_seconds",
)
SINKS = (
    "mdp_sink_batches_in_total",
    "mdp_sink_batches_committed_total",
    "mdp_sink_batches_failed_total",
    "mdp_sink_items_committed_total",
    "mdp_sink_queue_depth",
    "mdp_sink_commit_seconds",
    "mdp_sink_retries_total",
    "mdp_sink_dropped_batches_total",
)


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """A registry of the test's own."""
    made = CollectorRegistry()
    set_sink_telemetry(SinkTelemetry(made))
    yield made
    set_sink_telemetry(None)


class Processor:
    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    def upsert_bars(self, rows: list[dict[str, Any]]) -> None:
        if self._errors:
            raise self._errors.pop(0)


def bar() -> Bar:
    one = Decimal(1)
    return Bar("A", datetime(2024, 1, 2, tzinfo=UTC), one, one, one, one, one)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


@in_loop
async def test_database_sink_counts_under_both_names(registry: CollectorRegistry) -> None:
    """One registry has them all."""
    errors = (TimeoutError(), ValueError("bad"))
    sink = DatabaseSink(
        tenant_id="t",
        ctx=PipelineContext("t", "p"),
        settings=DatabaseSinkSettings(workers=1, queue_max=2, retry_backoff_ms=0),
        processor=Processor(*errors),
        on_failure="count",
    )
    sink.settings.backpressure_policy = "newest"
    await sink.start()
    for _ in range(3):
        await sink.write([bar()])
    db: dict[str, str] = {"tenant": "t", "pipeline": "p"}
    own = {"sink": "database", **db}
    assert value(registry, "mdp_sink_db_queue_depth", **db) == 2
    assert value(registry, "mdp_sink_queue_depth", **own) == 2
    await sink.close()
    found = {name: value(registry, name, **db) for name in DATABASE[:6]}
    assert list(found.values()) == [3, 1, 1, 1, 1, 0]
    assert value(registry, "mdp_sink_db_commit_seconds_count", **db) == 1
    assert value(registry, "mdp_sink_batches_in_total", **own) == 3
    assert value(registry, "mdp_sink_batches_committed_total", **own) == 1
    assert value(registry, "mdp_sink_batches_failed_total", reason="ValueError", **own) == 1
    assert value(registry, "mdp_sink_dropped_batches_total", reason="queue_full", **own) == 1
    assert value(registry, "mdp_sink_items_committed_total", **own) == 1
    assert value(registry, "mdp_sink_retries_total", **own) == 1


@in_loop
async def test_store_sink_counts_under_its_own_name(registry: CollectorRegistry) -> None:
    """And not under that of the database."""
    sink = StoreSink(Processor(), ctx=None)
    await sink.start()
    await sink.write([bar(), bar()])
    await sink.close()
    none = {"tenant": "", "pipeline": ""}
    assert value(registry, "mdp_sink_items_committed_total", sink="store", **none) == 2
    assert value(registry, "mdp_sink_db_items_written_total", **none) is None


def test_names_are_those_of_the_contract(registry: CollectorRegistry) -> None:
    """They are there before anything has happened."""
    text = generate_latest(registry).decode()
    for name in (*DATABASE, *SINKS):
        assert f"# TYPE {name} " in text


def test_metrics_are_registered_once_however_often_the_module_is_loaded() -> None:
    """A second import finds those of the first."""
    before = get_sink_telemetry()
    assert before.registry is REGISTRY
    again = importlib.reload(telemetry)
    try:
        assert again.get_sink_telemetry().batches_in is before.batches_in
    finally:
        set_sink_telemetry(None)


def test_name_that_another_kind_of_metric_has_is_refused() -> None:
    """It is not taken for ours."""
    from prometheus_client import Gauge

    registry = CollectorRegistry()
    Gauge("mdp_sink_batches_in_total", "x", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        SinkTelemetry(registry)


def test_names_are_served_before_any_sink_has_started() -> None:
    """As in version 0.8, where importing it was enough."""
    from market_data_pipeline.telemetry.prometheus import exposition

    text = exposition().decode()
    assert "# TYPE mdp_sink_db_batches_in_total counter" in text
    assert "# TYPE mdp_sink_queue_depth gauge" in text
