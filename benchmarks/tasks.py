"""What a peer must offer to be measured."""

from __future__ import annotations

__all__ = ("Missing", "Task")

from abc import ABC, abstractmethod
from typing import Any

from benchmarks.answers import Bars, Difference, compare, reference
from benchmarks.ticks import TickSet


class Missing(Exception):  # noqa: N818
    """A peer cannot run on this machine; the text says why."""


class Task(ABC):
    """One question put to one peer, in a process of its own.

    `prepare` is called once and not timed, `run` is timed and called several times, `check`
    is called after each run and not timed.
    """

    distinct = False

    def __init__(self, ticks: TickSet) -> None:
        self.ticks = ticks

    def prepare(self) -> None:  # noqa: B027  a peer may need nothing
        """Load what `run` needs in memory.

        Raises:
            Missing: If the peer cannot run here.
        """

    @abstractmethod
    def run(self) -> Any:
        """Answer the question."""

    @abstractmethod
    def bars(self, answer: Any) -> Bars:
        """Return the bars in an answer."""

    def check(self, answer: Any) -> Difference:
        """Return how an answer differs from the right one."""
        return compare(self.bars(answer), reference(self.ticks, distinct=self.distinct))

    def figures(self, answer: Any) -> dict[str, Any]:
        """Return what else was measured, by name."""
        del answer
        return {}
