from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings

FILE = """
max_concurrent_pipelines: 3
circuit_breaker_threshold: 7
providers:
  ibkr: {capacity: 45, cooldowns: {"162": 60}}
dag:
  drain_timeout_s: 5
  feedback: {soft_at: 0.6}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "runtime.yaml"
    path.write_text(FILE)
    return path


def test_later_layers_win(file: Path) -> None:
    """Defaults, then the file, then the environment, then code."""
    environment = {
        "MDP_CIRCUIT_BREAKER_THRESHOLD": "8",
        "MDP_DAG__DRAIN_TIMEOUT_S": "6",
        "MDP_PROVIDERS__IBKR__CAPACITY": "40",
        "MDP_ENABLE_RATE_COORDINATION": "false",
        "MDP_DATA_DIR": "/of/somebody/else",
    }
    settings = PipelineRuntimeSettings.load(
        file, environment=environment, dag={"drain_timeout_s": 7}, max_concurrent_pipelines=4
    )
    assert settings.circuit_breaker_timeout_sec == 60.0
    assert settings.circuit_breaker_threshold == 8
    assert settings.max_concurrent_pipelines == 4
    assert settings.enable_rate_coordination is False
    assert settings.dag.drain_timeout_s == 7
    assert settings.dag.feedback.soft_at == 0.6
    assert settings.providers["ibkr"].capacity == 40
    assert settings.providers["ibkr"].cooldowns == {"162": 60}


def test_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PipelineRuntimeSettings()` is the defaults, whatever the environment says."""
    monkeypatch.setenv("MDP_MAX_CONCURRENT_PIPELINES", "4")
    assert PipelineRuntimeSettings().max_concurrent_pipelines == 10
    assert PipelineRuntimeSettings.load().max_concurrent_pipelines == 4


def test_zero_is_a_value() -> None:
    """A zero in the environment is not taken for nothing."""
    environment = {"MDP_CIRCUIT_BREAKER_TIMEOUT_SEC": "0", "MDP_DAG__FINISHED_KEPT": "0"}
    settings = PipelineRuntimeSettings.load(environment=environment)
    assert settings.circuit_breaker_timeout_sec == 0
    assert settings.dag.finished_kept == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dag": {"drain": 1}}, r"there is no setting `dag.drain`; did you mean `drain_timeout"),
        ({"dag": {"feedback": {"soft_at": 0.95}}}, "the thresholds must rise"),
        ({"providers": {"x": {"capacty": 1}}}, "did you mean `capacity`"),
        ({"max_concurrent_pipelines": 0}, "`max_concurrent_pipelines`: .* greater than or equal"),
        ({"max_pipelines": 3}, "there is no setting `max_pipelines`; did you mean"),
    ],
)
def test_setting_that_is_none_is_refused(given: dict[str, Any], message: str) -> None:
    """The message names the setting and what it might have been."""
    with pytest.raises(ConfigError, match=message):
        PipelineRuntimeSettings.load(environment={}, **given)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MDP_DAG__DRAIN_TIMEOUT", "1", "did you mean `drain_timeout_s`"),
        ("MDP_DAG", "1", "`dag`: "),
        ("MDP_MAX_CONCURRENT_PIPELINES", " ", "is empty; unset it"),
        ("MDP_MAX_CONCURRENT_PIPELINES", "many", "`max_concurrent_pipelines`"),
    ],
)
def test_variable_that_cannot_be_is_refused(name: str, text: str, message: str) -> None:
    """A typing error in the environment is told, not passed over."""
    with pytest.raises(ConfigError, match=message):
        PipelineRuntimeSettings.load(environment={name: text})


def test_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """A file that is missing or no mapping is told by its name."""
    with pytest.raises(ConfigError, match=r"nowhere.yaml` cannot be read: No such file"):
        PipelineRuntimeSettings.load(tmp_path / "nowhere.yaml", environment={})
    path = tmp_path / "list.yaml"
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="expected a mapping of settings, found a list"):
        PipelineRuntimeSettings.load(path, environment={})
