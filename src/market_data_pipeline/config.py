"""Settings of version 0.8's pipelines, from the environment (`PIPELINE_...`) or a file."""

from __future__ import annotations

__all__ = (
    "DropPolicyName",
    "PipelineSettings",
    "get_config",
    "get_global_config",
    "get_pipeline_config",
    "load_config",
    "set_global_config",
)

from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from market_data_pipeline.errors import ConfigError, MissingInputError, nearest

DropPolicyName: TypeAlias = Literal["oldest", "newest", "block"]
"""What a full queue does: shed its oldest, shed the newest, or make the sender wait."""


class PipelineSettings(BaseSettings):
    """One field, one environment variable: `PIPELINE_` and its name, in any case.

    What is given in code wins over the environment, and that over the defaults. A 0 counts
    as given. Those of metrics, traces, the log and the pool are read and checked, but
    nothing asks for them.

    Attributes:
        batch_size: Bars in one write to a sink.
        flush_ms: Milliseconds after which fewer are written too.
        max_bytes: Bytes of bars in one write.
        op_queue_max: Bars that may wait to be gathered; never fewer than `batch_size` count.
        drop_policy: What a full queue does.
        sink_queue_max: Writes that may wait in a sink.
        sink_workers: Writes under way at once.
        pacing_max_per_sec: Messages a source may take in a second.
        pacing_burst: Messages it may take at once.
        ticks_per_sec: Ticks a synthetic source makes in a second.
        replay_path: File to replay.
        replay_speed: Seconds of event time in one second.
        bar_window_sec: Seconds a bar covers.
        bar_allowed_lateness_sec: Seconds past its end in which a bar takes rows.
        enable_metrics: Keep counters.
        enable_tracing: Keep traces.
        telemetry_enabled: Keep either at all.
        metrics_port: Port on which counters are served.
        log_level: Least level that is logged.
        log_format: Lines of JSON or of text.
        database_url: Where the database is; it may hold a password, so it is never shown.
        database_pool_size: Connections at once.
        database_vendor: Vendor written to each row.
        database_timeframe: Timeframe written to each row.
        database_retry_max_attempts: Tries of one write.
        database_retry_backoff_ms: Milliseconds before the second try; they double.
        kafka_bootstrap_servers: Brokers, as `host:port,host:port`.
        kafka_topic: Topic to write to.
        ibkr_host: Host of the gateway.
        ibkr_port: Its port.
        ibkr_client_id: Our number there.
    """

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_",
        case_sensitive=False,
        extra="forbid",
        hide_input_in_errors=True,
        validate_assignment=True,
    )

    # The builder says what it needs to be above 0.
    batch_size: int = 500
    flush_ms: int = 100
    max_bytes: int = Field(default=512_000, ge=0)
    op_queue_max: int = Field(default=8, ge=0)
    drop_policy: DropPolicyName = "oldest"

    sink_queue_max: int = 16
    sink_workers: int = Field(default=2, ge=0)

    pacing_max_per_sec: int = Field(default=1000, ge=0)
    pacing_burst: int = Field(default=1000, ge=0)
    ticks_per_sec: int = Field(default=100, ge=0)

    replay_path: str | None = None
    replay_speed: float = Field(default=1.0, ge=0)

    bar_window_sec: int = Field(default=1, ge=0)
    bar_allowed_lateness_sec: int = Field(default=0, ge=0)

    enable_metrics: bool = True
    enable_tracing: bool = False
    telemetry_enabled: bool = True
    metrics_port: int = Field(default=8080, ge=0, le=65_535)
    log_level: str = "INFO"
    log_format: Literal["json", "text"] = "json"

    database_url: str | None = Field(default=None, repr=False)
    database_pool_size: int = Field(default=10, ge=0)
    database_vendor: str = "market_data_pipeline"
    database_timeframe: str = "1s"
    database_retry_max_attempts: int = Field(default=5, ge=0)
    database_retry_backoff_ms: int = Field(default=50, ge=0)

    kafka_bootstrap_servers: str | None = None
    kafka_topic: str | None = None

    ibkr_host: str | None = None
    ibkr_port: int = Field(default=7497, ge=0, le=65_535)
    ibkr_client_id: int = 1


class _Global:
    settings: PipelineSettings | None = None


def get_global_config() -> PipelineSettings:
    """Return the settings given to `set_global_config`, else those of the environment.

    Raises:
        ConfigError: If the environment holds a value that cannot be.
    """
    return _Global.settings if _Global.settings is not None else load_config()


def set_global_config(cfg: PipelineSettings | None) -> None:
    """Let these settings be those of the process; None for the environment's again."""
    _Global.settings = cfg


def get_config() -> PipelineSettings:
    """Return the settings of the process; see `get_global_config`."""
    return get_global_config()


def get_pipeline_config() -> PipelineSettings:
    """Return the settings of the process; see `get_global_config`."""
    return get_global_config()


def load_config(path: str | PathLike[str] | None = None) -> PipelineSettings:
    """Read settings from the environment, and from a YAML or JSON file below it.

    Args:
        path: The file, a mapping of field to value; None for the environment alone.

    Raises:
        MissingInputError: If there is no such file.
        ConfigError: If it is no mapping, names a field that there is not, or a value
            cannot be.
    """
    given = {} if path is None else _read(Path(path))
    place = "" if path is None else f"{path}: "
    try:
        if not given:
            return PipelineSettings()
        # What the environment sets wins over the file.
        environment = {
            name: getattr(found, name)
            for found in (PipelineSettings(),)
            for name in found.model_fields_set
        }
        return PipelineSettings(**{**given, **environment})
    except ValidationError as err:
        raise _config_error(place, err) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        msg = "there is no such file of settings"
        raise MissingInputError(msg, place=str(path)) from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        msg = f"{path}{line}: neither YAML nor JSON"
        raise ConfigError(msg) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        msg = f"{path}: settings are a mapping of field to value, was a {type(found).__name__}"
        raise ConfigError(msg)
    return {str(name): value for name, value in found.items()}


def _config_error(place: str, err: ValidationError) -> ConfigError:
    # The value is left out: it may be a secret.
    found = err.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(found["loc"][0])
    if found["type"] == "extra_forbidden":
        hint = nearest(name, PipelineSettings.model_fields)
        return ConfigError(f"{place}there is no setting `{name}`{hint}", parameter=name)
    said = found["msg"][:1].lower() + found["msg"][1:]
    where = "" if place else f" (environment variable `PIPELINE_{name.upper()}`)"
    return ConfigError(f"{place}`{name}`{where}: {said}", parameter=name)
