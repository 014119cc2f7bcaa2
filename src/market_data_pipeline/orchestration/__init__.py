"""Many pipelines in one runtime, and the providers they draw on."""

from __future__ import annotations

__all__ = (
    "CircuitBreaker",
    "DagRuntimeSettings",
    "FeedbackSettings",
    "JobStatus",
    "PipelineRuntime",
    "PipelineRuntimeSettings",
    "ProviderSettings",
    "RateCoordinator",
    "RuntimeHealth",
    "SourceRegistry",
    "SourceRouter",
)

from market_data_pipeline.orchestration.circuit_breaker import CircuitBreaker
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from market_data_pipeline.orchestration.jobs import JobStatus, RuntimeHealth
from market_data_pipeline.orchestration.registry import SourceRegistry
from market_data_pipeline.orchestration.router import SourceRouter
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import (
    DagRuntimeSettings,
    FeedbackSettings,
    PipelineRuntimeSettings,
    ProviderSettings,
)
