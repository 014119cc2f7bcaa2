"""A clock for tests: it stands still until it is told otherwise."""

from __future__ import annotations

__all__ = ("ManualClock",)


class ManualClock:
    """A clock that stands still but for `sleep` and `advance`.

    Attributes:
        slept_s: What was slept, in order.
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns
        self.slept_s: list[float] = []

    def now_ns(self) -> int:
        """Return the wall time, nanoseconds since the UNIX epoch, UTC."""
        return self._now_ns

    def monotonic(self) -> float:
        """Return the same time in seconds."""
        return self._now_ns / 1e9

    def advance(self, delay_s: float) -> None:
        """Let time pass."""
        self._now_ns += round(delay_s * 1e9)

    async def sleep(self, delay_s: float) -> None:
        """Let time pass, without waiting for it."""
        self.slept_s.append(delay_s)
        self.advance(delay_s)
