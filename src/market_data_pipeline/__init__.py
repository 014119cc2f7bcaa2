"""Turn any market-data feed into clean bars and events in your store.

The names below are the public surface; they are loaded on first use, so that importing
the package costs nothing.
"""

from __future__ import annotations

__all__ = (
    "BAR",
    "QUOTE",
    "QUOTE_BAR",
    "TRADE",
    "AsofJoin",
    "Assign",
    "BackpressurePolicy",
    "Bars",
    "BarsStoreSink",
    "Batch",
    "BatchRows",
    "BatcherError",
    "ChaosSource",
    "Checkpoint",
    "CheckpointError",
    "CheckpointsInUseError",
    "CheckpointsUnreachableError",
    "ClockSkew",
    "Conditions",
    "ConfigError",
    "ConfigurationError",
    "CsvSink",
    "Dag",
    "DatabaseSinkSettings",
    "Dedupe",
    "DropPolicy",
    "DuckDBSink",
    "Edge",
    "ExplicitPipelineConfig",
    "ExplicitPipelineConfigBuilder",
    "ExplicitPipelineFactory",
    "ExplicitPipelineValidator",
    "Field",
    "Filter",
    "Flaw",
    "GraphError",
    "InputError",
    "IntervalJoin",
    "JournalSource",
    "JsonlSink",
    "Kind",
    "Ledger",
    "Map",
    "MemorySink",
    "MemorySource",
    "NodeError",
    "OperatorError",
    "OutputError",
    "PacingError",
    "ParquetSink",
    "PipelineBuilder",
    "PipelineContext",
    "PipelineError",
    "PostgresSink",
    "PipelineOverrides",
    "PipelineSettings",
    "PipelineSpec",
    "ProviderSource",
    "Quality",
    "ReplaySource",
    "Router",
    "Resume",
    "RunResult",
    "Schema",
    "Select",
    "SequenceTracker",
    "SqliteSink",
    "SimplePipelineConfig",
    "SimplePipelineConfigBuilder",
    "SimplePipelineFactory",
    "SimplePipelineValidator",
    "SinkError",
    "SourceError",
    "StoreSinkAdapter",
    "Stream",
    "StreamingPipeline",
    "SymbolTable",
    "SyntheticSource",
    "Throttle",
    "TradesWithQuotes",
    "TradingSessions",
    "Union",
    "Windows",
    "__version__",
    "build_pipeline",
    "create_explicit_pipeline",
    "create_pipeline",
    "ensure_windows_selector_event_loop",
    "explicit_factory",
    "get_pipeline_config",
    "load",
    "run",
    "run_dag",
    "simple_factory",
    "upstream_create_pipeline",
)

from typing import TYPE_CHECKING, Any, Final

from market_data_pipeline.lazy import loaded_from

