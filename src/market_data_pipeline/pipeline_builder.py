"""Makes the pipelines of version 0.8 from a spec.

The parts are looked up among the names of this module when a pipeline is built; one that
is None stands for a package that is not installed.
"""

from __future__ import annotations

__all__ = (
    "AsyncBatchProcessor",
    "DatabaseSink",
    "HybridBatcher",
    "IBKRSource",
    "KafkaSink",
    "OptionsChainOperator",
    "PipelineBuilder",
    "PipelineOverrides",
    "PipelineSpec",
    "ReplaySource",
    "SecondBarAggregator",
    "StoreSink",
    "StreamingPipeline",
    "SyntheticSource",
    "build_pipeline",
    "create_pipeline",
    "ensure_windows_selector_event_loop",
    "get_pipeline_config",
    "upstream_create_pipeline",
)

import asyncio
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from typing import Any, Final

from market_data_pipeline import pipeline as _pipeline
from market_data_pipeline.adapters import store_processor as _processor
from market_data_pipeline.batcher import hybrid as _hybrid
from market_data_pipeline.config import get_pipeline_config
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.errors import ConfigurationError
from market_data_pipeline.operator import options_door as _options
from market_data_pipeline.operator import second_bars as _second_bars
from market_data_pipeline.pacing import Budget
from market_data_pipeline.pipeline_spec import (
    DROP_POLICIES,
    OPERATORS,
    SINKS,
    SOURCES,
    PipelineOverrides,
    PipelineSpec,
)
from market_data_pipeline.sink import database as _database
from market_data_pipeline.sink import kafka as _kafka
from market_data_pipeline.sink import store as _store
from market_data_pipeline.source import ibkr as _ibkr
from market_data_pipeline.source import replay as _replay
from market_data_pipeline.source import synthetic as _synthetic

# Untyped, since each may be replaced, and by None.
SyntheticSource: Any = _synthetic.SyntheticSource
ReplaySource: Any = _replay.ReplaySource
IBKRSource: Any = _ibkr.IBKRSource
OptionsChainOperator: Any = _options.OptionsChainOperator
SecondBarAggregator: Any = _second_bars.SecondBarAggregator
HybridBatcher: Any = _hybrid.HybridBatcher
StoreSink: Any = _store.StoreSink
DatabaseSink: Any = _database.DatabaseSink
StreamingPipeline: Any = _pipeline.StreamingPipeline
KafkaSink: Any = _kafka.KafkaSink if find_spec("confluent_kafka") else None
AsyncBatchProcessor: Any = _processor.AsyncBatchProcessor if find_spec("datastore") else None

_RATE: Final = 100
_PACING: Final = 1_000
_BATCH_ROWS: Final = 500
_BATCH_BYTES: Final = 512_000
_FLUSH_MS: Final = 100
_OP_QUEUE: Final = 8
_QUEUE: Final = 100
_DATABASE_QUEUE: Final = 200
_POSITIVE: Final = ("batch_size", "flush_ms", "sink_queue_max")
_SHEDDING: Final = {"oldest": "drop_oldest", "newest": "drop_newest"}


