"""Rests of a provider: how long it must not be asked, and why."""

from __future__ import annotations

__all__ = ("Cooldowns",)

from collections.abc import Mapping

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import ConfigError


class Cooldowns:
    """The rests of one provider, by scope; it rests until the last is over.

    Args:
        default_s: Seconds of a rest that names none.
        by_code: Seconds of rest by error code.
        clock: The time that passes; the machine's by default.
    """

    def __init__(
        self, default_s: float, by_code: Mapping[str, float], *, clock: Clock | None = None
    ) -> None:
        for name, seconds in (("cooldown_sec", default_s), *by_code.items()):
            _check(seconds, str(name))
        self._default_s = default_s
        self._by_code = {str(code): seconds for code, seconds in by_code.items()}
        self._clock = clock or SystemClock()
        self._until_s: dict[str, float] = {}

    def begin(self, scope: str, seconds: float | None = None) -> None:
        """Begin a rest, or make one of the same scope longer.

        Args:
            scope: Why.
            seconds: How long; None for the default.

        Raises:
            ConfigError: If `seconds` is negative.
        """
        seconds = self._default_s if seconds is None else seconds
        _check(seconds, "duration_sec")
        until_s = self._clock.monotonic() + seconds
        self._until_s[scope] = max(until_s, self._until_s.get(scope, until_s))

    def failed(self, code: str) -> None:
        """Begin the rest that an error code asks for, if it asks for one."""
        if code in self._by_code:
            self.begin(f"code {code}", self._by_code[code])

    def left_s(self) -> float:
        """Return the seconds until the last rest is over; 0 if there is none."""
        return max(self.by_scope().values(), default=0.0)

    def by_scope(self) -> dict[str, float]:
        """Return the seconds that are left of each rest."""
        now_s = self._clock.monotonic()
        self._until_s = {scope: at for scope, at in self._until_s.items() if at > now_s}
        return {scope: at - now_s for scope, at in self._until_s.items()}


def _check(seconds: float, name: str) -> None:
    if not 0 <= seconds < float("inf"):
        msg = f"`{name}` of a cooldown must be finite and not negative, was {seconds}"
        raise ConfigError(msg, parameter=name)
