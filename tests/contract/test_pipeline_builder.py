"""Section 3 of the contract of version 0.8: `pipeline_builder`."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from market_data_pipeline import pipeline_builder as built
from market_data_pipeline.config import PipelineSettings
from market_data_pipeline.errors import ConfigurationError
from market_data_pipeline.pipeline_builder import (
    PipelineBuilder,
    PipelineOverrides,
    PipelineSpec,
    create_pipeline,
)
from market_data_pipeline.runners.service import PipelineSpec as ServiceSpec

SCALARS = (
    *("ticks_per_sec", "pacing_max_per_sec", "pacing_burst", "replay_path", "replay_speed"),
    *("bar_window_sec", "bar_allowed_lateness_sec", "batch_size", "max_bytes", "flush_ms"),
    *("op_queue_max", "drop_policy", "sink_workers", "sink_queue_max", "kafka_bootstrap"),
    *("kafka_topic", "database_vendor", "database_timeframe", "database_retry_max_attempts"),
    *("database_retry_backoff_ms", "database_url"),
)
REPLACED = (
    *("get_pipeline_config", "SyntheticSource", "ReplaySource", "IBKRSource", "KafkaSink"),
    *("SecondBarAggregator", "HybridBatcher", "StoreSink", "StreamingPipeline"),
    *("AsyncBatchProcessor", "PipelineBuilder"),
)


def config(**numbers: Any) -> Mock:
    """Return a config as the checks make it: a mock with a few numbers."""
    mock = Mock()
    mock.batch_size, mock.flush_ms, mock.sink_queue_max = 500, 100, 100
    for name, value in numbers.items():
        setattr(mock, name, value)
    return mock


def spec(**settings: Any) -> PipelineSpec:
    named: dict[str, Any] = {
        "tenant_id": "acme",
        "pipeline_id": "p",
        "source": "synthetic",
        "symbols": ["SPY"],
    }
    return PipelineSpec(**named | settings)


# 3.1 and 3.2


def test_overrides_default_to_none() -> None:
    """All 21 scalar fields, and the two objects."""
    made = PipelineOverrides()
    assert len(SCALARS) == 21
    assert [getattr(made, name) for name in SCALARS] == [None] * 21
    assert made.database_settings is None
    assert made.database_processor is None
    assert {f.name for f in dataclasses.fields(made)} == {
        *SCALARS,
        "database_settings",
        "database_processor",
    }


def test_overrides_are_values() -> None:
    """They hold what they are given, and are equal if all of it is."""
    made = PipelineOverrides(batch_size=0, drop_policy="newest", replay_path="x.csv")
    assert (made.batch_size, made.drop_policy, made.replay_path) == (0, "newest", "x.csv")
    assert made == PipelineOverrides(batch_size=0, drop_policy="newest", replay_path="x.csv")
    assert made != PipelineOverrides()


def test_spec_defaults() -> None:
    """What is not given has the documented default."""
    made = PipelineSpec(tenant_id="acme", pipeline_id="p", source="synthetic")
    assert (made.symbols, made.duration_sec) == ([], None)
    assert (made.operator, made.sink) == ("bars", "store")
    assert made.overrides == PipelineOverrides()
    assert made == PipelineSpec("acme", "p", "synthetic")


def test_spec_may_hold_anything() -> None:
    """Validation is the builder's affair."""
    made = PipelineSpec(tenant_id="", pipeline_id="", source="nothing", sink="nowhere")
    assert made.source == "nothing"


def test_one_spec_has_both_spellings() -> None:
    """The names of the service of 0.8 make the same spec."""
    made = PipelineSpec(
        *("acme", "p"),
        source_type="replay",
        symbols=["SPY"],
        rate=0,
        replay_path="x.csv",
        operator_type="options",
        sink_type="kafka",
        duration_sec=3,
        extra={"kafka_topic": "t"},
    )
    assert made == PipelineSpec(
        *("acme", "p", "replay", ["SPY"], 3, "options", "kafka"),
        PipelineOverrides(ticks_per_sec=0, replay_path="x.csv", kafka_topic="t"),
    )
    assert (made.source_type, made.operator_type, made.sink_type) == ("replay", "options", "kafka")
    assert made.rate == 0