class PipelineBuilder:
    """Builds pipelines.

    A setting is the override's, else the config's, else the default; a 0 counts as given.

    Attributes:
        cfg: The config: settings, or any object or dictionary with the same names.
    """

    def __init__(self, config: Any = None) -> None:
        """Check the config.

        Args:
            config: The config; None for the settings of the process.

        Raises:
            ConfigurationError: If a number in it cannot be.
        """
        self.cfg = get_pipeline_config() if config is None else config
        for name in _POSITIVE:
            value = _cfg(self.cfg, name)
            if isinstance(value, int | float) and value <= 0:
                msg = f"{name} must be > 0"
                raise ConfigurationError(msg, parameter=name)

    def build(self, spec: PipelineSpec | Mapping[str, Any]) -> Any:
        """Return the pipeline of a spec. Nothing is opened or connected.

        Args:
            spec: The spec, or the content of a spec file.

        Raises:
            ConfigurationError: If it cannot run, or a package it needs is not installed.
        """
        spec = PipelineSpec.of(spec) if isinstance(spec, Mapping) else spec
        self._validate_spec(spec)
        self._check_source(spec)
        self._check_sink(spec)
        ctx = PipelineContext(spec.tenant_id, spec.pipeline_id)
        source = self._source(spec, ctx)
        sink = self._sink(spec, ctx)
        pipeline = StreamingPipeline(
            source=source,
            operator=self._operator(spec),
            batcher=self._batcher(spec),
            sink=sink,
            ctx=ctx,
        )
        pipeline.duration_sec = spec.duration_sec
        return pipeline

    async def build_and_run(self, spec: PipelineSpec) -> None:
        """Build a pipeline, run it for as long as its spec says, and close it.

        Raises:
            ConfigurationError: If it cannot be built.
            NodeError: If a part failed.
        """
        pipeline = self.build(spec)
        try:
            await pipeline.run(duration_sec=spec.duration_sec)
        finally:
            await pipeline.close()

    def _validate_spec(self, spec: PipelineSpec) -> None:
        if not spec.tenant_id or not spec.pipeline_id:
            msg = "tenant_id and pipeline_id are required"
            raise ConfigurationError(msg, parameter="tenant_id")
        for name, known in (("source", SOURCES), ("operator", OPERATORS), ("sink", SINKS)):
            value = getattr(spec, name)
            if value not in known:
                msg = f"{name} must be one of: {', '.join(known)}; was `{value}`"
                raise ConfigurationError(msg, parameter=name)
        for name in ("batch_size", "sink_queue_max"):
            number = getattr(spec.overrides, name)
            if number is not None and number <= 0:
                msg = f"{name} must be > 0"
                raise ConfigurationError(msg, parameter=name)
        policy = spec.overrides.drop_policy
        if policy is not None and policy not in (*DROP_POLICIES, *_SHEDDING.values()):
            msg = f"drop_policy must be one of: {', '.join(DROP_POLICIES)}; was `{policy}`"
            raise ConfigurationError(msg, parameter="drop_policy")
        duration = spec.duration_sec
        if duration is not None and not duration >= 0:
            msg = f"duration_sec must be 0 or more; was {duration}"
            raise ConfigurationError(msg, parameter="duration_sec")

    def _check_source(self, spec: PipelineSpec) -> None:
        """Refuse a source that cannot be made, before anything is made."""
        found = {"synthetic": SyntheticSource, "replay": ReplaySource, "ibkr": IBKRSource}
        if found[spec.source] is None:
            name = {"synthetic": "SyntheticSource", "replay": "ReplaySource"}.get(
                spec.source, "IBKRSource"
            )
            msg = f"{name} not available"
            raise ConfigurationError(msg, parameter="source")
        if spec.source != "replay" and not spec.symbols:
            msg = f"{spec.source} source requires symbols"
            raise ConfigurationError(msg, parameter="symbols")
        if spec.source == "replay" and not self._setting(spec, "replay_path"):
            msg = "replay source requires `replay_path`, in the overrides or the config"
            raise ConfigurationError(msg, parameter="replay_path")

    def _check_sink(self, spec: PipelineSpec) -> None:
        """Refuse a sink that cannot be made, before anything is made."""
        if spec.sink == "kafka":
            if KafkaSink is None:
                msg = "KafkaSink not available; install `market-data-pipeline[kafka]`"
                raise ConfigurationError(msg, parameter="sink")
            if not all(self._kafka(spec)):
                msg = "kafka sink requires kafka_bootstrap and kafka_topic"
                raise ConfigurationError(msg, parameter="kafka_topic")
        if spec.sink == "store" and AsyncBatchProcessor is None:
            msg = (
                "market_data_store AsyncBatchProcessor not installed; install "
                "`market-data-pipeline[store]`, or write to the sink `database`"
            )
            raise ConfigurationError(msg, parameter="sink")
        if spec.operator == "options" and spec.sink != "kafka":
            msg = (
                f"the sink `{spec.sink}` takes bars, and `options` gives chains; write them to "
                "`kafka`, or to any sink of a graph with the operator `options_chain`"
            )
            raise ConfigurationError(msg, parameter="sink")

    def _source(self, spec: PipelineSpec, ctx: PipelineContext) -> Any:
        if spec.source == "replay":
            path, speed = self._setting(spec, "replay_path"), self._setting(spec, "replay_speed")
            symbols = {"symbols": list(spec.symbols)} if spec.symbols else {}
            return ReplaySource(
                path=path, speed=1.0 if speed is None else speed, ctx=ctx, **symbols
            )
        settings: dict[str, Any] = {
            "symbols": list(spec.symbols),
            "ticks_per_sec": self._setting(spec, "ticks_per_sec", _RATE),
            "pacing_budget": _budget(
                self._setting(spec, "pacing_max_per_sec", _PACING),
                self._setting(spec, "pacing_burst", _PACING),
            ),
            "ctx": ctx,
        }
        if spec.source == "synthetic":
            return SyntheticSource(**settings)
        where = {
            name: value
            for name in ("host", "port", "client_id")
            if (value := _cfg(self.cfg, f"ibkr_{name}")) is not None
        }
        return IBKRSource(**settings, **where)

    def _operator(self, spec: PipelineSpec) -> Any:
        if spec.operator == "options":
            return OptionsChainOperator()
        return SecondBarAggregator(
            window_sec=self._setting(spec, "bar_window_sec", 1),
            allowed_lateness_sec=self._setting(spec, "bar_allowed_lateness_sec", 0),
        )

    def _batcher(self, spec: PipelineSpec) -> Any:
        return HybridBatcher(
            max_rows=self._setting(spec, "batch_size", _BATCH_ROWS),
            max_bytes=self._setting(spec, "max_bytes", _BATCH_BYTES),
            flush_ms=self._setting(spec, "flush_ms", _FLUSH_MS),
            op_queue_max=self._setting(spec, "op_queue_max", _OP_QUEUE),
            drop_policy=_drop_policy(self._setting(spec, "drop_policy", "oldest")),
        )

    def _sink(self, spec: PipelineSpec, ctx: PipelineContext) -> Any:
        policy = _map_backpressure(self._setting(spec, "drop_policy", "oldest"))
        if spec.sink == "database":
            return DatabaseSink(
                tenant_id=spec.tenant_id,
                settings=self._database_settings(spec, policy),
                ctx=ctx,
                processor=spec.overrides.database_processor,
                database_url=self._setting(spec, "database_url"),
            )
        queue_max = self._setting(spec, "sink_queue_max", _QUEUE)
        if spec.sink == "kafka":
            bootstrap, topic = self._kafka(spec)
            encode = {"encode": _option_message} if spec.operator == "options" else {}
            return KafkaSink(
                *(bootstrap, topic),
                queue_max=queue_max,
                backpressure_policy=policy,
                ctx=ctx,
                **encode,
            )
        return StoreSink(
            _store.DeferredProcessor(_processor_factory(AsyncBatchProcessor)),
            workers=self._setting(spec, "sink_workers", 2),
            queue_max=queue_max,
            backpressure_policy=policy,
            ctx=ctx,
        )

    def _database_settings(self, spec: PipelineSpec, policy: Any) -> Any:
        if spec.overrides.database_settings is not None:
            return spec.overrides.database_settings
        retries = self._setting(spec, "database_retry_max_attempts", 5)
        return _database.DatabaseSinkSettings(
            vendor=self._setting(spec, "database_vendor", "market_data_pipeline"),
            timeframe=self._setting(spec, "database_timeframe", "1s"),
            workers=self._setting(spec, "sink_workers", 2),
            queue_max=self._setting(spec, "sink_queue_max", _DATABASE_QUEUE),
            backpressure_policy=policy,
            retry_max_attempts=retries,
            retry_backoff_ms=self._setting(spec, "database_retry_backoff_ms", 50),
        )

    def _kafka(self, spec: PipelineSpec) -> tuple[Any, Any]:
        bootstrap = spec.overrides.kafka_bootstrap
        if bootstrap is None:
            bootstrap = _cfg(self.cfg, "kafka_bootstrap_servers")
        return bootstrap, self._setting(spec, "kafka_topic")

    def _setting(self, spec: PipelineSpec, name: str, default: Any = None) -> Any:
        value = getattr(spec.overrides, name)
        if value is None:
            value = _cfg(self.cfg, name)
        return default if value is None else value


