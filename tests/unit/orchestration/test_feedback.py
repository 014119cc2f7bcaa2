from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from market_data_pipeline.dag.graph import Dag, Edge
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from market_data_pipeline.orchestration.feedback import FeedbackLoop
from market_data_pipeline.orchestration.settings import FeedbackSettings
from support.manual_clock import ManualClock
from support.nodes import RecordingSink, ScriptedSource

SOFT, HARD, OK = PressureLevel.SOFT, PressureLevel.HARD, PressureLevel.OK


async def turns_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells when it is
        await asyncio.sleep(0)


class Reader:
    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.scale = -1.0

    def throttle(self, scale: float) -> None:
        self.scale = scale


class Publisher:
    def __init__(self) -> None:
        self.tell: Callable[[Pressure], None] | None = None

    def on_pressure(self, listener: Callable[[Pressure], None] | None) -> None:
        self.tell = listener


class Looked(Run):
    """A run that is open from the start, and whose sinks are as full as a test says."""

    def __init__(self, **readers: Reader) -> None:
        super().__init__(graph())
        self.readers = readers
        self.full = {"left": 0, "right": 0}
        self.told = {"left": Publisher(), "right": Publisher()}
        self._phase = "running"

    def throttled(self) -> Any:
        return self.readers

    def pressures(self) -> dict[str, Pressure]:
        return {name: Pressure(depth, 100) for name, depth in self.full.items()}

    def publishers(self) -> Any:
        return self.told


def graph() -> Dag:
    """Return `one` -> `left`, and `one` and `two` -> `right`."""
    dag = Dag("g")
    dag.add(ScriptedSource(items=[]), name="one")
    dag.add(ScriptedSource(items=[]), name="two")
    dag.add(RecordingSink(log=[]), name="left", inputs=[Edge("one")])
    dag.add(RecordingSink(log=[]), name="right", inputs=[Edge("one"), Edge("two")])
    return dag


def make(**settings: Any) -> tuple[FeedbackLoop, RateCoordinator, ManualClock]:
    clock = ManualClock()
    coordinator = RateCoordinator(clock=clock)
    return FeedbackLoop(coordinator, FeedbackSettings(**settings), clock=clock), coordinator, clock


async def watching(stack: AsyncExitStack, loop: FeedbackLoop, **runs: Run) -> None:
    """Watch runs, and look only when the test does."""
    for key, run in runs.items():
        await stack.enter_async_context(loop.watch(key, run))
    if loop._task is not None:
        loop._task.cancel()
        await asyncio.wait([loop._task])
    loop.look()


def test_provider_is_slowed_by_the_worst_of_the_sinks_it_feeds() -> None:
    """A source that feeds no sink in need keeps its budget."""

    async def scenario() -> None:
        loop, _, clock = make()
        a, b = Reader("a"), Reader("b")
        run = Looked(one=a, two=b)
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            assert (a.scale, b.scale) == (1.0, 1.0)
            run.full["left"] = 60
            clock.now_s += 1
            loop.look()
            assert a.scale < 1.0
            assert b.scale == 1.0
            run.full["right"] = 95
            clock.now_s += 1
            loop.look()
            assert (a.scale, b.scale) == (0.0, 0.0)
            state = loop.state()
            assert state.providers["b"].level is HARD
            assert state.providers["b"].reason == "paused, `right`: its queue is 95% full"
            assert state.providers["b"].sources == (("g", "two"),)
            assert state.sinks["g", "right"].providers == ("a", "b")
            assert state.sinks["g", "left"].saturation == 0.6

    asyncio.run(scenario())


def test_two_runs_share_their_provider() -> None:
    """A store that is in need in one run slows down the provider in the other too."""

    async def scenario() -> None:
        loop, _, clock = make()
        first, second = Looked(one=Reader("a")), Looked(one=Reader("a"))
        async with AsyncExitStack() as stack:
            await watching(stack, loop, first=first, second=second)
            second.full["left"] = 95
            clock.now_s += 1
            loop.look()
            assert first.readers["one"].scale == second.readers["one"].scale == 0.0

    asyncio.run(scenario())


def test_event_counts_at_the_next_look_and_is_taken_back() -> None:
    """What a sink pushes makes it worse than its figures say, until it says otherwise."""

    async def scenario() -> None:
        loop, _, clock = make()
        a = Reader("a")
        run = Looked(one=a)
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            assert run.told["left"].tell is not None
            run.told["left"].tell(Pressure(16, 20, level=HARD))
            assert a.scale == 1.0  # the sink that tells it is not made to wait
            clock.now_s += 0.1
            loop.look()
            assert a.scale == 0.0
            run.told["left"].tell(Pressure(10, 20, level=OK))
            clock.now_s += 0.1
            loop.look()
            assert a.scale > 0.0
            assert loop.state().events == 2
        assert run.told["left"].tell is None

    asyncio.run(scenario())