def test_service_spec_is_the_same_in_its_own_order() -> None:
    """The service of 0.8 takes the rate as its fifth argument, not the duration."""
    made = ServiceSpec("acme", "p", "replay", ["SPY"], 50, "x.csv", 3.0, "bars", "kafka", {})
    assert isinstance(made, PipelineSpec)
    assert (made.rate, made.duration_sec, made.sink) == (50, 3.0, "kafka")
    assert (made.source, made.overrides.replay_path) == ("replay", "x.csv")
    least = ServiceSpec("acme", "p", "synthetic", ["SPY"])
    assert (least.operator_type, least.sink_type, least.rate) == ("bars", "store", None)
    assert dataclasses.replace(made, sink="database", operator="options").sink == "database"
    assert ServiceSpec("acme", "p", source="synthetic", sink="database").sink == "database"


# 3.3


def test_cfg_reads_dictionaries_and_objects() -> None:
    """`.get` of a dictionary, else an attribute; None where there is none."""
    assert built._cfg({"a": 1}, "a") == 1
    assert built._cfg({}, "a") is None
    assert built._cfg({}, "a", 2) == 2
    assert built._cfg(Mock(a=3), "a") == 3
    assert built._cfg(object(), "a", 4) == 4
    assert built._cfg(None, "a") is None


def test_selector_loop_is_no_affair_of_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Windows no event loop is asked for or set."""
    touched = Mock()
    monkeypatch.setattr(asyncio, "get_event_loop", touched)
    monkeypatch.setattr(asyncio, "set_event_loop", touched)
    monkeypatch.setattr(sys, "platform", "linux")
    assert built.ensure_windows_selector_event_loop() is None  # type: ignore[func-returns-value]
    touched.assert_not_called()


def test_map_backpressure() -> None:
    """Words of drop policies become those of sinks; others pass."""
    assert [built._map_backpressure(v) for v in ("", None, "oldest", "newest", "block", "x")] == [
        *("block", "block", "drop_oldest", "drop_newest", "block", "x")
    ]


# 3.4


@pytest.mark.parametrize("name", REPLACED)
def test_parts_are_names_of_the_module(name: str) -> None:
    """Each can be replaced."""
    assert hasattr(built, name)


def test_builder_takes_the_config_or_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config given, else what `get_pipeline_config` of this module says."""
    given = config()
    assert PipelineBuilder(given).cfg is given
    assert PipelineBuilder(config=given).cfg is given
    found = config()
    monkeypatch.setattr(built, "get_pipeline_config", lambda: found)
    assert PipelineBuilder().cfg is found