def create_pipeline(
    tenant_id: str,
    pipeline_id: str,
    *,
    source: str,
    symbols: Sequence[str] | None = None,
    duration_sec: float | None = None,
    operator: str = "bars",
    sink: str = "store",
    overrides: Mapping[str, Any] | PipelineOverrides | None = None,
    config: Any = None,
) -> Any:
    """Build a pipeline; `build_pipeline` does the same from a spec.

    Args:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        source: Where quotes come from.
        symbols: What they are about.
        duration_sec: Seconds after which it stops, None to run to the end.
        operator: What is made of them.
        sink: Where that goes.
        overrides: Settings of its own.
        config: The config; None for the settings of the process.

    Raises:
        ConfigurationError: If it cannot run, or a package it needs is not installed.
    """
    spec = PipelineSpec(
        tenant_id=tenant_id,
        pipeline_id=pipeline_id,
        source=source,
        symbols=list(symbols or ()),
        duration_sec=duration_sec,
        operator=operator,
        sink=sink,
        overrides=PipelineOverrides.of(overrides),
    )
    builder = PipelineBuilder(config=config)
    return builder.build(spec)


# What the package calls it, whose own `create_pipeline` is that of `api`.
upstream_create_pipeline: Final = create_pipeline


def build_pipeline(spec: PipelineSpec | Mapping[str, Any], *, config: Any = None) -> Any:
    """Return the pipeline of a spec, or of the content of a spec file.

    Args:
        spec: The spec.
        config: The config; None for the settings of the process.

    Raises:
        ConfigurationError: If it cannot run, or a package it needs is not installed.
    """
    return PipelineBuilder(config=config).build(PipelineSpec.of(spec))


