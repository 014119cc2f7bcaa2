"""Orchestration as version 0.8 has it, point by point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from market_data_pipeline.errors import ConfigurationError, SourceError
from market_data_pipeline.orchestration import (
    CircuitBreaker,
    PipelineRuntime,
    PipelineRuntimeSettings,
    RateCoordinator,
    SourceRegistry,
    SourceRouter,
)
from market_data_pipeline.orchestration.circuit_breaker import CircuitBreakerOpen
from market_data_pipeline.orchestration.router import RetryableError
from market_data_pipeline.source.base import SourceStatus


class Source:
    """A source of version 0.8 without capabilities and without health."""

    def __init__(self, *items: Any) -> None:
        self._items = items
        self.symbols = ["SPY"]
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1

    async def stream(self) -> AsyncIterator[Any]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item

    async def status(self) -> SourceStatus:
        return SourceStatus(connected=True)

    async def close(self) -> None:
        self.closed += 1


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_circuit_breaker_on_the_real_clock() -> None:
    """It opens at the threshold, is not open after the timeout, and is closed by a reset."""

    async def scenario() -> None:
        breaker = CircuitBreaker(threshold=3, timeout=0.1)
        seen = [(breaker.is_open(), breaker.get_state())]
        for _ in range(3):
            await breaker.record_failure()
            seen.append((breaker.is_open(), breaker.get_state()))
        assert seen == [(False, "closed")] * 3 + [(True, "open")]
        await asyncio.sleep(0.15)
        assert not breaker.is_open()
        await breaker.reset()
        assert breaker.get_state() == "closed"

    run(scenario)


def test_coordinator_needs_no_loop_to_register() -> None:
    """Registered names are keys of its private tables."""
    coordinator = RateCoordinator()
    coordinator.register_provider("p", capacity=10, refill_rate=10)
    assert "p" in coordinator._buckets
    assert "p" in coordinator._cooldowns
    assert "p" in coordinator._breakers


def test_coordinator_acquires_refuses_and_tells() -> None:
    """Tokens pass at once, unknown names are refused, an open circuit raises."""

    async def scenario() -> None:
        coordinator = RateCoordinator()
        coordinator.register_provider("p", capacity=10, refill_rate=10, breaker_threshold=2)
        async with asyncio.timeout(1):
            await coordinator.acquire("p")
            await coordinator.acquire("p", n=3)
        with pytest.raises(ValueError, match="not registered"):
            await coordinator.acquire("unknown")
        await coordinator.record_failure("p")
        await coordinator.record_success("p")
        await coordinator.record_failure("p")
        await coordinator.record_failure("p")
        with pytest.raises(CircuitBreakerOpen):
            await coordinator.acquire("p")
        await coordinator.trigger_cooldown("p", "global", duration_sec=1)
        state = coordinator.get_provider_state("p")
        assert state["provider"] == "p"
        assert state["circuit_state"] == "open"
        assert state["in_cooldown"] is True
        assert {"scale_factor", "pressure_state"} <= state.keys()
        assert "error" in coordinator.get_provider_state("unknown")

    run(scenario)


def test_registry() -> None:
    """It gives back what was registered, the built-in source, and nothing else."""
    registry = SourceRegistry()
    assert registry.list_sources() == []
    registry.register("one", Source)
    registry.register("two", Source)
    assert registry.load("one") is Source
    assert len(registry.list_sources()) == 2
    registry.discover_entrypoints()
    registry.discover_entrypoints(group="no.such.group")
    assert SourceRegistry().load("synthetic").__name__ == "SyntheticSource"
    with pytest.raises(ImportError):
        registry.load("no_such_source")


def test_router_passes_one_source_through() -> None:
    """With one source it gives what that gives."""

    async def scenario() -> None:
        router = SourceRouter([Source(1, 2, 3)])
        assert [item async for item in router.stream()] == [1, 2, 3]

    run(scenario)


def test_router_fails_over() -> None:
    """The second source takes over from the first."""

    async def scenario() -> None:
        router = SourceRouter([Source(RetryableError("down")), Source(1, 2)], strategy="first")
        assert [item async for item in router.stream()] == [1, 2]

    run(scenario)


def test_router_whose_sources_all_fail() -> None:
    """It says so, and why."""

    async def scenario() -> None:
        sources = [Source(RetryableError("down")), Source(RetryableError("too"))]
        with pytest.raises(SourceError, match=r"All sources failed .*down.*too"):
            _ = [item async for item in SourceRouter(sources, max_retries=1).stream()]

    run(scenario)


def test_router_sources_can_be_added_and_removed() -> None:
    """They are in `sources`; none at all is refused."""
    first, second = Source(), Source()
    router = SourceRouter([first])
    router.add_source(second)
    assert router.sources == [first, second]
    router.remove_source(first)
    assert router.sources == [second]
    with pytest.raises(ValueError, match="at least one source"):
        SourceRouter([])


def test_router_status_and_close() -> None:
    """It is connected once it has given something, also after the consumer has left."""

    async def scenario() -> None:
        sources = [Source(1, 2, 3), Source()]
        router = SourceRouter(sources)
        before = await router.status()
        assert before.connected is False
        async for _ in router.stream():
            break
        assert (await router.status()).connected is True
        assert router.symbols == ["SPY"]
        await router.close()
        assert [source.closed for source in sources] == [1, 1]

    run(scenario)


def test_router_takes_a_plain_status() -> None:
    """A source may tell its status without being awaited."""

    class Plain(Source):
        def status(self) -> SourceStatus:  # type: ignore[override]
            return SourceStatus(connected=True)

    async def scenario() -> None:
        router = SourceRouter([Plain(1)])
        async for _ in router.stream():
            break
        assert (await router.status()).connected is True
        await router.close()

    run(scenario)


def test_runtime_settings_are_plain_attributes() -> None:
    """Defaults and values of one's own."""
    settings = PipelineRuntimeSettings()
    assert settings.orchestration_enabled is True
    assert settings.max_concurrent_pipelines == 10
    assert settings.enable_rate_coordination is True
    assert settings.circuit_breaker_threshold == 5
    assert settings.circuit_breaker_timeout_sec == 60.0
    own = PipelineRuntimeSettings(
        orchestration_enabled=False,
        max_concurrent_pipelines=5,
        enable_rate_coordination=False,
        circuit_breaker_threshold=3,
        circuit_breaker_timeout_sec=30.0,
        providers={"ibkr": {"capacity": 30}},
    )
    assert own.providers == {"ibkr": {"capacity": 30}}
    assert own.orchestration_enabled is False
    assert own.max_concurrent_pipelines == 5
    assert own.circuit_breaker_timeout_sec == 30.0


