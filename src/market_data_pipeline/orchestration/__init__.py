"""Many pipelines in one runtime, and the providers they draw on."""

from __future__ import annotations

__all__ = (
    "DagRuntimeSettings",
    "FeedbackSettings",
    "JobStatus",
    "PipelineRuntime",
    "PipelineRuntimeSettings",
    "ProviderSettings",
    "RuntimeHealth",
)

from market_data_pipeline.orchestration.jobs import JobStatus, RuntimeHealth
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import (
    DagRuntimeSettings,
    FeedbackSettings,
    PipelineRuntimeSettings,
    ProviderSettings,
)
