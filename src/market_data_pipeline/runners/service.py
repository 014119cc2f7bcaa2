"""Pipelines by `tenant:pipeline`, where version 0.8 has them."""

from __future__ import annotations

__all__ = ("PipelineService", "PipelineSpec")

from market_data_pipeline.orchestration.service import PipelineService
from market_data_pipeline.pipeline_spec import PipelineSpec
