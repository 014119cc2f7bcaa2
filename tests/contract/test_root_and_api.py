"""Sections 1 and 2 of the contract of version 0.8: root exports and `api`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline import api
from market_data_pipeline.errors import ConfigurationError, PipelineError
from market_data_pipeline.pacing import Budget
from market_data_pipeline.pipeline_builder import PipelineOverrides
from market_data_pipeline.sink.database import DatabaseSinkSettings

ROOT = (
    "StreamingPipeline",
    "create_pipeline",
    "create_explicit_pipeline",
    "SimplePipelineFactory",
    "ExplicitPipelineFactory",
    "simple_factory",
    "explicit_factory",
    "SimplePipelineConfig",
    "ExplicitPipelineConfig",
    "DropPolicy",
    "BackpressurePolicy",
    "SimplePipelineValidator",
    "ExplicitPipelineValidator",
    "SimplePipelineConfigBuilder",
    "ExplicitPipelineConfigBuilder",
    "DatabaseSinkSettings",
    "PipelineContext",
    "get_pipeline_config",
    "PipelineSettings",
    "PipelineBuilder",
    "PipelineSpec",
    "PipelineOverrides",
    "upstream_create_pipeline",
    "ensure_windows_selector_event_loop",
    "PipelineError",
    "ConfigurationError",
    "SourceError",
    "OperatorError",
    "BatcherError",
    "SinkError",
    "PacingError",
    "build_pipeline",
)

URL = "postgresql://someone:secret@nowhere.invalid/bars"


def simple(**settings: Any) -> api.SimplePipelineConfig:
    named: dict[str, Any] = {"tenant_id": "acme", "pipeline_id": "p", "symbols": ["SPY"]}
    return api.SimplePipelineConfig(**named | settings)


def explicit(**settings: Any) -> api.ExplicitPipelineConfig:
    named: dict[str, Any] = {"tenant_id": "acme", "pipeline_id": "p", "symbols": ["SPY"]}
    return api.ExplicitPipelineConfig(**named | settings)


@pytest.mark.parametrize("name", ROOT)
def test_root_exports(name: str) -> None:
    """Each name of version 0.8 is in `__all__` and can be had."""
    assert name in mdp.__all__
    assert getattr(mdp, name) is not None


def test_root_has_no_orchestration_names() -> None:
    """Orchestration and graph names of 0.8 are not in the root's `__all__`."""
    names = {"PipelineRuntime", "CircuitBreaker", "RateCoordinator", "SourceRouter"}
    assert not names & set(mdp.__all__)


def test_there_are_two_functions_named_create_pipeline() -> None:
    """The root's is that of `api`; the builder's has a name of its own."""
    from market_data_pipeline import pipeline_builder

    assert mdp.create_pipeline is api.create_pipeline
    assert mdp.upstream_create_pipeline is pipeline_builder.create_pipeline


