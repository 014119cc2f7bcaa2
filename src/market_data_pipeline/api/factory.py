"""From a config to a pipeline."""

from __future__ import annotations

__all__ = (
    "ExplicitPipelineFactory",
    "SimplePipelineFactory",
    "explicit_factory",
    "simple_factory",
)

from typing import Any, Final

from market_data_pipeline import pipeline_builder
from market_data_pipeline.api.config_builders import (
    ExplicitPipelineConfigBuilder,
    SimplePipelineConfigBuilder,
)
from market_data_pipeline.api.types import ExplicitPipelineConfig, SimplePipelineConfig
from market_data_pipeline.api.validators import (
    ExplicitPipelineValidator,
    SimplePipelineValidator,
)
from market_data_pipeline.batcher.hybrid import HybridBatcher
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.operator.second_bars import SecondBarAggregator
from market_data_pipeline.pipeline import StreamingPipeline
from market_data_pipeline.sink.database import DatabaseSink
from market_data_pipeline.source.synthetic import SyntheticSource


class SimplePipelineFactory:
    """Makes pipelines whose parts are named in the config."""

    def create(self, config: SimplePipelineConfig) -> StreamingPipeline:
        """Return the pipeline; nothing is opened or connected.

        Raises:
            ConfigError: If it cannot run, or a package it needs is not installed.
        """
        SimplePipelineValidator().validate(config)
        pipeline: StreamingPipeline = pipeline_builder.create_pipeline(
            config.tenant_id,
            config.pipeline_id,
            source=config.source,
            symbols=config.symbols,
            duration_sec=config.duration_sec,
            operator=config.operator,
            sink=config.sink,
            overrides=SimplePipelineConfigBuilder().build(config),
        )
        return pipeline


class ExplicitPipelineFactory:
    """Makes pipelines of synthetic ticks, bars and a database."""

    def create(self, config: ExplicitPipelineConfig) -> StreamingPipeline:
        """Return the pipeline; nothing is opened or connected.

        Raises:
            ConfigError: If it cannot run.
        """
        ExplicitPipelineValidator().validate(config)
        given = ExplicitPipelineConfigBuilder().build(config)
        ctx = PipelineContext(**given["context"])
        source: Any = SyntheticSource  # its arguments of version 0.8 are known at run time only
        return StreamingPipeline(
            source=source(**given["source_config"], ctx=ctx),
            operator=SecondBarAggregator(**given["operator_config"]),
            batcher=HybridBatcher(**given["batcher_config"]),
            sink=DatabaseSink(**given["sink_config"], ctx=ctx),
            ctx=ctx,
        )


simple_factory: Final = SimplePipelineFactory()
explicit_factory: Final = ExplicitPipelineFactory()
