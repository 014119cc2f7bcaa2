"""What may be asked of each provider: its rate, its rests, and its circuit."""

from __future__ import annotations

__all__ = ("RateCoordinator",)

from collections.abc import Mapping
from typing import Any

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.pressure import PressureLevel, ThrottledReader
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.orchestration.circuit_breaker import CircuitBreaker, CircuitBreakerOpen
from market_data_pipeline.orchestration.cooldowns import Cooldowns
from market_data_pipeline.pacing import Budget, Pacer


class RateCoordinator:
    """Shares the budget of each provider among all who draw on it.

    A provider has a token bucket, whose rate a scale of 0 to 1 reduces (0 pauses it),
    cooldowns by error code, and a circuit breaker. Sources of a graph that pace themselves
    (`ThrottledReader`) are told the scale of their provider, whether or not it is
    registered here.

    Args:
        clock: The time that passes; the machine's by default.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._buckets: dict[str, Pacer] = {}
        self._cooldowns: dict[str, Cooldowns] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._scales: dict[str, float] = {}
        self._levels: dict[str, PressureLevel] = {}
        self._readers: dict[str, list[ThrottledReader]] = {}
        self._limits: dict[int, float] = {}

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that are registered."""
        return tuple(self._buckets)

    def register_provider(
        self,
        name: str,
        capacity: float = 60,
        refill_rate: float = 60,
        cooldown_sec: float = 600,
        breaker_threshold: int = 5,
        breaker_timeout: float = 60.0,
        *,
        cooldowns: Mapping[str, float] | None = None,
    ) -> None:
        """Say what may be asked of a provider; said again, it takes effect at once.

        Args:
            name: The provider.
            capacity: Most messages in one burst.
            refill_rate: Messages a second in the long run.
            cooldown_sec: Seconds of a cooldown that names none.
            breaker_threshold: Failures in a row that open its circuit.
            breaker_timeout: Seconds until an open circuit is tried.
            cooldowns: Seconds of rest by the provider's error code.

        Raises:
            ConfigError: If a number is out of range.
        """
        budget = Budget(refill_rate, capacity)
        breaker = CircuitBreaker(breaker_threshold, breaker_timeout, clock=self._clock)
        rests = Cooldowns(cooldown_sec, cooldowns or {}, clock=self._clock)
        if name in self._buckets:
            self._buckets[name].budget = budget
        else:
            self._buckets[name] = Pacer(budget, clock=self._clock)
            self._buckets[name].scale = self.scale(name)
        self._breakers[name] = breaker
        self._cooldowns[name] = rests

    async def acquire(self, provider: str, n: float = 1) -> None:
        """Return once `n` messages may be asked of a provider.

        Does not give way to others if they may be at once. The result is to be told by
        `record_success` or `record_failure`.

        Raises:
            ConfigError: If the provider is not registered; it is a `ValueError`.
            CircuitBreakerOpen: If it has failed too often.
        """
        bucket = self._bucket(provider)
        self._check(provider)
        rests = self._cooldowns[provider]
        while (left_s := rests.left_s()) > 0:
            await self._clock.sleep(left_s)
        waits = bucket.waits
        await bucket.allow(n)
        if bucket.waits > waits:  # it may have failed meanwhile
            self._check(provider)
        if not self._breakers[provider].admit():
            raise CircuitBreakerOpen(provider, self._breakers[provider].retry_after_s())

    async def record_failure(self, provider: str, code: str | int | None = None) -> None:
        """Tell that a provider failed.

        Args:
            provider: The provider.
            code: Its error code; one that asks for a rest begins it.

        Raises:
            ConfigError: If the provider is not registered.
        """
        self._bucket(provider)
        await self._breakers[provider].record_failure()
        if code is not None:
            self._cooldowns[provider].failed(str(code))

    async def record_success(self, provider: str) -> None:
        """Tell that a provider answered.

        Raises:
            ConfigError: If the provider is not registered.
        """
        self._bucket(provider)
        await self._breakers[provider].record_success()

    async def trigger_cooldown(
        self, provider: str, scope: str, duration_sec: float | None = None
    ) -> None:
        """Let a provider rest.

        Args:
            provider: The provider.
            scope: Why; a rest of the same scope that lasts longer stays.
            duration_sec: Seconds; None for what its registration says.

        Raises:
            ConfigError: If the provider is not registered, or the time negative.
        """
        self._bucket(provider)
        self._cooldowns[provider].begin(scope, duration_sec)

    def get_provider_state(self, provider: str) -> dict[str, Any]:
        """Return how a provider is; for one that is not registered, what is wrong.

        `provider`, `circuit_state`, `in_cooldown`, `cooldown_left_sec`, `cooldowns` (seconds
        left by scope), `scale_factor`, `pressure_state`, `waits`.
        """
        if provider not in self._buckets:
            return {"provider": provider, "error": self._unknown(provider)}
        rests = self._cooldowns[provider]
        return {
            "provider": provider,
            "circuit_state": self._breakers[provider].get_state(),
            "in_cooldown": rests.left_s() > 0,
            "cooldown_left_sec": rests.left_s(),
            "cooldowns": rests.by_scope(),
            "scale_factor": self.scale(provider),
            "pressure_state": str(self._levels.get(provider, PressureLevel.OK)),
            "waits": self._buckets[provider].waits,
        }

    # What the loop from the store back to the provider sets

    def scale(self, provider: str) -> float:
        """Return the share of its budget that a provider may use, 0 to 1."""
        return self._scales.get(provider, 1.0)

    def set_scale(
        self, provider: str, scale: float, *, level: PressureLevel = PressureLevel.OK
    ) -> None:
        """Let a provider use this share of its budget from now on; also for who waits.

        Args:
            provider: The provider; need not be registered.
            scale: 0 (pause) to 1.
            level: What the stores it feeds ask for, for `get_provider_state`.

        Raises:
            ConfigError: If the scale is out of range.
        """
        if not 0 <= scale <= 1:
            msg = f"`scale` must be between 0 and 1, was {scale}"
            raise ConfigError(msg, parameter="scale")
        self._scales[provider] = scale
        self._levels[provider] = level
        if provider in self._buckets:
            self._buckets[provider].scale = scale
        for reader in self._readers.get(provider, ()):
            self._tell(reader)

    def limit(self, reader: ThrottledReader) -> float:
        """Return the share of its provider's budget that a source may use at most."""
        return self._limits.get(id(reader), 1.0)

    def set_limit(self, reader: ThrottledReader, share: float) -> None:
        """Let a source use at most this share, whatever the stores could take.

        Args:
            reader: A source that is attached.
            share: 0 (pause) to 1.

        Raises:
            ConfigError: If the share is out of range, or the source is not attached.
        """
        if not 0 <= share <= 1:
            msg = f"`scale` must be between 0 and 1, was {share}"
            raise ConfigError(msg, parameter="scale")
        if not any(other is reader for other in self._readers.get(reader.provider, ())):
            msg = f"the source of `{reader.provider}` is not running"
            raise ConfigError(msg, parameter="node")
        self._limits[id(reader)] = share
        self._tell(reader)

    def _tell(self, reader: ThrottledReader) -> None:
        reader.throttle(min(self.scale(reader.provider), self.limit(reader)))

    def attach(self, reader: ThrottledReader) -> None:
        """Tell a source the scale of its provider, now and whenever it changes."""
        self._readers.setdefault(reader.provider, []).append(reader)
        self._tell(reader)

    def detach(self, reader: ThrottledReader) -> None:
        """Tell a source no more; one that is not told is left alone.

        With its last source a provider gets its whole budget back.
        """
        provider = reader.provider
        self._limits.pop(id(reader), None)
        rest = [other for other in self._readers.get(provider, []) if other is not reader]
        if rest:
            self._readers[provider] = rest
        elif self._readers.pop(provider, None) is not None:
            self.set_scale(provider, 1.0)

    def _check(self, provider: str) -> None:
        breaker = self._breakers[provider]
        if breaker.is_open():
            raise CircuitBreakerOpen(provider, breaker.retry_after_s())

    def _bucket(self, provider: str) -> Pacer:
        bucket = self._buckets.get(provider)
        if bucket is None:
            raise ConfigError(self._unknown(provider), parameter="provider")
        return bucket

    def _unknown(self, provider: str) -> str:
        known = ", ".join(f"`{name}`" for name in sorted(self._buckets)) or "none"
        hint = nearest(provider, self._buckets)
        return f"provider `{provider}` is not registered{hint} (providers: {known})"