def test_everything_imports_without_an_optional_package() -> None:
    """The surface can be imported and used where no optional package is installed."""
    code = """
import sys
for name in ("market_data_core", "market_data_store", "market_data_ibkr", "datastore",
             "mds_client", "psycopg", "confluent_kafka", "aiokafka", "fastapi", "uvicorn",
             "opentelemetry", "polars", "msgpack", "fsspec", "exchange_calendars"):
    sys.modules[name] = None
import market_data_pipeline as mdp
for name in mdp.__all__:
    getattr(mdp, name)
from market_data_pipeline import pipeline_builder as built
assert built.AsyncBatchProcessor is None and built.KafkaSink is None
pipeline = mdp.create_pipeline("acme", "p", database_url="postgresql://nowhere.invalid/x")
assert pipeline.ctx.tenant_id == "acme"
built.create_pipeline("acme", "p", source="synthetic", symbols=["A"], sink="database")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# 2.1


def test_policies() -> None:
    """The values of the two enumerations."""
    drops: list[Any] = list(api.DropPolicy)
    assert [p.value for p in drops] == ["oldest", "newest", "block"]
    policies: list[Any] = list(api.BackpressurePolicy)
    assert [p.value for p in policies] == ["drop_oldest", "drop_newest", "block"]


def test_defaults_of_simple_config() -> None:
    """What is not given has the documented default."""
    cfg: Any = simple()
    assert (cfg.source, cfg.operator, cfg.sink) == ("synthetic", "bars", "database")
    assert (cfg.duration_sec, cfg.database_url) == (None, None)
    assert (cfg.ticks_per_sec, cfg.batch_size, cfg.flush_ms) == (10, 500, 1000)
    assert cfg.pacing_budget == (1000, 1000)
    assert cfg.drop_policy is api.DropPolicy.OLDEST
    assert (cfg.sink_workers, cfg.sink_queue_max) == (2, 200)
    assert (cfg.database_vendor, cfg.database_timeframe) == ("market_data_core", "1s")
    assert (cfg.database_retry_max_attempts, cfg.database_retry_backoff_ms) == (5, 50)


def test_defaults_of_explicit_config() -> None:
    """It has more settings, and no named parts."""
    cfg = explicit()
    assert (cfg.max_bytes, cfg.op_queue_max) == (512_000, 8)
    assert (cfg.bar_window_sec, cfg.bar_allowed_lateness_sec) == (1, 0)
    assert (cfg.batch_size, cfg.flush_ms, cfg.database_vendor) == (500, 1000, "market_data_core")
    assert not {"source", "operator", "sink", "duration_sec"} & set(vars(cfg))


# 2.2


@pytest.mark.parametrize(
    ("validator", "make"),
    [(api.SimplePipelineValidator, simple), (api.ExplicitPipelineValidator, explicit)],
)
def test_validators(validator: Any, make: Any) -> None:
    """A sound config passes; an empty list of symbols is built, and refused."""
    assert validator().validate(make()) is None
    with pytest.raises(ValueError, match="symbols list cannot be empty"):
        validator().validate(make(symbols=[]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tenant_id": ""}, "tenant_id"),
        ({"pipeline_id": ""}, "pipeline_id"),
        ({"symbols": ["A", " "]}, "not blank"),
        ({"ticks_per_sec": 0}, "ticks_per_sec"),
        ({"batch_size": 0}, "batch_size"),
        ({"flush_ms": -1}, "flush_ms"),
        ({"sink_workers": 0}, "sink_workers"),
        ({"sink_queue_max": 0}, "sink_queue_max"),
        ({"database_retry_max_attempts": -1}, "database_retry_max_attempts"),
        ({"database_retry_backoff_ms": -1}, "database_retry_backoff_ms"),
        ({"pacing_budget": (-1, 5)}, "max_msgs_per_sec"),
    ],
)
def test_validators_name_the_setting(settings: dict[str, Any], said: str) -> None:
    """A setting that cannot be is refused by name."""
    with pytest.raises(PipelineError, match=said):
        api.SimplePipelineValidator().validate(simple(**settings))
    with pytest.raises(PipelineError, match=said):
        api.ExplicitPipelineValidator().validate(explicit(**settings))


@pytest.mark.parametrize("name", ["max_bytes", "op_queue_max", "bar_window_sec"])
def test_explicit_validator_knows_more(name: str) -> None:
    """What only an explicit config has is looked at too."""
    with pytest.raises(ValueError, match=name):
        api.ExplicitPipelineValidator().validate(explicit(**{name: 0}))


# 2.3


def test_simple_config_builder() -> None:
    """It gives real overrides with policies as words, and settings of the database."""
    made = api.SimplePipelineConfigBuilder().build(simple(batch_size=7))
    assert isinstance(made, PipelineOverrides)
    assert (made.batch_size, made.drop_policy) == (7, "oldest")
    assert isinstance(made.database_settings, DatabaseSinkSettings)
    assert made.database_settings.vendor == "market_data_core"
    assert made.database_settings.backpressure_policy == "drop_oldest"


def test_explicit_config_builder() -> None:
    """It gives the arguments of each part."""
    made = api.ExplicitPipelineConfigBuilder().build(explicit(batch_size=7, bar_window_sec=5))
    assert set(made) == {
        *("context", "source_config", "operator_config", "batcher_config", "sink_config")
    }
    assert made["batcher_config"]["max_rows"] == 7
    assert made["operator_config"]["window_sec"] == 5


def test_pacing_budget_is_rate_and_burst_everywhere() -> None:
    """The pair means the same in overrides and in the source."""
    overrides = api.SimplePipelineConfigBuilder().build(simple(pacing_budget=(30, 5)))
    assert (overrides.pacing_max_per_sec, overrides.pacing_burst) == (30, 5)
    made = api.ExplicitPipelineConfigBuilder().build(explicit(pacing_budget=Budget(30, 5)))
    assert made["source_config"]["pacing_budget"] == Budget(30, 5)
    pipeline = api.explicit_factory.create(explicit(pacing_budget=(30, 5)))
    assert pipeline.source.pacing_budget == (30, 5)


def test_database_url_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's own, else the environment's, else one on this machine."""
    build = api.SimplePipelineConfigBuilder().build
    assert str(build(simple()).database_url).startswith("postgresql://localhost")
    monkeypatch.setenv("DATABASE_URL", "postgresql://env.invalid/x")
    assert build(simple()).database_url == "postgresql://env.invalid/x"
    assert build(simple(database_url=URL)).database_url == URL


