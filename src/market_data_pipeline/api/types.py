"""What a pipeline is to be, as version 0.8 says it in one call."""

from __future__ import annotations

__all__ = (
    "BackpressurePolicy",
    "DropPolicy",
    "ExplicitPipelineConfig",
    "PipelineConfig",
    "PipelineConfigBuilder",
    "PipelineFactory",
    "PipelineValidator",
    "SimplePipelineConfig",
)

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from market_data_pipeline.pacing import Budget


class DropPolicy(Enum):
    """What a full queue does: shed its oldest, shed the newest, or make the sender wait."""

    OLDEST = "oldest"
    NEWEST = "newest"
    BLOCK = "block"


class BackpressurePolicy(Enum):
    """The same as a sink says it."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    BLOCK = "block"


@dataclass
class PipelineConfig:
    """What all pipelines have.

    Attributes:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        symbols: What it is about.
        database_url: Where the database is; it is not shown.
    """

    tenant_id: str
    pipeline_id: str
    symbols: list[str]
    database_url: str | None = field(default=None, repr=False)


@dataclass
class _Shared:
    ticks_per_sec: float = 10
    batch_size: int = 500
    flush_ms: float = 1000
    pacing_budget: Budget | tuple[float, float] = (1000, 1000)
    drop_policy: DropPolicy = DropPolicy.OLDEST
    sink_workers: int = 2
    sink_queue_max: int = 200
    database_vendor: str = "market_data_core"
    database_timeframe: str = "1s"
    database_retry_max_attempts: int = 5
    database_retry_backoff_ms: int = 50


@dataclass
class SimplePipelineConfig(_Shared, PipelineConfig):
    """A pipeline whose parts are named; see `PipelineSpec` and `PipelineOverrides`.

    Attributes:
        source: Where quotes come from.
        operator: What is made of them.
        sink: Where that goes.
        duration_sec: Seconds after which it stops, None to run to the end.
    """

    source: str = "synthetic"
    operator: str = "bars"
    sink: str = "database"
    duration_sec: float | None = None


@dataclass
class ExplicitPipelineConfig(_Shared, PipelineConfig):
    """Synthetic ticks, bars and a database, with every setting of each.

    Attributes:
        max_bytes: Bytes of bars in one write.
        op_queue_max: Bars that may wait to be gathered.
        bar_window_sec: Seconds a bar covers.
        bar_allowed_lateness_sec: Seconds past its end in which a bar takes rows.
    """

    max_bytes: int = 512_000
    op_queue_max: int = 8
    bar_window_sec: float = 1
    bar_allowed_lateness_sec: float = 0


class PipelineValidator(Protocol):
    """Says whether a config can run."""

    def validate(self, config: Any) -> None:
        """Return if it can.

        Raises:
            ValueError: If it cannot.
        """
        ...


class PipelineConfigBuilder(Protocol):
    """Turns a config into what parts are made from."""

    def build(self, config: Any) -> Any:
        """Return the settings of the parts."""
        ...


class PipelineFactory(Protocol):
    """Turns a config into a pipeline."""

    def create(self, config: Any) -> Any:
        """Return the pipeline; nothing is opened or connected."""
        ...
