"""From a config to the settings of the parts."""

from __future__ import annotations

__all__ = ("ExplicitPipelineConfigBuilder", "SimplePipelineConfigBuilder")

import os
from typing import Any, Final

from market_data_pipeline.api.types import (
    DropPolicy,
    ExplicitPipelineConfig,
    SimplePipelineConfig,
)
from market_data_pipeline.pacing import budget_of
from market_data_pipeline.pipeline_spec import PipelineOverrides
from market_data_pipeline.sink.database import DatabaseSinkSettings

_LOCAL: Final = "postgresql://localhost:5432/market_data"
_POLICIES: Final = {
    DropPolicy.OLDEST: "drop_oldest",
    DropPolicy.NEWEST: "drop_newest",
    DropPolicy.BLOCK: "block",
}


class SimplePipelineConfigBuilder:
    """Turns a `SimplePipelineConfig` into overrides."""

    def build(self, config: SimplePipelineConfig) -> PipelineOverrides:
        """Return the overrides, the settings of the database sink among them."""
        budget = budget_of(config.pacing_budget)
        return PipelineOverrides(
            ticks_per_sec=config.ticks_per_sec,
            pacing_max_per_sec=budget.max_msgs_per_sec,
            pacing_burst=budget.burst,
            batch_size=config.batch_size,
            flush_ms=config.flush_ms,
            drop_policy=DropPolicy(config.drop_policy).value,
            sink_workers=config.sink_workers,
            sink_queue_max=config.sink_queue_max,
            database_vendor=config.database_vendor,
            database_timeframe=config.database_timeframe,
            database_retry_max_attempts=config.database_retry_max_attempts,
            database_retry_backoff_ms=config.database_retry_backoff_ms,
            database_url=_database_url(config),
            database_settings=_database_settings(config),
        )


class ExplicitPipelineConfigBuilder:
    """Turns an `ExplicitPipelineConfig` into the arguments of each part."""

    def build(self, config: ExplicitPipelineConfig) -> dict[str, dict[str, Any]]:
        """Return the arguments: `context`, and those of source, operator, batcher, sink."""
        return {
            "context": {"tenant_id": config.tenant_id, "pipeline_id": config.pipeline_id},
            "source_config": {
                "symbols": list(config.symbols),
                "ticks_per_sec": config.ticks_per_sec,
                "pacing_budget": budget_of(config.pacing_budget),
            },
            "operator_config": {
                "window_sec": config.bar_window_sec,
                "allowed_lateness_sec": config.bar_allowed_lateness_sec,
            },
            "batcher_config": {
                "max_rows": config.batch_size,
                "max_bytes": config.max_bytes,
                "flush_ms": config.flush_ms,
                "op_queue_max": config.op_queue_max,
                "drop_policy": DropPolicy(config.drop_policy).value,
            },
            "sink_config": {
                "tenant_id": config.tenant_id,
                "settings": _database_settings(config),
                "database_url": _database_url(config),
            },
        }


def _database_url(config: SimplePipelineConfig | ExplicitPipelineConfig) -> str:
    return config.database_url or os.environ.get("DATABASE_URL") or _LOCAL


def _database_settings(
    config: SimplePipelineConfig | ExplicitPipelineConfig,
) -> DatabaseSinkSettings:
    return DatabaseSinkSettings(
        vendor=config.database_vendor,
        timeframe=config.database_timeframe,
        workers=config.sink_workers,
        queue_max=config.sink_queue_max,
        backpressure_policy=_POLICIES[DropPolicy(config.drop_policy)],
        retry_max_attempts=config.database_retry_max_attempts,
        retry_backoff_ms=config.database_retry_backoff_ms,
    )
