"""A provider that fails again and again is left alone for a while."""

from __future__ import annotations

__all__ = ("CircuitBreaker", "CircuitBreakerOpen", "CircuitState")

from typing import Literal, TypeAlias

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import ConfigError

CircuitState: TypeAlias = Literal["closed", "open", "half_open"]


class CircuitBreakerOpen(Exception):  # noqa: N818 - its name in version 0.8
    """Raised when a provider has failed too often to be asked at the moment.

    Attributes:
        provider: The provider.
        retry_after_s: Seconds until it may be tried; 0 if others are trying it.
    """

    def __init__(self, provider: str = "", retry_after_s: float = 0.0) -> None:
        when = f"is tried again in {retry_after_s:.1f} s" if retry_after_s else "is being tried"
        super().__init__(f"the circuit of `{provider}` is open after failures; it {when}")
        self.provider = provider
        self.retry_after_s = retry_after_s


class CircuitBreaker:
    """Opens after failures in a row, and lets a few trials through after a time.

    It is *closed* while all is well. The `threshold`-th failure in a row opens it. After
    `timeout` seconds it is *half open*: `half_open_attempts` trials are let through; when
    as many have succeeded it closes, and the first that fails opens it for another
    `timeout`. A trial of which nothing is heard for `timeout` seconds counts no longer.

    Args:
        threshold: Failures in a row that open it, at least 1.
        timeout: Seconds until it may be tried, >= 0.
        half_open_attempts: Trials that must succeed, at least 1.
        clock: The time that passes; the machine's by default.
    """

    def __init__(
        self,
        threshold: int = 5,
        timeout: float = 60.0,
        half_open_attempts: int = 1,
        *,
        clock: Clock | None = None,
    ) -> None:
        for name, value in (("threshold", threshold), ("half_open_attempts", half_open_attempts)):
            if value < 1:
                msg = f"`{name}` of a circuit breaker must be at least 1, was {value}"
                raise ConfigError(msg, parameter=name)
        if not timeout >= 0:
            msg = f"`timeout` of a circuit breaker must not be negative, was {timeout}"
            raise ConfigError(msg, parameter="timeout")
        self.threshold = threshold
        self.timeout = timeout
        self.half_open_attempts = half_open_attempts
        self._clock = clock or SystemClock()
        self._failures = 0
        self._opened_s: float | None = None
        self._trials: list[float] = []
        self._succeeded = 0

    def get_state(self) -> CircuitState:
        """Return `closed`, `open` or `half_open`."""
        if self._opened_s is None:
            return "closed"
        return "open" if self.retry_after_s() > 0 else "half_open"

    def is_open(self) -> bool:
        """Tell whether nothing may pass; when half open, a trial may."""
        return self.get_state() == "open"

    def retry_after_s(self) -> float:
        """Return the seconds until it may be tried; 0 if it may."""
        if self._opened_s is None:
            return 0.0
        return max(0.0, self._opened_s + self.timeout - self._clock.monotonic())

    def admit(self) -> bool:
        """Tell whether one call may pass now; when half open it takes one of the trials."""
        state = self.get_state()
        if state != "half_open":
            return state == "closed"
        now_s = self._clock.monotonic()
        self._trials = [at_s for at_s in self._trials if now_s - at_s < self.timeout]
        if len(self._trials) + self._succeeded >= self.half_open_attempts:
            return False
        self._trials.append(now_s)
        return True

    async def record_failure(self) -> None:
        """Count a failure. One that comes while it is open changes nothing."""
        state = self.get_state()
        if state == "open":
            return
        self._failures += 1
        if state == "half_open" or self._failures >= self.threshold:
            self._opened_s = self._clock.monotonic()
            self._trials.clear()
            self._succeeded = 0

    async def record_success(self) -> None:
        """Count a success: failures in a row begin anew, and a trial is passed."""
        state = self.get_state()
        if state == "half_open":
            self._succeeded += 1
            del self._trials[:1]
            if self._succeeded >= self.half_open_attempts:
                await self.reset()
        elif state == "closed":
            self._failures = 0

    async def reset(self) -> None:
        """Close it and forget all failures."""
        self._failures = 0
        self._opened_s = None
        self._trials.clear()
        self._succeeded = 0
