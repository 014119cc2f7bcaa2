"""Time from outside the data: the one place that reads the machine's clocks."""

from __future__ import annotations

__all__ = ("Clock", "SystemClock")

import asyncio
import time
from typing import Protocol, final


class Clock(Protocol):
    """What sources and sinks may know of processing time; operators know none."""

    def now_ns(self) -> int:
        """Return the wall time, nanoseconds since the UNIX epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds of this clock."""
        ...


@final
class SystemClock:
    """The machine's own clocks."""

    def now_ns(self) -> int:
        """Return the wall time, nanoseconds since the UNIX epoch, UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""
        await asyncio.sleep(delay_s)
