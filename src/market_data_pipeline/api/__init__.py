"""Pipelines in one call, under the names of version 0.8."""

from __future__ import annotations

__all__ = (
    "BackpressurePolicy",
    "DropPolicy",
    "ExplicitPipelineConfig",
    "ExplicitPipelineConfigBuilder",
    "ExplicitPipelineFactory",
    "ExplicitPipelineValidator",
    "PipelineConfig",
    "PipelineConfigBuilder",
    "PipelineFactory",
    "PipelineValidator",
    "SimplePipelineConfig",
    "SimplePipelineConfigBuilder",
    "SimplePipelineFactory",
    "SimplePipelineValidator",
    "create_explicit_pipeline",
    "create_pipeline",
    "explicit_factory",
    "simple_factory",
)

from market_data_pipeline.api.config_builders import (
    ExplicitPipelineConfigBuilder,
    SimplePipelineConfigBuilder,
)
from market_data_pipeline.api.factory import (
    ExplicitPipelineFactory,
    SimplePipelineFactory,
    explicit_factory,
    simple_factory,
)
from market_data_pipeline.api.interface import create_explicit_pipeline, create_pipeline
from market_data_pipeline.api.types import (
    BackpressurePolicy,
    DropPolicy,
    ExplicitPipelineConfig,
    PipelineConfig,
    PipelineConfigBuilder,
    PipelineFactory,
    PipelineValidator,
    SimplePipelineConfig,
)
from market_data_pipeline.api.validators import (
    ExplicitPipelineValidator,
    SimplePipelineValidator,
)