# 2.4


def test_factories_make_pipelines_without_a_loop() -> None:
    """Both factories, and the two of the module, give a pipeline that knows its owner."""
    for pipeline in (
        api.SimplePipelineFactory().create(simple()),
        api.simple_factory.create(simple()),
        api.ExplicitPipelineFactory().create(explicit()),
        api.explicit_factory.create(explicit()),
    ):
        assert isinstance(pipeline, mdp.StreamingPipeline)
        assert (pipeline.ctx.tenant_id, pipeline.ctx.pipeline_id) == ("acme", "p")


def test_create_pipeline_in_one_call() -> None:
    """The documented arguments are taken, and symbols have a default."""
    pipeline = api.create_pipeline(
        *("acme", "p"),
        symbols=["SPY"],
        source="synthetic",
        sink="database",
        batch_size=7,
        drop_policy="newest",
        database_url=URL,
    )
    assert (pipeline.ctx.tenant_id, pipeline.ctx.pipeline_id) == ("acme", "p")
    assert pipeline.batcher.max_rows == 7
    assert pipeline.sink.settings.backpressure_policy == "drop_newest"
    assert api.create_pipeline("acme", "p").source.symbols == ("AAPL", "MSFT", "GOOGL")
    assert api.create_explicit_pipeline("acme", "p").source.symbols == ("AAPL", "MSFT", "GOOGL")


def test_unknown_arguments_are_refused() -> None:
    """A typo does not vanish."""
    create: Any = api.create_pipeline
    with pytest.raises((TypeError, ConfigurationError), match="did you mean `batch_size`"):
        create("acme", "p", batchsize=7)
    explicit_create: Any = api.create_explicit_pipeline
    with pytest.raises((TypeError, ConfigurationError), match="batchsize"):
        explicit_create("acme", "p", batchsize=7)


def test_secrets_are_not_shown() -> None:
    """A URL with a password is in no representation."""
    overrides = api.SimplePipelineConfigBuilder().build(simple(database_url=URL))
    for shown in (simple(database_url=URL), overrides, api.create_pipeline("a", "p")):
        assert "secret" not in repr(shown)


@pytest.mark.parametrize(
    ("package", "names"),
    [
        ("source", "SyntheticSource ReplaySource IBKRSource TickSource SourceStatus"),
        ("operator", "SecondBarAggregator OptionsChainOperator Operator StatefulOperator"),
        ("batcher", "HybridBatcher"),
        ("sink", "StoreSink DatabaseSink DatabaseSinkSettings KafkaSink Sink SinkCapabilities"),
        ("orchestration", "RateCoordinator SourceRegistry SourceRouter PipelineRuntime"),
    ],
)
def test_packages_offer_their_names(package: str, names: str) -> None:
    """What a part is called can be had from its package; another name is told as such."""
    found = importlib.import_module(f"market_data_pipeline.{package}")
    for name in names.split():
        assert name in found.__all__
        assert callable(getattr(found, name))
    with pytest.raises(AttributeError, match="nothing_of_the_sort"):
        _ = found.nothing_of_the_sort
