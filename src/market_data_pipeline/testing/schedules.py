"""An event loop that runs what is ready in a random order, by seed."""

from __future__ import annotations

__all__ = ("ShuffledLoop", "run_shuffled")

import asyncio
import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ShuffledLoop(asyncio.SelectorEventLoop):
    """Runs ready callbacks in an order that the seed decides.

    asyncio promises no order between tasks, so a program whose result depends on one is
    wrong. This loop finds it out.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311  a schedule is no secret

    def _run_once(self) -> None:
        queue: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        # One by one: threads add to it meanwhile, and what they add must not be lost.
        ready = [queue.popleft() for _ in range(len(queue))]
        self._random.shuffle(ready)
        queue.extendleft(ready)
        super()._run_once()  # type: ignore[misc]


def run_shuffled(work: Coroutine[Any, Any, T], seed: int) -> T:
    """Run a coroutine to its end under one schedule.

    Args:
        work: The coroutine.
        seed: Which of all schedules; the same seed, the same schedule, as long as nothing
            waits for threads or the machine.
    """
    with asyncio.Runner(loop_factory=lambda: ShuffledLoop(seed)) as runner:
        return runner.run(work)