def test_event_of_a_store_that_died_is_forgotten() -> None:
    """Nobody is paused for ever by an event that nobody takes back."""

    async def scenario() -> None:
        loop, _, clock = make()
        a = Reader("a")
        run = Looked(one=a)
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            loop.put_nowait("g", "left", Pressure(20, 20, level=HARD))
            loop.look()
            assert a.scale == 0.0
            clock.now_s += 6
            loop.look()
            assert a.scale > 0.0

    asyncio.run(scenario())


def test_events_are_bounded_and_the_lost_are_counted() -> None:
    """The oldest are forgotten; who publishes never waits, also for runs nobody knows."""

    async def scenario() -> None:
        loop, _, _ = make(events_max=3)
        a = Reader("a")
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=Looked(one=a))
            for level in (OK, OK, OK, OK, SOFT, HARD):
                loop.put_nowait("g", "left", Pressure(1, 20, level=level))
            loop.put_nowait("unknown", "left", Pressure(20, 20))
            loop.look()
            assert a.scale == 0.0
            assert (loop.state().events, loop.state().events_lost) == (3, 4)

    asyncio.run(scenario())


def test_slow_commits_ask_for_less() -> None:
    """A store whose queue is empty may be in need all the same, if told how to see it."""

    async def scenario() -> None:
        loop, _, clock = make(commit_soft_s=0.5)
        a = Reader("a")
        run = Looked(one=a)
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            run.pressures = lambda: {"left": Pressure(1, 100, commit_s=0.8)}  # type: ignore[method-assign]
            clock.now_s += 1
            loop.look()
            assert a.scale < 1.0
            assert "a commit took 0.80 s" in loop.state().providers["a"].reason

    asyncio.run(scenario())


def test_budget_is_whole_again_when_the_run_is_over() -> None:
    """What a run left behind does not slow down the next one."""

    async def scenario() -> None:
        loop, coordinator, clock = make()
        run = Looked(one=Reader("a"))
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            run.full["left"] = 95
            clock.now_s += 1
            loop.look()
            assert coordinator.scale("a") == 0.0
        assert coordinator.scale("a") == 1.0
        assert loop.state().providers == {}
        fresh = Reader("a")
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=Looked(one=fresh))
            assert fresh.scale == 1.0

    asyncio.run(scenario())


def test_loop_that_fails_lets_go_of_every_provider() -> None:
    """Channels alone hold rows up then; the failure is told."""

    async def scenario() -> None:
        loop, coordinator, _ = make()
        run = Looked(one=Reader("a"))
        run.full["left"] = 95

        def broken() -> dict[str, Pressure]:
            msg = "no figures"
            raise RuntimeError(msg)

        async with asyncio.timeout(10), loop.watch("g", run):
            for _ in range(20):
                await asyncio.sleep(0)
            assert coordinator.scale("a") == 0.0
            run.pressures = broken  # type: ignore[method-assign]
            await turns_until(lambda: loop.failure is not None)
            assert str(loop.failure) == "no figures"
            assert coordinator.scale("a") == 1.0

    asyncio.run(scenario())


def test_pushed_event_wakes_the_loop() -> None:
    """A store in need is heard before the next look is due, also from another thread."""

    async def scenario() -> None:
        coordinator = RateCoordinator()
        loop = FeedbackLoop(coordinator, FeedbackSettings(interval_s=1000))
        async with asyncio.timeout(10), loop.watch("g", Looked(one=Reader("a"))):
            await asyncio.sleep(0)
            await asyncio.to_thread(loop.put_nowait, "g", "left", Pressure(1, 1, level=HARD))
            await turns_until(lambda: coordinator.scale("a") == 0.0)

    asyncio.run(scenario())


def test_run_that_never_opens_is_left_alone() -> None:
    """A run that is not open has no sources to throttle."""

    async def scenario() -> None:
        loop, _, _ = make()
        run = Run(graph())
        async with AsyncExitStack() as stack:
            await watching(stack, loop, g=run)
            loop.put_nowait("g", "left", Pressure(1, 1, level=HARD))
            loop.look()
            assert loop.state().providers == {}

    asyncio.run(scenario())
