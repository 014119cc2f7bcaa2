from __future__ import annotations

import asyncio

import pytest

from market_data_pipeline.dag.pressure import PressureLevel
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.circuit_breaker import CircuitBreakerOpen
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from support.manual_clock import ManualClock


class Reader:
    """The running half of a source that can be throttled."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.scales: list[float] = []

    def throttle(self, scale: float) -> None:
        self.scales.append(scale)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_tokens_come_at_the_rate() -> None:
    """A burst passes at once; after it the rate holds."""

    async def scenario() -> float:
        clock = ManualClock()
        coordinator = RateCoordinator(clock=clock)
        coordinator.register_provider("ibkr", capacity=5, refill_rate=10)
        for _ in range(25):
            await coordinator.acquire("ibkr")
        return clock.now_s

    assert asyncio.run(scenario()) == pytest.approx(2.0, abs=0.01)


def test_unknown_provider_is_refused_by_acquire_and_told_by_state() -> None:
    """Asking for its state raises nothing."""

    async def scenario() -> None:
        coordinator = RateCoordinator()
        coordinator.register_provider("ibkr")
        with pytest.raises(ValueError, match="`ibrk` is not registered; did you mean `ibkr`"):
            await coordinator.acquire("ibrk")
        assert "not registered" in coordinator.get_provider_state("ibrk")["error"]
        for record in (coordinator.record_failure, coordinator.record_success):
            with pytest.raises(ConfigError, match="not registered"):
                await record("ibrk")

    asyncio.run(scenario())


def test_open_circuit_refuses_and_recovers() -> None:
    """Failures in a row open it, and a trial that succeeds closes it."""

    async def scenario() -> None:
        clock = ManualClock()
        coordinator = RateCoordinator(clock=clock)
        coordinator.register_provider("ibkr", breaker_threshold=2, breaker_timeout=30)
        for _ in range(2):
            await coordinator.acquire("ibkr")
            await coordinator.record_failure("ibkr")
        with pytest.raises(CircuitBreakerOpen, match=r"`ibkr` is open .* in 30.0 s"):
            await coordinator.acquire("ibkr")
        clock.now_s += 30
        await coordinator.acquire("ibkr")
        with pytest.raises(CircuitBreakerOpen, match="is being tried"):
            await coordinator.acquire("ibkr")
        await coordinator.record_success("ibkr")
        assert coordinator.get_provider_state("ibkr")["circuit_state"] == "closed"

    asyncio.run(scenario())


def test_error_code_begins_its_rest() -> None:
    """A provider rests as long as its error code says; other codes mean nothing."""

    async def scenario() -> None:
        clock = ManualClock()
        coordinator = RateCoordinator(clock=clock)
        coordinator.register_provider("ibkr", cooldowns={"162": 60, "420": 5})
        await coordinator.record_failure("ibkr", code=1)
        assert not coordinator.get_provider_state("ibkr")["in_cooldown"]
        await coordinator.record_failure("ibkr", code=162)
        await coordinator.record_failure("ibkr", code="420")
        state = coordinator.get_provider_state("ibkr")
        assert state["in_cooldown"]
        assert state["cooldowns"] == {"code 162": 60, "code 420": 5}
        await coordinator.acquire("ibkr")
        assert clock.now_s == 60

    asyncio.run(scenario())


def test_rest_is_never_cut_short() -> None:
    """A shorter rest of the same scope does not end a longer one."""

    async def scenario() -> None:
        clock = ManualClock()
        coordinator = RateCoordinator(clock=clock)
        coordinator.register_provider("ibkr", cooldown_sec=600)
        await coordinator.trigger_cooldown("ibkr", "global")
        await coordinator.trigger_cooldown("ibkr", "global", 5)
        assert coordinator.get_provider_state("ibkr")["cooldown_left_sec"] == 600
        with pytest.raises(ConfigError, match="finite and not negative"):
            await coordinator.trigger_cooldown("ibkr", "global", -1)

    asyncio.run(scenario())


def test_scale_of_zero_pauses_who_waits_and_who_comes() -> None:
    """Nothing passes at a scale of 0, tokens or not; all pass again when it is lifted."""

    async def scenario() -> list[int]:
        coordinator = RateCoordinator()
        coordinator.register_provider("ibkr", capacity=100, refill_rate=1e6)
        passed: list[int] = []

        async def ask(number: int) -> None:
            await coordinator.acquire("ibkr")
            passed.append(number)

        coordinator.set_scale("ibkr", 0.0, level=PressureLevel.HARD)
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(ask(number))
            await turns(20)
            assert passed == []
            state = coordinator.get_provider_state("ibkr")
            assert (state["scale_factor"], state["pressure_state"]) == (0.0, "hard")
            coordinator.set_scale("ibkr", 1.0)
        return passed

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_sources_are_told_the_scale() -> None:
    """Those that are there, those that come later, and no longer those that left."""
    coordinator = RateCoordinator()
    first, second, other = Reader("ibkr"), Reader("ibkr"), Reader("yahoo")
    coordinator.attach(first)
    coordinator.attach(other)
    coordinator.set_scale("ibkr", 0.25)
    coordinator.attach(second)
    coordinator.detach(first)
    coordinator.set_scale("ibkr", 0.5)
    coordinator.detach(second)
    assert first.scales == [1.0, 0.25]
    assert second.scales == [0.25, 0.5]
    assert other.scales == [1.0]
    assert coordinator.scale("ibkr") == 1.0  # nobody is left who could be too fast
    with pytest.raises(ConfigError, match=r"`scale` must be between 0 and 1, was 1\.5"):
        coordinator.set_scale("ibkr", 1.5)


def test_registered_anew_takes_effect_at_once() -> None:
    """Who waits for the old rate is served at the new one."""

    async def scenario() -> bool:
        coordinator = RateCoordinator()
        coordinator.register_provider("ibkr", capacity=1, refill_rate=0.001)
        await coordinator.acquire("ibkr")
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(coordinator.acquire("ibkr"))
            await turns()
            coordinator.register_provider("ibkr", capacity=1, refill_rate=1e6)
        return True

    assert asyncio.run(scenario())