@pytest.mark.parametrize("name", ["batch_size", "flush_ms", "sink_queue_max"])
@pytest.mark.parametrize("value", [0, -1])
def test_builder_refuses_numbers_that_cannot_be(name: str, value: int) -> None:
    """Three numbers must be positive; nothing else of a mock is compared."""
    with pytest.raises(ConfigurationError, match=f"{name} must be > 0"):
        PipelineBuilder(config(**{name: value}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tenant_id": ""}, "tenant_id and pipeline_id are required"),
        ({"pipeline_id": ""}, "tenant_id and pipeline_id are required"),
        ({"source": "x"}, "source must be one of: synthetic, replay, ibkr"),
        ({"operator": "x"}, "operator must be one of: bars, options"),
        ({"sink": "x"}, "sink must be one of: store, kafka"),
    ],
)
def test_spec_is_validated(settings: dict[str, Any], said: str) -> None:
    """What cannot be is refused with the words of 0.8."""
    builder = PipelineBuilder(config())
    with pytest.raises(ConfigurationError, match=said):
        builder._validate_spec(spec(**settings))
    assert builder._validate_spec(spec()) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("replaced", "settings", "said"),
    [
        (("ReplaySource", "AsyncBatchProcessor"), {"source": "replay"}, "ReplaySource not avail"),
        (("IBKRSource",), {"source": "ibkr"}, "IBKRSource not available"),
        ((), {"symbols": []}, "synthetic source requires symbols"),
        ((), {"source": "ibkr", "symbols": []}, "ibkr source requires symbols"),
        ((), {"source": "replay"}, "^replay source requires"),
        (("KafkaSink",), {"sink": "kafka"}, "KafkaSink not available"),
        (
            ("AsyncBatchProcessor",),
            {"sink": "store"},
            "market_data_store AsyncBatchProcessor not installed",
        ),
    ],
)
def test_build_says_what_is_missing(
    replaced: tuple[str, ...],
    settings: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sources are looked at before sinks, and before anything is made of a mock's numbers."""
    for name in replaced:
        monkeypatch.setattr(built, name, None)
    with pytest.raises(ConfigurationError, match=said):
        PipelineBuilder(config(replay_path=None)).build(spec(**settings))


def test_kafka_needs_brokers_and_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Either missing is said, after the sink is known to be there."""
    monkeypatch.setattr(built, "KafkaSink", Mock())
    cfg = config(kafka_bootstrap_servers=None, kafka_topic=None)
    for overrides in ({}, {"kafka_bootstrap": "b:9092"}, {"kafka_topic": "t"}):
        with pytest.raises(
            ConfigurationError, match="kafka sink requires kafka_bootstrap and kafka_topic"
        ):
            PipelineBuilder(cfg).build(
                spec(sink="kafka", overrides=PipelineOverrides(**overrides))  # type: ignore[arg-type]
            )


@pytest.mark.parametrize("source", ["synthetic", "replay", "ibkr"])
def test_each_part_is_made_once_and_without_a_loop(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building awaits nothing; the batch processor is made when the sink starts."""
    parts = {name: Mock() for name in REPLACED[1:9] if name != "KafkaSink"}
    processor = Mock(from_env_async=AsyncMock(return_value="processor"), from_env=Mock())
    for name, part in (parts | {"AsyncBatchProcessor": processor}).items():
        monkeypatch.setattr(built, name, part)
    pipeline = PipelineBuilder(config()).build(spec(source=source))
    chosen = {"synthetic": "SyntheticSource", "replay": "ReplaySource", "ibkr": "IBKRSource"}
    parts[chosen[source]].assert_called_once()
    for name in ("SecondBarAggregator", "HybridBatcher", "StoreSink", "StreamingPipeline"):
        parts[name].assert_called_once()
    assert pipeline is parts["StreamingPipeline"].return_value
    processor.from_env_async.assert_not_awaited()
    deferred = parts["StoreSink"].call_args.args[0]
    assert asyncio.run(deferred.resolve()) == "processor"


def test_replay_and_ibkr_are_made_for_real() -> None:
    """The two whose calls failed in 0.8: by path and speed, and with a rate."""
    builder = PipelineBuilder(PipelineSettings())
    overrides = PipelineOverrides(replay_path="x.csv", replay_speed=2.0)
    replay = builder.build(spec(source="replay", sink="database", overrides=overrides))
    assert (replay.source.path, replay.source.speed) == ("x.csv", 2.0)
    ibkr = builder.build(spec(source="ibkr", sink="database"))
    assert ibkr.source.symbols == ("SPY",)


def test_build_and_run_closes_once() -> None:
    """It builds, runs for as long as the spec says, and closes exactly once."""
    builder = PipelineBuilder(config())
    pipeline = MagicMock(run=AsyncMock(), close=AsyncMock())
    build = Mock(return_value=pipeline)
    builder.build = build  # type: ignore[method-assign]
    wanted = spec(duration_sec=1.5)
    asyncio.run(builder.build_and_run(wanted))
    build.assert_called_once_with(wanted)
    pipeline.run.assert_awaited_once_with(duration_sec=1.5)
    pipeline.close.assert_awaited_once_with()


# 3.5


def test_create_pipeline_goes_through_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    """One builder with the config, one call with the spec."""
    builder = Mock()
    monkeypatch.setattr(built, "PipelineBuilder", builder)
    cfg = config()
    made = create_pipeline(
        "acme", "p", source="synthetic", symbols=["SPY"], overrides={"batch_size": 0}, config=cfg
    )
    builder.assert_called_once_with(config=cfg)
    assert made is builder.return_value.build.return_value
    (wanted,) = builder.return_value.build.call_args.args
    assert wanted == spec(overrides=PipelineOverrides(batch_size=0))


def test_overrides_may_be_a_mapping_or_an_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance is passed on; an unknown key of a mapping is refused."""
    builder = Mock()
    monkeypatch.setattr(built, "PipelineBuilder", builder)
    given = PipelineOverrides(flush_ms=5)
    create_pipeline("acme", "p", source="synthetic", overrides=given)
    assert builder.return_value.build.call_args.args[0].overrides is given
    with pytest.raises(ConfigurationError, match="did you mean `flush_ms`"):
        create_pipeline("acme", "p", source="synthetic", overrides={"flush_m": 5})


def test_database_pipeline_needs_no_client_and_no_loop() -> None:
    """Defaults come from the environment; the result knows its owner."""
    made = create_pipeline("acme", "p", source="synthetic", symbols=["SPY"], sink="database")
    assert (made.ctx.tenant_id, made.ctx.pipeline_id) == ("acme", "p")


# 3.6


def test_zero_counts_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """An override of 0 wins over the config, and one of the environment over the default."""
    overrides = PipelineOverrides(ticks_per_sec=0, flush_ms=0, pacing_burst=0, max_bytes=0)
    made = PipelineBuilder(PipelineSettings()).build(spec(sink="database", overrides=overrides))
    assert made.source.ticks_per_sec == 0
    assert made.source.pacing_budget == (1000, 0)
    assert (made.batcher.flush_ms, made.batcher.max_bytes) == (0, 0)
    monkeypatch.setenv("PIPELINE_TICKS_PER_SEC", "0")
    monkeypatch.setenv("PIPELINE_SINK_WORKERS", "0")
    made = PipelineBuilder().build(spec(sink="database"))
    assert (made.source.ticks_per_sec, made.sink.settings.workers) == (0, 0)


def test_config_may_be_a_dictionary() -> None:
    """What a dictionary does not say has the builder's own default."""
    made = PipelineBuilder({"batch_size": 7}).build(spec(sink="database"))
    assert (made.batcher.max_rows, made.batcher.max_bytes, made.batcher.flush_ms) == (
        *(7, 512_000, 100),
    )
    assert (made.source.ticks_per_sec, made.sink.settings.queue_max) == (100, 200)


def test_words_of_sinks_and_numbers_of_overrides() -> None:
    """A drop policy may be told as a sink tells it; what cannot be is refused early."""
    builder = PipelineBuilder(PipelineSettings())
    overrides = PipelineOverrides(drop_policy="drop_newest")
    made = builder.build(spec(sink="database", overrides=overrides))
    assert made.sink.settings.backpressure_policy == "drop_newest"
    assert made.batcher.drop_policy == "newest"
    for name in ("batch_size", "sink_queue_max"):
        with pytest.raises(ConfigurationError, match=f"{name} must be > 0"):
            builder.build(spec(sink="database", overrides=PipelineOverrides(**{name: 0})))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="drop_policy must be one of"):
        builder.build(spec(sink="database", overrides=PipelineOverrides(drop_policy="some")))
