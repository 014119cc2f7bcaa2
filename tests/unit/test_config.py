"""Settings come from code, the environment, a file and the defaults, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from market_data_pipeline.config import (
    PipelineSettings,
    get_config,
    get_global_config,
    get_pipeline_config,
    load_config,
    set_global_config,
)
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.errors import ConfigError, MissingInputError


def test_defaults_are_those_of_version_0_8() -> None:
    """Without an environment every field has the documented default."""
    found = PipelineSettings()
    assert (found.batch_size, found.flush_ms, found.max_bytes) == (500, 100, 512_000)
    assert (found.op_queue_max, found.drop_policy) == (8, "oldest")
    assert (found.sink_queue_max, found.sink_workers) == (16, 2)
    assert (found.pacing_max_per_sec, found.pacing_burst, found.ticks_per_sec) == (1000, 1000, 100)
    assert (found.replay_path, found.replay_speed) == (None, 1.0)
    assert (found.bar_window_sec, found.bar_allowed_lateness_sec) == (1, 0)
    assert found.database_vendor == "market_data_pipeline"
    assert (found.ibkr_host, found.ibkr_port, found.ibkr_client_id) == (None, 7497, 1)


def test_environment_in_any_case_and_explicit_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of any case is read, and a 0 counts as given."""
    monkeypatch.setenv("PIPELINE_TICKS_PER_SEC", "0")
    monkeypatch.setenv("pipeline_flush_ms", "7")
    monkeypatch.setenv("PIPELINE_DROP_POLICY", "block")
    found = get_pipeline_config()
    assert (found.ticks_per_sec, found.flush_ms, found.drop_policy) == (0, 7, "block")


def test_environment_wins_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gives what the environment does not."""
    file = tmp_path / "settings.yaml"
    file.write_text("batch_size: 3\nflush_ms: 9\n")
    monkeypatch.setenv("PIPELINE_FLUSH_MS", "7")
    found = load_config(file)
    assert (found.batch_size, found.flush_ms, found.max_bytes) == (3, 7, 512_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch_sizes: 3", "there is no setting `batch_sizes`; did you mean `batch_size`"),
        ("drop_policy: latest", "settings.yaml: `drop_policy`: input should be 'oldest'"),
        ("- 3", "a mapping of field to value, was a list"),
        ("a: [", "neither YAML nor JSON"),
    ],
)
def test_wrong_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    """A wrong file is named, with what is wrong in it."""
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert said in str(caught.value)
    assert "settings.yaml" in str(caught.value)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A file that there is not is not taken for an empty one."""
    with pytest.raises(MissingInputError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_wrong_environment_is_told_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named; its value, which may be a secret, is not."""
    monkeypatch.setenv("PIPELINE_BATCH_SIZE", "hunter2")
    with pytest.raises(ConfigError, match="PIPELINE_BATCH_SIZE") as caught:
        load_config()
    assert "hunter2" not in str(caught.value)


def test_database_url_is_not_shown() -> None:
    """The URL may hold a password."""
    assert "hunter2" not in repr(PipelineSettings(database_url="postgresql://u:hunter2@h/d"))


def test_global_settings_are_those_of_the_process() -> None:
    """What is set is returned by all doors, until it is taken back."""
    own = PipelineSettings(batch_size=3)
    set_global_config(own)
    try:
        assert get_global_config() is own
        assert get_config() is own
        assert get_pipeline_config() is own
    finally:
        set_global_config(None)
    assert get_pipeline_config().batch_size == 500


def test_idempotency_key_names_the_window() -> None:
    """The key is made of tenant, pipeline, symbol and window."""
    context = PipelineContext("acme", "p", labels={"a": "b"})
    assert context.get_idempotency_key("SPY", "2024-01-02") == "acme:p:SPY:2024-01-02"
