from __future__ import annotations

import asyncio

import pytest

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.circuit_breaker import CircuitBreaker
from support.manual_clock import ManualClock


def test_opens_at_the_threshold_and_is_tried_after_the_timeout() -> None:
    """Closed, open, half open, and closed again once the trial has succeeded."""

    async def scenario() -> None:
        clock = ManualClock()
        breaker = CircuitBreaker(threshold=3, timeout=10, clock=clock)
        states = [breaker.get_state()]
        for _ in range(3):
            assert breaker.admit()
            await breaker.record_failure()
            states.append(breaker.get_state())
        assert states == ["closed", "closed", "closed", "open"]
        assert not breaker.admit()
        clock.now_s = 4
        assert breaker.retry_after_s() == 6
        clock.now_s = 10
        assert breaker.get_state() == "half_open"
        assert not breaker.is_open()
        assert [breaker.admit(), breaker.admit()] == [True, False]
        await breaker.record_success()
        assert breaker.get_state() == "closed"

    asyncio.run(scenario())


def test_trial_that_fails_opens_it_for_another_timeout() -> None:
    """One failure is enough when half open."""

    async def scenario() -> None:
        clock = ManualClock()
        breaker = CircuitBreaker(threshold=2, timeout=10, clock=clock)
        await breaker.record_failure()
        await breaker.record_failure()
        clock.now_s = 11
        assert breaker.admit()
        await breaker.record_failure()
        assert breaker.is_open()
        clock.now_s = 20.9
        assert breaker.is_open()
        clock.now_s = 21
        assert not breaker.is_open()

    asyncio.run(scenario())


def test_late_failure_does_not_keep_it_open() -> None:
    """Calls that were under way when it opened may fail without pushing the trial back."""

    async def scenario() -> None:
        clock = ManualClock()
        breaker = CircuitBreaker(threshold=1, timeout=10, clock=clock)
        await breaker.record_failure()
        clock.now_s = 9
        await breaker.record_failure()
        clock.now_s = 10
        assert not breaker.is_open()

    asyncio.run(scenario())


def test_lost_trial_does_not_block_it_for_ever() -> None:
    """A trial whose end nobody tells counts no longer after the timeout."""

    async def scenario() -> None:
        clock = ManualClock()
        breaker = CircuitBreaker(threshold=1, timeout=10, clock=clock)
        await breaker.record_failure()
        clock.now_s = 10
        assert breaker.admit()
        clock.now_s = 19
        assert not breaker.admit()
        clock.now_s = 20
        assert breaker.admit()

    asyncio.run(scenario())


def test_success_begins_the_count_anew() -> None:
    """Only failures in a row open it."""

    async def scenario() -> None:
        breaker = CircuitBreaker(threshold=3, clock=ManualClock())
        for outcome in "FFSFF":
            await (breaker.record_failure() if outcome == "F" else breaker.record_success())
        assert breaker.get_state() == "closed"
        await breaker.record_failure()
        assert breaker.is_open()
        await breaker.reset()
        assert breaker.get_state() == "closed"

    asyncio.run(scenario())


def test_numbers_that_cannot_be_are_refused() -> None:
    """A threshold of zero would be a circuit that is always open."""
    with pytest.raises(ConfigError, match="`threshold` of a circuit breaker must be at least 1"):
        CircuitBreaker(threshold=0)
    with pytest.raises(ConfigError, match="`half_open_attempts`"):
        CircuitBreaker(half_open_attempts=0)
    with pytest.raises(ConfigError, match="`timeout` of a circuit breaker must not be negative"):
        CircuitBreaker(timeout=float("nan"))
