"""The token bucket: how many messages may pass in a second."""

from __future__ import annotations

__all__ = ("Budget", "Pacer", "budget_of")

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import PacingError

# A clock of floats may stop a hair before the moment; the next try must not sleep for nothing.
_SLEEP_MIN_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may pass.

    Attributes:
        max_msgs_per_sec: Tokens that flow in each second, >= 0; with 0 none do.
        burst: Tokens that the bucket holds, >= 0. What needs more waits until so many have
            come, so with 0 messages pass one by one.
    """

    max_msgs_per_sec: float
    burst: float

    def __post_init__(self) -> None:
        """Refuse what is no number of messages.

        Raises:
            PacingError: If one is negative or not finite.
        """
        for name in ("max_msgs_per_sec", "burst"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                msg = f"`{name}` of a budget must be finite and not negative, was {value}"
                raise PacingError(msg)


def budget_of(given: Budget | tuple[float, float]) -> Budget:
    """Return a budget, also for a bare pair of rate and burst.

    Raises:
        PacingError: If it is no such pair.
    """
    if isinstance(given, Budget):
        return given
    try:
        rate, burst = given
    except (TypeError, ValueError):
        msg = f"a budget is a `Budget` or a pair of rate and burst, was {given!r}"
        raise PacingError(msg) from None
    return Budget(rate, burst)


class Pacer:
    """A token bucket that starts full: lets messages pass as its budget allows.

    Who waits is served in the order of asking. A pacer belongs to one event loop at a time.

    Args:
        budget: What may pass; a bare pair is rate and burst.
        clock: The time in which tokens flow in; the machine's by default.

    Attributes:
        waits: How often somebody had to wait.
    """

    def __init__(
        self, budget: Budget | tuple[float, float], *, clock: Clock | None = None
    ) -> None:
        self._budget = budget_of(budget)
        self._clock = clock or SystemClock()
        self._scale = 1.0
        self._tokens = float(self._budget.burst)
        self._at_s: float | None = None
        self._waiting: deque[_Waiter] = deque()
        self.waits = 0

    @property
    def budget(self) -> Budget:
        """What may pass at a scale of 1. A new one takes effect at once, also for who waits."""
        return self._budget

    @budget.setter
    def budget(self, budget: Budget | tuple[float, float]) -> None:
        self._settle()
        self._budget = budget_of(budget)
        self._changed()

    @property
    def scale(self) -> float:
        """Share of the budget that may pass, 0 (nothing passes) to 1.

        A new one takes effect at once, also for who waits.
        """
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        if not 0 <= scale <= 1:
            msg = f"`scale` must be between 0 and 1, was {scale}"
            raise PacingError(msg)
        self._settle()
        self._scale = float(scale)
        self._changed()

    async def allow(self, n: float = 1) -> None:
        """Return once `n` messages may pass. Does not give way to others if they may now.

        Nothing is taken if this is cancelled.

        Args:
            n: How many messages, >= 0; also more than the burst.

        Raises:
            PacingError: If `n` is negative.
        """
        if n < 0:
            msg = f"`n` must not be negative, was {n}"
            raise PacingError(msg)
        if not self._waiting and self._take(n):
            return
        self.waits += 1
        waiter = _Waiter(n)
        self._waiting.append(waiter)
        try:
            while self._waiting[0] is not waiter or not self._take(n):
                await self._wait(waiter)
        finally:
            self._waiting.remove(waiter)
            self._wake()

    async def reset(self) -> None:
        """Fill the bucket and forget the time that has passed."""
        self._at_s = self._clock.monotonic()
        self._tokens = self._budget.burst * self._scale
        self._wake()

    def _take(self, n: float) -> bool:
        if self._scale == 0:
            return False
        self._settle(n)
        if self._tokens < n:
            return False
        self._tokens -= n
        return True

    def _settle(self, wanted: float = 0) -> None:
        """Let in the tokens of the time that has passed at the rate there was."""
        now_s = self._clock.monotonic()
        if self._at_s is not None:
            rate = self._budget.max_msgs_per_sec * self._scale
            self._tokens = min(self._room(wanted), self._tokens + (now_s - self._at_s) * rate)
        self._at_s = now_s

    def _room(self, wanted: float = 0) -> float:
        # What the first of those who wait has gathered stays, or it would never have enough.
        if self._waiting:
            wanted = max(wanted, self._waiting[0].n)
        return max(self._budget.burst * self._scale, wanted)

    def _changed(self) -> None:
        self._tokens = min(self._tokens, self._room())
        self._wake()

    def _wake(self) -> None:
        # Only the first waits for time to pass; the others wait for it to leave.
        if self._waiting:
            self._waiting[0].wake()

    async def _wait(self, waiter: _Waiter) -> None:
        rate = self._budget.max_msgs_per_sec * self._scale
        woken = waiter.wait()
        if self._waiting[0] is not waiter or rate == 0:
            await woken
            return
        delay_s = max((waiter.n - self._tokens) / rate, _SLEEP_MIN_S)
        async with asyncio.TaskGroup() as group:
            sleeping = group.create_task(self._clock.sleep(delay_s))
            await asyncio.wait((sleeping, woken), return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()


class _Waiter:
    """Somebody who needs `n` tokens."""

    def __init__(self, n: float) -> None:
        self.n = n
        self._woken: asyncio.Future[None] | None = None

    def wait(self) -> asyncio.Future[None]:
        self._woken = asyncio.get_running_loop().create_future()
        return self._woken

    def wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
