"""The circuit breaker and the coordinator as state machines, against models written apart."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from market_data_pipeline.orchestration.circuit_breaker import CircuitBreaker, CircuitBreakerOpen
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from support.manual_clock import ManualClock


def now(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that does not wait for anything but the manual clock."""
    return asyncio.run(call)


class BreakerMachine(RuleBasedStateMachine):
    """Failures in a row, time and trials, as the docstring of the breaker has them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.breaker = CircuitBreaker(3, 10.0, 2, clock=self.clock)
        self.failures = 0
        self.opened_s: float | None = None
        self.passed = 0

    @property
    def expected(self) -> str:
        if self.opened_s is None:
            return "closed"
        return "open" if self.clock.now_s < self.opened_s + 10.0 else "half_open"

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def failure(self) -> None:
        state = self.expected
        now(self.breaker.record_failure())
        if state == "open":
            return
        self.failures += 1
        if state == "half_open" or self.failures >= 3:
            self.opened_s, self.passed = self.clock.now_s, 0

    @rule()
    def success(self) -> None:
        state = self.expected
        now(self.breaker.record_success())
        if state == "closed":
            self.failures = 0
        elif state == "half_open":
            self.passed += 1
            if self.passed == 2:
                self.failures, self.opened_s, self.passed = 0, None, 0

    @rule()
    def reset(self) -> None:
        now(self.breaker.reset())
        self.failures, self.opened_s, self.passed = 0, None, 0

    @rule()
    def burst(self) -> None:
        """However many ask at once, a half-open circuit lets through what it may."""
        state = self.expected
        passed = sum(self.breaker.admit() for _ in range(10))
        assert passed == {"closed": 10, "open": 0}.get(state, passed)
        if state == "half_open":
            assert passed <= 2

    @invariant()
    def state_is_that_of_the_model(self) -> None:
        assert self.breaker.get_state() == self.expected
        assert self.breaker.is_open() == (self.expected == "open")


class CoordinatorMachine(RuleBasedStateMachine):
    """Whoever is let through has a token, a provider at rest is not asked, and none is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.coordinator = RateCoordinator(clock=self.clock)
        self.coordinator.register_provider(
            "p", capacity=5, refill_rate=2, cooldown_sec=30, breaker_threshold=4
        )
        self.passed = 0
        self.rest_until_s = 0.0
        self.allowed = 5.0
        self.at_s = 0.0
        self.scale = 1.0

    def settle(self) -> None:
        """Count the tokens that may have come by now, at the rate there was."""
        self.allowed += (self.clock.now_s - self.at_s) * 2 * self.scale
        self.at_s = self.clock.now_s

    @rule(seconds=st.sampled_from([0.1, 1.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.settle()

    @rule(scale=st.sampled_from([0.1, 0.5, 1.0]))
    def scale_changes(self, scale: float) -> None:
        self.coordinator.set_scale("p", scale)
        self.scale = scale

    @rule(seconds=st.sampled_from([None, 0.5, 5.0]))
    def rest(self, seconds: float | None) -> None:
        now(self.coordinator.trigger_cooldown("p", "global", seconds))
        length = 30.0 if seconds is None else seconds
        self.rest_until_s = max(self.rest_until_s, self.clock.now_s + length)

    @rule(n=st.integers(1, 3))
    def ask(self, n: int) -> None:
        is_open = self.coordinator._breakers["p"].is_open()
        try:
            now(self.coordinator.acquire("p", n))
        except CircuitBreakerOpen:
            self.settle()
            assert is_open or self.coordinator._breakers["p"].get_state() != "closed"
            return
        self.settle()
        self.passed += n
        assert self.clock.now_s >= self.rest_until_s - 1e-6
        # The bucket holds no more than a burst, and no more passes than came into it.
        assert self.passed <= self.allowed + 1e-3

    @rule()
    def failure(self) -> None:
        now(self.coordinator.record_failure("p"))

    @rule()
    def success(self) -> None:
        now(self.coordinator.record_success("p"))

    @precondition(lambda self: self.coordinator.scale("p") > 0)
    @invariant()
    def state_can_be_told(self) -> None:
        state = self.coordinator.get_provider_state("p")
        assert state["in_cooldown"] == (self.clock.now_s < self.rest_until_s)
        assert state["scale_factor"] == self.scale


TestBreaker = BreakerMachine.TestCase
TestCoordinator = CoordinatorMachine.TestCase