def test_setting_of_a_provider_that_is_none_is_refused_by_the_runtime() -> None:
    """Settings hold what they are given; whoever uses them looks at it."""
    settings = PipelineRuntimeSettings(providers={"ibkr": {"capacty": 30}})
    with pytest.raises(ConfigurationError, match="did you mean `capacity`"):
        PipelineRuntime(settings)


def test_runtime_life() -> None:
    """It is initialized by hand or by the block, and has no pipelines at first."""

    async def scenario() -> None:
        runtime = PipelineRuntime()
        assert None not in (runtime.settings, runtime.registry, runtime.service)
        seen = [runtime._initialized]
        await runtime.initialize()
        seen.append(runtime._initialized)
        assert await runtime.list_pipelines() == []
        await runtime.shutdown()
        seen.append(runtime._initialized)
        async with PipelineRuntime() as other:
            seen.append(other._initialized)
            assert other.service.running
        seen.append(other._initialized)
        assert seen == [False, True, False, True, False]

    run(scenario)


@pytest.mark.parametrize("coordinated", [True, False])
def test_runtime_streams_quotes(coordinated: bool) -> None:
    """Quotes of the symbol come, with rate coordination and without."""

    async def scenario() -> None:
        settings = PipelineRuntimeSettings(enable_rate_coordination=coordinated)
        async with asyncio.timeout(10), PipelineRuntime(settings) as runtime:
            quotes = []
            async for quote in runtime.stream_quotes(["SPY"], source_priority=["synthetic"]):
                quotes.append(quote)
                if len(quotes) == 5:
                    break
            assert [quote.symbol for quote in quotes] == ["SPY"] * 5

    run(scenario)
