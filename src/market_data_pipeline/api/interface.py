"""A pipeline in one call."""

from __future__ import annotations

__all__ = ("create_explicit_pipeline", "create_pipeline")

from collections.abc import Mapping, Sequence
from typing import Any, Final

from market_data_pipeline.api.factory import explicit_factory, simple_factory
from market_data_pipeline.api.types import (
    DropPolicy,
    ExplicitPipelineConfig,
    SimplePipelineConfig,
)
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.pacing import Budget
from market_data_pipeline.pipeline import StreamingPipeline

_SYMBOLS: Final = ("AAPL", "MSFT", "GOOGL")


def create_pipeline(
    tenant_id: str,
    pipeline_id: str,
    *,
    symbols: Sequence[str] | None = None,
    source: str = "synthetic",
    operator: str = "bars",
    sink: str = "database",
    duration_sec: float | None = None,
    ticks_per_sec: float = 10,
    batch_size: int = 500,
    flush_ms: float = 1000,
    pacing_budget: Budget | tuple[float, float] = (1000, 1000),
    drop_policy: str | DropPolicy = "oldest",
    sink_workers: int = 2,
    sink_queue_max: int = 200,
    database_vendor: str = "market_data_core",
    database_timeframe: str = "1s",
    database_retry_max_attempts: int = 5,
    database_retry_backoff_ms: int = 50,
    database_url: str | None = None,
    **kwargs: Any,
) -> StreamingPipeline:
    """Return a pipeline whose parts are named; see `SimplePipelineConfig`.

    Args:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        symbols: What it is about; None for AAPL, MSFT and GOOGL.
        source: Where quotes come from.
        operator: What is made of them.
        sink: Where that goes.
        duration_sec: Seconds after which it stops, None to run to the end.
        ticks_per_sec: Ticks a synthetic source makes in a second.
        batch_size: Bars in one write.
        flush_ms: Milliseconds after which fewer are written too.
        pacing_budget: Rate and burst.
        drop_policy: What a full queue does.
        sink_workers: Writes under way at once.
        sink_queue_max: Writes that may wait.
        database_vendor: Vendor written to each row.
        database_timeframe: Timeframe written to each row.
        database_retry_max_attempts: Tries of one write.
        database_retry_backoff_ms: Milliseconds before the second try.
        database_url: Where the database is; None for `DATABASE_URL`.
        kwargs: Nothing else.

    Raises:
        ConfigError: If it cannot run, or a package it needs is not installed.
        TypeError: If another argument is given.
    """
    _refuse(kwargs, create_pipeline)
    config = SimplePipelineConfig(
        tenant_id=tenant_id,
        pipeline_id=pipeline_id,
        symbols=list(_SYMBOLS if symbols is None else symbols),
        database_url=database_url,
        source=source,
        operator=operator,
        sink=sink,
        duration_sec=duration_sec,
        ticks_per_sec=ticks_per_sec,
        batch_size=batch_size,
        flush_ms=flush_ms,
        pacing_budget=pacing_budget,
        drop_policy=_policy(drop_policy),
        sink_workers=sink_workers,
        sink_queue_max=sink_queue_max,
        database_vendor=database_vendor,
        database_timeframe=database_timeframe,
        database_retry_max_attempts=database_retry_max_attempts,
        database_retry_backoff_ms=database_retry_backoff_ms,
    )
    return simple_factory.create(config)


def create_explicit_pipeline(
    tenant_id: str,
    pipeline_id: str,
    *,
    symbols: Sequence[str] | None = None,
    ticks_per_sec: float = 10,
    pacing_budget: Budget | tuple[float, float] = (1000, 1000),
    batch_size: int = 500,
    max_bytes: int = 512_000,
    flush_ms: float = 1000,
    op_queue_max: int = 8,
    drop_policy: str | DropPolicy = "oldest",
    sink_workers: int = 2,
    sink_queue_max: int = 200,
    database_vendor: str = "market_data_core",
    database_timeframe: str = "1s",
    database_retry_max_attempts: int = 5,
    database_retry_backoff_ms: int = 50,
    database_url: str | None = None,
    bar_window_sec: float = 1,
    bar_allowed_lateness_sec: float = 0,
) -> StreamingPipeline:
    """Return a pipeline of synthetic ticks, bars and a database; see `ExplicitPipelineConfig`.

    Args:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        symbols: What it is about; None for AAPL, MSFT and GOOGL.
        ticks_per_sec: Ticks made in a second.
        pacing_budget: Rate and burst.
        batch_size: Bars in one write.
        max_bytes: Bytes of bars in one write.
        flush_ms: Milliseconds after which fewer are written too.
        op_queue_max: Bars that may wait to be gathered.
        drop_policy: What a full queue does.
        sink_workers: Writes under way at once.
        sink_queue_max: Writes that may wait.
        database_vendor: Vendor written to each row.
        database_timeframe: Timeframe written to each row.
        database_retry_max_attempts: Tries of one write.
        database_retry_backoff_ms: Milliseconds before the second try.
        database_url: Where the database is; None for `DATABASE_URL`.
        bar_window_sec: Seconds a bar covers.
        bar_allowed_lateness_sec: Seconds past its end in which a bar takes rows.

    Raises:
        ConfigError: If it cannot run.
    """
    config = ExplicitPipelineConfig(
        tenant_id=tenant_id,
        pipeline_id=pipeline_id,
        symbols=list(_SYMBOLS if symbols is None else symbols),
        database_url=database_url,
        ticks_per_sec=ticks_per_sec,
        batch_size=batch_size,
        flush_ms=flush_ms,
        pacing_budget=pacing_budget,
        drop_policy=_policy(drop_policy),
        sink_workers=sink_workers,
        sink_queue_max=sink_queue_max,
        database_vendor=database_vendor,
        database_timeframe=database_timeframe,
        database_retry_max_attempts=database_retry_max_attempts,
        database_retry_backoff_ms=database_retry_backoff_ms,
        max_bytes=max_bytes,
        op_queue_max=op_queue_max,
        bar_window_sec=bar_window_sec,
        bar_allowed_lateness_sec=bar_allowed_lateness_sec,
    )
    return explicit_factory.create(config)


def _policy(given: str | DropPolicy) -> DropPolicy:
    try:
        return DropPolicy(given)
    except ValueError:
        names = [policy.value for policy in DropPolicy]
        msg = f"`drop_policy` must be one of: {', '.join(names)}; was `{given}`"
        raise ConfigError(msg, parameter="drop_policy") from None


def _refuse(others: Mapping[str, Any], function: Any) -> None:
    for name in others:
        known = [known for known in function.__kwdefaults__ if known != "kwargs"]
        msg = f"`{function.__name__}` has no argument `{name}`{nearest(name, known)}"
        raise TypeError(msg)