if TYPE_CHECKING:
    from market_data_pipeline.adapters.bars_store import BarsStoreSink as BarsStoreSink
    from market_data_pipeline.adapters.provider_source import ProviderSource as ProviderSource
    from market_data_pipeline.adapters.sink_adapter import StoreSinkAdapter as StoreSinkAdapter
    from market_data_pipeline.api.config_builders import (
        ExplicitPipelineConfigBuilder as ExplicitPipelineConfigBuilder,
    )
    from market_data_pipeline.api.config_builders import (
        SimplePipelineConfigBuilder as SimplePipelineConfigBuilder,
    )
    from market_data_pipeline.api.factory import ExplicitPipelineFactory as ExplicitPipelineFactory
    from market_data_pipeline.api.factory import SimplePipelineFactory as SimplePipelineFactory
    from market_data_pipeline.api.factory import explicit_factory as explicit_factory
    from market_data_pipeline.api.factory import simple_factory as simple_factory
    from market_data_pipeline.api.interface import (
        create_explicit_pipeline as create_explicit_pipeline,
    )
    from market_data_pipeline.api.interface import create_pipeline as create_pipeline
    from market_data_pipeline.api.types import BackpressurePolicy as BackpressurePolicy
    from market_data_pipeline.api.types import DropPolicy as DropPolicy
    from market_data_pipeline.api.types import ExplicitPipelineConfig as ExplicitPipelineConfig
    from market_data_pipeline.api.types import SimplePipelineConfig as SimplePipelineConfig
    from market_data_pipeline.api.validators import (
        ExplicitPipelineValidator as ExplicitPipelineValidator,
    )
    from market_data_pipeline.api.validators import (
        SimplePipelineValidator as SimplePipelineValidator,
    )
    from market_data_pipeline.batch import Batch as Batch
    from market_data_pipeline.batcher.batch import BatchRows as BatchRows
    from market_data_pipeline.config import PipelineSettings as PipelineSettings
    from market_data_pipeline.config import get_pipeline_config as get_pipeline_config
    from market_data_pipeline.context import PipelineContext as PipelineContext
    from market_data_pipeline.dag.checkpoints.settings import Checkpoint as Checkpoint
    from market_data_pipeline.dag.checkpoints.settings import Resume as Resume
    from market_data_pipeline.dag.graph import Edge as Edge
    from market_data_pipeline.dag.metrics import Ledger as Ledger
    from market_data_pipeline.dag.results import RunResult as RunResult
    from market_data_pipeline.dag.runtime import run_dag as run_dag
    from market_data_pipeline.errors import BatcherError as BatcherError
    from market_data_pipeline.errors import CheckpointError as CheckpointError
    from market_data_pipeline.errors import CheckpointsInUseError as CheckpointsInUseError
    from market_data_pipeline.errors import (
        CheckpointsUnreachableError as CheckpointsUnreachableError,
    )
    from market_data_pipeline.errors import ConfigError as ConfigError
    from market_data_pipeline.errors import ConfigurationError as ConfigurationError
    from market_data_pipeline.errors import GraphError as GraphError
    from market_data_pipeline.errors import InputError as InputError
    from market_data_pipeline.errors import NodeError as NodeError
    from market_data_pipeline.errors import OperatorError as OperatorError
    from market_data_pipeline.errors import OutputError as OutputError
    from market_data_pipeline.errors import PacingError as PacingError
    from market_data_pipeline.errors import PipelineError as PipelineError
    from market_data_pipeline.errors import SinkError as SinkError
    from market_data_pipeline.errors import SourceError as SourceError
    from market_data_pipeline.flow import Dag as Dag
    from market_data_pipeline.flow import Stream as Stream
    from market_data_pipeline.flow import load as load
    from market_data_pipeline.operator.asof_join import AsofJoin as AsofJoin
    from market_data_pipeline.operator.assign import Assign as Assign
    from market_data_pipeline.operator.bars import Bars as Bars
    from market_data_pipeline.operator.clock_skew import ClockSkew as ClockSkew
    from market_data_pipeline.operator.conditions import Conditions as Conditions
    from market_data_pipeline.operator.dedupe import Dedupe as Dedupe
    from market_data_pipeline.operator.filter import Filter as Filter
    from market_data_pipeline.operator.interval_join import IntervalJoin as IntervalJoin
    from market_data_pipeline.operator.map import Map as Map
    from market_data_pipeline.operator.quality import Quality as Quality
    from market_data_pipeline.operator.router import Router as Router
    from market_data_pipeline.operator.select import Select as Select
    from market_data_pipeline.operator.sequence import SequenceTracker as SequenceTracker
    from market_data_pipeline.operator.sessions import TradingSessions as TradingSessions
    from market_data_pipeline.operator.throttle import Throttle as Throttle
    from market_data_pipeline.operator.trades_with_quotes import (
        TradesWithQuotes as TradesWithQuotes,
    )
    from market_data_pipeline.operator.union import Union as Union
    from market_data_pipeline.operator.windows import Windows as Windows
    from market_data_pipeline.pipeline import StreamingPipeline as StreamingPipeline
    from market_data_pipeline.pipeline_builder import PipelineBuilder as PipelineBuilder
    from market_data_pipeline.pipeline_builder import build_pipeline as build_pipeline
    from market_data_pipeline.pipeline_builder import (
        ensure_windows_selector_event_loop as ensure_windows_selector_event_loop,
    )
    from market_data_pipeline.pipeline_builder import (
        upstream_create_pipeline as upstream_create_pipeline,
    )
    from market_data_pipeline.pipeline_spec import PipelineOverrides as PipelineOverrides
    from market_data_pipeline.pipeline_spec import PipelineSpec as PipelineSpec
    from market_data_pipeline.records import BAR as BAR
    from market_data_pipeline.records import QUOTE as QUOTE
    from market_data_pipeline.records import QUOTE_BAR as QUOTE_BAR
    from market_data_pipeline.records import TRADE as TRADE
    from market_data_pipeline.records import Field as Field
    from market_data_pipeline.records import Flaw as Flaw
    from market_data_pipeline.records import Kind as Kind
    from market_data_pipeline.records import Schema as Schema
    from market_data_pipeline.running import run as run
    from market_data_pipeline.sink.csv import CsvSink as CsvSink
    from market_data_pipeline.sink.database import DatabaseSinkSettings as DatabaseSinkSettings
    from market_data_pipeline.sink.duckdb import DuckDBSink as DuckDBSink
    from market_data_pipeline.sink.jsonl import JsonlSink as JsonlSink
    from market_data_pipeline.sink.memory import MemorySink as MemorySink
    from market_data_pipeline.sink.parquet import ParquetSink as ParquetSink
    from market_data_pipeline.sink.postgres import PostgresSink as PostgresSink
    from market_data_pipeline.sink.sqlite import SqliteSink as SqliteSink
    from market_data_pipeline.source.chaos import ChaosSource as ChaosSource
    from market_data_pipeline.source.journal import JournalSource as JournalSource
    from market_data_pipeline.source.memory import MemorySource as MemorySource
    from market_data_pipeline.source.replay import ReplaySource as ReplaySource
    from market_data_pipeline.source.synthetic import SyntheticSource as SyntheticSource
    from market_data_pipeline.symbols import SymbolTable as SymbolTable

    __version__: str

