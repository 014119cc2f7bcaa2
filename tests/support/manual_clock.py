"""A clock that passes only when somebody sleeps on it."""

from __future__ import annotations

__all__ = ("ManualClock",)

import asyncio


class ManualClock:
    """Time outside the data, in the hand of a test.

    Attributes:
        now_s: Seconds that have passed.
        slept: How long each sleep was.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s
        await asyncio.sleep(0)
