"""Which configs can run."""

from __future__ import annotations

__all__ = ("ExplicitPipelineValidator", "SimplePipelineValidator")

from collections.abc import Iterable
from typing import Any, Final

from market_data_pipeline.api.types import ExplicitPipelineConfig, SimplePipelineConfig
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.pacing import budget_of
from market_data_pipeline.pipeline_spec import OPERATORS, SINKS, SOURCES

_POSITIVE: Final = ("ticks_per_sec", "batch_size", "flush_ms", "sink_workers", "sink_queue_max")
_POSITIVE_EXPLICIT: Final = (*_POSITIVE, "max_bytes", "op_queue_max", "bar_window_sec")
_NOT_NEGATIVE: Final = ("database_retry_max_attempts", "database_retry_backoff_ms")


class SimplePipelineValidator:
    """Looks at a `SimplePipelineConfig`."""

    def validate(self, config: SimplePipelineConfig) -> None:
        """Return if it can run.

        Raises:
            ConfigError: If it cannot; it is a `ValueError`.
        """
        _check_names(config)
        _check_numbers(config, _POSITIVE, _NOT_NEGATIVE)
        for name, known in (("source", SOURCES), ("operator", OPERATORS), ("sink", SINKS)):
            value = getattr(config, name)
            if value not in known:
                msg = f"`{name}` must be one of: {', '.join(known)}; was `{value}`"
                raise ConfigError(msg, parameter=name)


class ExplicitPipelineValidator:
    """Looks at an `ExplicitPipelineConfig`."""

    def validate(self, config: ExplicitPipelineConfig) -> None:
        """Return if it can run.

        Raises:
            ConfigError: If it cannot; it is a `ValueError`.
        """
        _check_names(config)
        _check_numbers(config, _POSITIVE_EXPLICIT, (*_NOT_NEGATIVE, "bar_allowed_lateness_sec"))


def _check_names(config: Any) -> None:
    for name in ("tenant_id", "pipeline_id"):
        if not getattr(config, name):
            msg = f"`{name}` is required"
            raise ConfigError(msg, parameter=name)
    if not config.symbols:
        msg = "symbols list cannot be empty"
        raise ConfigError(msg, parameter="symbols")
    for symbol in config.symbols:
        if not isinstance(symbol, str) or not symbol.strip():
            msg = f"every symbol must be a text that is not blank, was {symbol!r}"
            raise ConfigError(msg, parameter="symbols")


def _check_numbers(config: Any, positive: Iterable[str], not_negative: Iterable[str]) -> None:
    for name in positive:
        if not getattr(config, name) > 0:
            msg = f"`{name}` must be positive, was {getattr(config, name)}"
            raise ConfigError(msg, parameter=name)
    for name in not_negative:
        if getattr(config, name) < 0:
            msg = f"`{name}` must not be negative, was {getattr(config, name)}"
            raise ConfigError(msg, parameter=name)
    budget_of(config.pacing_budget)
