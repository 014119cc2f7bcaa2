"""The token bucket lets pass what its budget allows, and can be slowed and stopped."""

from __future__ import annotations

import asyncio

import pytest

from market_data_pipeline.errors import PacingError
from market_data_pipeline.pacing import Budget, Pacer, budget_of
from market_data_pipeline.testing import ManualClock


class StoppedClock(ManualClock):
    """A clock whose sleeps end when the test moves it."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, delay_s: float) -> None:
        """Wait until the test has moved the clock far enough."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.monotonic() + delay_s, woken))
        await woken

    async def move(self, delay_s: float) -> None:
        """Let time pass, and those run whose time has come."""
        self.advance(delay_s)
        for at_s, woken in self._sleepers:
            if at_s <= self.monotonic() + 1e-9 and not woken.done():
                woken.set_result(None)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_burst_passes_at_once_then_rate_holds() -> None:
    """A full bucket lets its burst pass; after it messages pass at the rate."""

    async def steps() -> None:
        clock = ManualClock()
        pacer = Pacer(Budget(10, 5), clock=clock)
        for _ in range(5):
            await pacer.allow()
        assert clock.monotonic() == 0
        for _ in range(20):
            await pacer.allow()
        assert clock.monotonic() == pytest.approx(2.0, abs=1e-4)
        assert pacer.waits == 20

    asyncio.run(steps())


def test_idle_time_fills_no_more_than_burst() -> None:
    """Tokens that nobody takes do not pile up beyond the burst."""

    async def steps() -> None:
        clock = ManualClock()
        pacer = Pacer(Budget(10, 5), clock=clock)
        await pacer.allow(5)
        clock.advance(100)
        await pacer.allow(5)
        assert clock.monotonic() == 100
        await pacer.allow()
        assert clock.monotonic() == pytest.approx(100.1, abs=1e-4)

    asyncio.run(steps())


def test_more_than_burst_passes_when_so_much_has_come() -> None:
    """A request larger than the burst waits for as many tokens; it is not refused."""

    async def steps() -> None:
        clock = ManualClock()
        pacer = Pacer(Budget(10, 5), clock=clock)
        await pacer.allow(25)
        assert clock.monotonic() == pytest.approx(2.0, abs=1e-4)

    asyncio.run(steps())


def test_zero_burst_passes_one_by_one() -> None:
    """A burst of 0 is honoured: nothing passes at once, all pass at the rate."""

    async def steps() -> None:
        clock = ManualClock()
        pacer = Pacer(Budget(4, 0), clock=clock)
        for _ in range(8):
            await pacer.allow()
        assert clock.monotonic() == pytest.approx(2.0, abs=1e-4)

    asyncio.run(steps())


def test_scale_zero_pauses_and_any_other_wakes_at_once() -> None:
    """With a scale of 0 nobody passes, tokens or not; raising it lets who waits go on."""

    async def steps() -> None:
        clock = StoppedClock()
        pacer = Pacer(Budget(10, 5), clock=clock)
        pacer.scale = 0
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pacer.allow())
            await settle()
            await clock.move(1_000)
            assert not waiting.done()
            pacer.scale = 1
            await clock.move(0.1)
            assert waiting.done()

    asyncio.run(steps())


def test_raised_scale_shortens_the_wait_of_who_sleeps() -> None:
    """Who sleeps for a token at a low rate is served by the new rate at once."""

    async def steps() -> None:
        clock = StoppedClock()
        pacer = Pacer(Budget(10, 0), clock=clock)
        pacer.scale = 0.01
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pacer.allow())
            await settle()
            await clock.move(0.5)
            assert not waiting.done()
            pacer.scale = 1
            await settle()
            await clock.move(0.096)
            assert waiting.done()

    asyncio.run(steps())


def test_many_changes_of_scale_do_not_starve_a_large_request() -> None:
    """What a waiting request has gathered is kept when the scale changes."""

    async def steps() -> None:
        clock = StoppedClock()
        pacer = Pacer(Budget(10, 0), clock=clock)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pacer.allow(10))
            for step in range(25):
                pacer.scale = 0.5 if step % 2 else 1
                await settle()
                await clock.move(0.1)
            assert waiting.done()

    asyncio.run(steps())


def test_lowered_scale_holds_who_sleeps() -> None:
    """Who would have passed by the old rate waits by the new one."""

    async def steps() -> None:
        clock = StoppedClock()
        pacer = Pacer(Budget(10, 0), clock=clock)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pacer.allow())
            await settle()
            pacer.scale = 0
            await settle()
            await clock.move(60)
            assert not waiting.done()
            pacer.budget = Budget(1_000, 0)
            await settle()
            await clock.move(60)
            assert not waiting.done()
            pacer.scale = 1
            await settle()
            await clock.move(0.01)
            assert waiting.done()

    asyncio.run(steps())


def test_waiters_are_served_in_order_and_cancelled_ones_take_nothing() -> None:
    """A large request is not overtaken by small ones; one that gives up leaves its tokens."""

    async def steps() -> None:
        clock = StoppedClock()
        pacer = Pacer(Budget(1, 0), clock=clock)
        passed: list[str] = []

        async def want(name: str, n: float) -> None:
            await pacer.allow(n)
            passed.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(want("large", 3))
            given_up = group.create_task(want("given up", 50))
            group.create_task(want("small", 1))
            await settle()
            await clock.move(2)
            assert passed == []
            given_up.cancel()
            await clock.move(1)
            assert passed == ["large"]
            await clock.move(1)
            assert passed == ["large", "small"]

    asyncio.run(steps())


def test_replaced_budget_is_told_and_used() -> None:
    """The budget can be replaced, also by a bare pair, and `reset` fills the bucket."""

    async def steps() -> None:
        clock = ManualClock()
        pacer = Pacer((10, 5), clock=clock)
        await pacer.allow(5)
        pacer.budget = Budget(max_msgs_per_sec=100, burst=7)
        assert (pacer.budget.max_msgs_per_sec, pacer.budget.burst) == (100, 7)
        await pacer.reset()
        await pacer.allow(7)
        assert clock.monotonic() == 0
        await pacer.allow()
        assert clock.monotonic() == pytest.approx(0.01, abs=1e-4)

    asyncio.run(steps())


def test_pacer_is_made_without_a_loop_and_used_in_two() -> None:
    """Neither making a pacer nor using it binds it to an event loop."""
    pacer = Pacer(Budget(1_000_000, 1))

    async def steps() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(pacer.allow())

    asyncio.run(steps())
    asyncio.run(steps())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((-1, 5), "max_msgs_per_sec"),
        ((float("inf"), 5), "max_msgs_per_sec"),
        ((5, -1), "burst"),
        ((5,), "pair of rate and burst"),
        (None, "pair of rate and burst"),
    ],
)
def test_impossible_budget_is_refused(given: object, said: str) -> None:
    """A budget names what is wrong with it."""
    with pytest.raises(PacingError, match=said):
        budget_of(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [-0.1, 1.1, float("nan")])
def test_impossible_scale_is_refused(scale: float) -> None:
    """A scale is a share."""
    with pytest.raises(PacingError, match="scale"):
        Pacer(Budget(1, 1)).scale = scale
