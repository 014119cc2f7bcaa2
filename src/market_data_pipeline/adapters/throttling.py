"""A provider's budget, and the share of it that may be used."""

from __future__ import annotations

__all__ = ("Throttle",)

from typing import Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.pacing import Budget, Pacer

_WINDOW_S: Final = 1.0
_UNKNOWN_RATE: Final = 1_000.0
_BURST_S: Final = 0.1


class Throttle:
    """Lets records pass as the budget and its scale allow.

    Without a budget all pass while the scale is 1. For a smaller scale there must be
    something to take a share of: that is the highest rate seen over a second.

    Args:
        budget: What the provider allows; None if it does not say.
        clock: Time in which tokens flow.
    """

    def __init__(self, budget: Budget | None, clock: Clock) -> None:
        self._clock = clock
        self._given = budget
        self._pacer = None if budget is None else Pacer(budget, clock=clock)
        self._scale = 1.0
        self._waits = 0
        self._fastest = 0.0
        self._since_s = clock.monotonic()
        self._seen = 0

    @property
    def scale(self) -> float:
        """The share of the budget that may be used, 0 to 1."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if self._given is None and scale < 1 and self._pacer is None:
            rate = self._rate()
            self._pacer = Pacer(Budget(rate, max(1.0, rate * _BURST_S)), clock=self._clock)
        if self._pacer is not None:
            self._pacer.scale = scale
        self._scale = scale
        if self._given is None and scale >= 1:
            # Who waits passes: the scale of the pacer they wait for is 1 by now.
            self._waits = self.waits
            self._pacer = None
            self._since_s, self._seen = self._clock.monotonic(), 0

    @property
    def waits(self) -> int:
        """How often somebody had to wait for a token."""
        return self._waits + (0 if self._pacer is None else self._pacer.waits)

    async def allow(self) -> None:
        """Return once a record may be asked for."""
        if self._pacer is not None:
            await self._pacer.allow()

    def saw(self) -> None:
        """Count a record, to know the rate of a provider without a budget."""
        if self._given is not None or self._pacer is not None:
            return
        self._seen += 1
        passed_s = self._clock.monotonic() - self._since_s
        if passed_s >= _WINDOW_S:
            self._fastest = max(self._fastest, self._seen / passed_s)
            self._since_s += passed_s
            self._seen = 0

    def _rate(self) -> float:
        if self._fastest:
            return self._fastest
        passed_s = self._clock.monotonic() - self._since_s
        return self._seen / passed_s if passed_s > 0 and self._seen else _UNKNOWN_RATE
