"""What can be told of the checkpoints of a run, for displays and metrics."""

from __future__ import annotations

__all__ = ("CheckpointFigures",)

from collections.abc import Mapping
from dataclasses import dataclass, field

from market_data_pipeline.dag.epochs import Delivery


@dataclass(frozen=True, slots=True)
class CheckpointFigures:
    """How the checkpoints of a run are doing.

    Attributes:
        path: Where they are.
        resumed_from: The epoch the run went on from; None if it began at the beginning.
        last_epoch: The newest checkpoint; None before the first.
        last_seconds: How long it took, from the barrier to the manifest.
        last_taken_ns: Wall time it was taken at, nanoseconds since the UNIX epoch.
        last_bytes: Bytes of the states in it.
        age_s: Seconds since it was taken, or since the run began before the first.
        taken: Checkpoints this run took.
        failures: Checkpoints that did not come about.
        uncommitted: Epochs that are decided and that not all sinks have yet.
        delivery: What each sink promises.
    """

    path: str
    resumed_from: int | None = None
    last_epoch: int | None = None
    last_seconds: float | None = None
    last_taken_ns: int | None = None
    last_bytes: int | None = None
    age_s: float = 0.0
    taken: int = 0
    failures: int = 0
    uncommitted: int = 0
    delivery: Mapping[str, Delivery] = field(default_factory=dict)