def ensure_windows_selector_event_loop() -> None:
    """On Windows, use the event loop that database clients can work with; else do nothing."""
    platform: str = sys.platform
    if not platform.startswith("win"):
        return
    policy: Any = getattr(asyncio, "WindowsSelectorEventLoopPolicy", None)
    if policy is not None:
        asyncio.set_event_loop_policy(policy())


def _cfg(config: Any, key: str, fallback: Any = None) -> Any:
    if isinstance(config, dict):
        return config.get(key, fallback)
    return getattr(config, key, fallback)


def _map_backpressure(v: Any) -> Any:
    return _SHEDDING.get(v, v) if v else "block"


def _drop_policy(v: Any) -> Any:
    # Callers of 0.8 may give the word of a sink.
    return next((word for word, sink in _SHEDDING.items() if sink == v), v)


def _budget(rate: Any, burst: Any) -> Any:
    # A config may hold anything; whoever takes the budget refuses what is no number.
    if isinstance(rate, int | float) and isinstance(burst, int | float):
        return Budget(max_msgs_per_sec=rate, burst=burst)
    return (rate, burst)


def _option_message(option: Any) -> bytes:
    # Prices as text, so that they stay exact; times and days in ISO 8601.
    row = dataclasses.asdict(option)
    return json.dumps(row, ensure_ascii=False, default=_as_text).encode()


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _processor_factory(processor: Any) -> Any:
    """Return what makes the processor once there is an event loop."""
    return getattr(processor, "from_env_async", None) or processor.from_env
