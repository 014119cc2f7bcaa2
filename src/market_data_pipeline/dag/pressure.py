"""How full a sink is, told upwards: what the loop from the store back to the provider acts on."""

from __future__ import annotations

__all__ = (
    "Pressure",
    "PressureLevel",
    "PressurePublisher",
    "PressureWriter",
    "ThrottledReader",
)

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


class PressureLevel(StrEnum):
    """What a sink asks of those who feed it: go on, slow down, stop."""

    OK = "ok"
    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True, slots=True)
class Pressure:
    """What a sink has taken and not yet made durable, and how long it takes.

    Attributes:
        queue_depth: What waits, in units of `capacity`: rows, batches or records.
        capacity: How much may wait.
        commit_s: Seconds the last commit took, None before the first.
        level: The sink's own word for it, None where it gives figures only.
    """

    queue_depth: int
    capacity: int
    commit_s: float | None = None
    level: PressureLevel | None = None

    @property
    def saturation(self) -> float:
        """Share of the capacity that is taken, 0 and up."""
        return self.queue_depth / self.capacity if self.capacity > 0 else 0.0


@runtime_checkable
class PressureWriter(Protocol):
    """What the running half of a sink has besides if it knows how full it is."""

    def pressure(self) -> Pressure:
        """Return how full it is now. Called at any time; never waits."""
        ...


@runtime_checkable
class PressurePublisher(Protocol):
    """What the running half of a sink has besides if it is told when its pressure changes."""

    def on_pressure(self, listener: Callable[[Pressure], None] | None) -> None:
        """Call a function whenever the pressure changes, from any thread; None to stop.

        The function never waits. What it is told may be worse than `pressure` says at the
        same time, and counts as much.
        """
        ...


@runtime_checkable
class ThrottledReader(Protocol):
    """What the running half of a source has besides if its provider can be slowed down.

    Attributes:
        provider: Name of the provider whose budget it draws on.
    """

    provider: str

    def throttle(self, scale: float) -> None:
        """Take from now on this share of the provider's budget, 0 (pause) to 1. Never waits."""
        ...
