"""The signatures of version 0.8: names, order, kinds and defaults of arguments."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

# Arguments may be added behind those of 0.8, or as keywords, if they have a default.
SIGNATURES = {
    "api:create_pipeline": (
        'tenant_id, pipeline_id, *, symbols=None, source="synthetic", operator="bars", '
        'sink="database", duration_sec=None, ticks_per_sec=10, batch_size=500, '
        'flush_ms=1000, pacing_budget=(1000, 1000), drop_policy="oldest", sink_workers=2, '
        'sink_queue_max=200, database_vendor="market_data_core", database_timeframe="1s", '
        "database_retry_max_attempts=5, database_retry_backoff_ms=50, database_url=None"
    ),
    "api:create_explicit_pipeline": (
        "tenant_id, pipeline_id, *, symbols=None, ticks_per_sec=10, "
        "pacing_budget=(1000, 1000), batch_size=500, max_bytes=512_000, flush_ms=1000, "
        'op_queue_max=8, drop_policy="oldest", sink_workers=2, sink_queue_max=200, '
        'database_vendor="market_data_core", database_timeframe="1s", '
        "database_retry_max_attempts=5, database_retry_backoff_ms=50, database_url=None, "
        "bar_window_sec=1, bar_allowed_lateness_sec=0"
    ),
    "pipeline_builder:PipelineBuilder": "config=None",
    "pipeline_builder:create_pipeline": (
        "tenant_id, pipeline_id, *, source, symbols=None, duration_sec=None, "
        'operator="bars", sink="store", overrides=None, config=None'
    ),
    "pipeline_builder:_cfg": "config, key, fallback=None",
    "types:Quote": (
        "symbol, timestamp, price, size, bid=None, ask=None, bid_size=None, ask_size=None, "
        'source="unknown", metadata=None'
    ),
    "types:Bar": (
        "symbol, timestamp, open, high, low, close, volume, vwap=None, trade_count=None, "
        'source="unknown", metadata=None'
    ),
    "context:PipelineContext": "tenant_id, pipeline_id, labels=None",
    "errors:SchemaValidationError": (
        'message, schema_name, errors, track, enforcement_mode="strict"'
    ),
    "config:load_config": "path=None",
    "pacing:Budget": "max_msgs_per_sec, burst",
    "pacing:Pacer": "budget",
    "sink.capabilities:SinkHealth": (
        "connected, queue_depth=0, in_flight_batches=0, last_commit_at=None, "
        'last_error_at=None, retry_count=0, detail=""'
    ),
    "sink.store:StoreSink": (
        'batch_processor, workers=2, queue_max=100, backpressure_policy="block", ctx=None'
    ),
    "sink.database:DatabaseSink": (
        "*, tenant_id, settings=None, ctx=None, processor=None, database_url=None"
    ),
    "sink.kafka:KafkaSink": (
        'bootstrap_servers, topic, queue_max=500, backpressure_policy="block", ctx=None'
    ),
    "source.base:SourceStatus": 'connected, detail=""',
    "source.ibkr:IBKRSource": (
        'symbols, host="localhost", port=7497, client_id=1, pacing_budget=(1000, 1000), ctx=None'
    ),
    "operator.bars:SecondBarAggregator": "window_sec=1, *, allowed_lateness_sec=0",
    "batcher.hybrid:HybridBatcher": (
        'max_rows=500, max_bytes=512_000, flush_ms=100, op_queue_max=8, drop_policy="oldest"'
    ),
    "pipeline:StreamingPipeline": "*, source, operator, batcher, sink, ctx=None",
    "orchestration.circuit_breaker:CircuitBreaker": (
        "threshold=5, timeout=60.0, half_open_attempts=1"
    ),
    "orchestration.router:SourceRouter": 'sources, strategy="first", max_retries=3',
    "orchestration.runtime:PipelineRuntimeSettings": (
        "pipeline=None, orchestration_enabled=True, max_concurrent_pipelines=10, "
        "enable_rate_coordination=True, circuit_breaker_threshold=5, "
        "circuit_breaker_timeout_sec=60.0, providers=None"
    ),
    "orchestration.runtime:PipelineRuntime": "settings=None",
    "runners.service:PipelineSpec": (
        "tenant_id, pipeline_id, source_type=None, symbols=(), rate=None, replay_path=None, "
        'duration_sec=None, operator_type="bars", sink_type="store", extra=None'
    ),
    "runners.service:PipelineService": "config=None",
    "orchestration.coordinator:RateCoordinator": "",
    "orchestration.registry:SourceRegistry": "",
    "orchestration.coordinator:RateCoordinator.register_provider": (
        "name, capacity=60, refill_rate=60, cooldown_sec=600, breaker_threshold=5, "
        "breaker_timeout=60.0"
    ),
    "orchestration.coordinator:RateCoordinator.acquire": "provider, n=1",
    "orchestration.coordinator:RateCoordinator.trigger_cooldown": (
        "provider, scope, duration_sec=None"
    ),
    "orchestration.registry:SourceRegistry.discover_entrypoints": 'group="market_data.providers"',
    "orchestration.runtime:PipelineRuntime.stream_quotes": "symbols, source_priority=None",
    "pipeline:StreamingPipeline.run": "duration_sec=None",
    "pacing:Pacer.allow": "n=1",
    "sink.database:DatabaseSink.close": "drain=True",
    "sink.store:StoreSink.close": "drain=True",
    "context:PipelineContext.get_idempotency_key": "symbol, window_ts",
    "sink.database:DatabaseSink._process_with_retry": "batch, worker_id",
}


def signature_of(where: str) -> dict[str, inspect.Parameter]:
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(f"market_data_pipeline.{module}")
    for name in path.split("."):
        found = getattr(found, name)
    parameters = dict(inspect.signature(found).parameters)
    parameters.pop("self", None)
    return parameters


@pytest.mark.parametrize("where", SIGNATURES)
def test_signature_is_that_of_0_8(where: str) -> None:
    """Every argument is where it was, with its default; what came later may be left out."""
    made: dict[str, Any] = {}
    exec(f"def f({SIGNATURES[where]}): ...", made)  # noqa: S102 - our own text above
    wanted = inspect.signature(made["f"]).parameters
    found = signature_of(where)
    assert list(found)[: len(wanted)] == list(wanted)
    for name, parameter in wanted.items():
        assert found[name].kind == parameter.kind, name
        assert found[name].default == parameter.default, name
    for name in found.keys() - wanted.keys():
        later = found[name]
        is_open = later.kind in (later.VAR_POSITIONAL, later.VAR_KEYWORD)
        assert is_open or later.default is not later.empty, name