_HOMES: Final = {
    "api.config_builders": (
        "ExplicitPipelineConfigBuilder",
        "SimplePipelineConfigBuilder",
    ),
    "api.factory": (
        "ExplicitPipelineFactory",
        "SimplePipelineFactory",
        "explicit_factory",
        "simple_factory",
    ),
    "api.interface": (
        "create_explicit_pipeline",
        "create_pipeline",
    ),
    "api.types": (
        "BackpressurePolicy",
        "DropPolicy",
        "ExplicitPipelineConfig",
        "SimplePipelineConfig",
    ),
    "api.validators": (
        "ExplicitPipelineValidator",
        "SimplePipelineValidator",
    ),
    "config": (
        "PipelineSettings",
        "get_pipeline_config",
    ),
    "context": ("PipelineContext",),
    "pipeline": ("StreamingPipeline",),
    "pipeline_builder": (
        "PipelineBuilder",
        "build_pipeline",
        "ensure_windows_selector_event_loop",
        "upstream_create_pipeline",
    ),
    "pipeline_spec": (
        "PipelineOverrides",
        "PipelineSpec",
    ),
    "sink.database": ("DatabaseSinkSettings",),
    "adapters.bars_store": ("BarsStoreSink",),
    "adapters.provider_source": ("ProviderSource",),
    "adapters.sink_adapter": ("StoreSinkAdapter",),
    "batch": ("Batch",),
    "batcher.batch": ("BatchRows",),
    "dag.checkpoints.settings": ("Checkpoint", "Resume"),
    "dag.graph": ("Edge",),
    "dag.metrics": ("Ledger",),
    "dag.results": ("RunResult",),
    "dag.runtime": ("run_dag",),
    "errors": (
        "BatcherError",
        "CheckpointError",
        "CheckpointsInUseError",
        "CheckpointsUnreachableError",
        "ConfigurationError",
        "OperatorError",
        "PacingError",
        "SinkError",
        "SourceError",
        "ConfigError",
        "GraphError",
        "InputError",
        "NodeError",
        "OutputError",
        "PipelineError",
    ),
    "flow": ("Dag", "Stream", "load"),
    "operator.asof_join": ("AsofJoin",),
    "operator.assign": ("Assign",),
    "operator.bars": ("Bars",),
    "operator.clock_skew": ("ClockSkew",),
    "operator.conditions": ("Conditions",),
    "operator.dedupe": ("Dedupe",),
    "operator.filter": ("Filter",),
    "operator.interval_join": ("IntervalJoin",),
    "operator.map": ("Map",),
    "operator.quality": ("Quality",),
    "operator.router": ("Router",),
    "operator.select": ("Select",),
    "operator.sessions": ("TradingSessions",),
    "operator.sequence": ("SequenceTracker",),
    "operator.throttle": ("Throttle",),
    "operator.trades_with_quotes": ("TradesWithQuotes",),
    "operator.union": ("Union",),
    "operator.windows": ("Windows",),
    "records": ("BAR", "QUOTE", "QUOTE_BAR", "TRADE", "Field", "Flaw", "Kind", "Schema"),
    "running": ("run",),
    "sink.csv": ("CsvSink",),
    "sink.duckdb": ("DuckDBSink",),
    "sink.jsonl": ("JsonlSink",),
    "sink.memory": ("MemorySink",),
    "sink.parquet": ("ParquetSink",),
    "sink.postgres": ("PostgresSink",),
    "sink.sqlite": ("SqliteSink",),
    "source.chaos": ("ChaosSource",),
    "source.journal": ("JournalSource",),
    "source.memory": ("MemorySource",),
    "source.replay": ("ReplaySource",),
    "source.synthetic": ("SyntheticSource",),
    "symbols": ("SymbolTable",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}
_load: Final = loaded_from(__name__, _HOME_OF)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("market-data-pipeline")
    return _load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
