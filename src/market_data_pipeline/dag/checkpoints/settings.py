"""Where checkpoints go and how often, and which one to go on from."""

from __future__ import annotations

__all__ = ("Checkpoint", "Resume")

from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from market_data_pipeline.dag.checkpoints.addresses import check_address
from market_data_pipeline.dag.component import component
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError


def _text(path: object) -> object:
    return str(path) if isinstance(path, PathLike) else path


@component("checkpoint")
class Checkpoint:
    """Make a run go on where it was killed, with each row once in every sink that can.

    Attributes:
        path: What belongs to this pipeline alone: a local folder, or an address that fsspec
            has a driver for, as `s3://bucket/job` (extra `remote`).
        interval: Time between two checkpoints, of the machine's clock; None for one at the
            end only, and whenever `Run.checkpoint()` is called.
        retain: Checkpoints that are kept to go back to.
    """

    path: Annotated[str, BeforeValidator(_text)]
    interval: Duration | None = "10s"
    retain: int = Field(default=3, ge=3)

    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse a path or an interval that is none.

        Raises:
            ConfigError: If the path is empty or an address that cannot be used, or the
                interval zero.
        """
        if not self.path.strip():
            msg = "`path` of `checkpoint` must name a folder, was empty"
            raise ConfigError(msg, parameter="path")
        check_address(self.path)
        if self.interval is not None and duration_ns(self.interval) <= 0:
            msg = f"`interval` of `checkpoint` must be positive, was {self.interval}"
            raise ConfigError(msg, parameter="interval")

    @property
    def interval_s(self) -> float | None:
        """Seconds between two checkpoints, None if they are taken on demand only."""
        return None if self.interval is None else duration_ns(self.interval) / 1e9


@dataclass(frozen=True, slots=True)
class Resume:
    """How a run goes on; by default from the newest checkpoint that is sound.

    Attributes:
        from_scratch: Begin at the beginning, as another line of life of the job.
        from_checkpoint: Number of the checkpoint to go on from; None for the newest.
        rewind: Go on although sinks have rows from after the checkpoint, and write those
            rows again.
        drop_state: Nodes that are to begin without their state.
    """

    from_scratch: bool = False
    from_checkpoint: int | None = None
    rewind: bool = False
    drop_state: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: If a run is to begin from scratch and from a checkpoint.
        """
        if self.from_scratch and (self.from_checkpoint is not None or self.rewind):
            msg = "`from_scratch` goes with neither `from_checkpoint` nor `rewind`"
            raise ConfigError(msg, parameter="from_scratch")
