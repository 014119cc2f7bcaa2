from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from market_data_pipeline.errors import ConfigError, RetryableError, SourceError
from market_data_pipeline.source.routing import Lost, Routing
from support.manual_clock import ManualClock


class Member:
    """Gives a script each time it is opened; counts openings and closings."""

    def __init__(self, *scripts: list[Any]) -> None:
        self._scripts = list(scripts)
        self.opened = self.closed = 0

    async def __call__(self) -> AsyncIterator[Any]:
        script = self._scripts[min(self.opened, len(self._scripts) - 1)]
        self.opened += 1
        try:
            for item in script:
                if isinstance(item, Exception):
                    raise item
                if item == "wait":
                    await asyncio.get_running_loop().create_future()
                elif isinstance(item, int) and item < 0:
                    for _ in range(-item):
                        await asyncio.sleep(0)
                else:
                    yield item
        finally:
            self.closed += 1


DOWN = RetryableError("down")


def read(
    strategy: Any,
    *members: Member,
    most: int = 100,
    fail_back_s: float = 1000,
    each: Callable[[ManualClock], None] = lambda _: None,
) -> list[Any]:
    clock = ManualClock()

    async def scenario() -> list[Any]:
        routing: Routing[Any] = Routing(
            members,
            strategy,
            2,
            fail_back_s=fail_back_s,
            retryable=(RetryableError,),
            clock=clock,
        )
        items, found = routing.stream(), []
        async with asyncio.timeout(10):
            async for item in items:
                found.append(f"lost {item.member}" if isinstance(item, Lost) else item)
                each(clock)
                await asyncio.sleep(0)
                if len(found) == most:
                    break
            await items.aclose()
        return found

    found = asyncio.run(scenario())
    assert all(member.opened == member.closed for member in members)
    return found


def test_first_stays_with_what_works() -> None:
    """Another one takes over where one fails, and it is not gone back."""
    a, b = Member([1, DOWN]), Member([2, 3])
    assert read("first", a, b) == [1, "lost 0", 2, 3]
    assert a.opened == 1


def test_failover_goes_back_once_the_preferred_one_works() -> None:
    """It is tried beside the one that is read, and read again from its first item on."""
    a, b = Member([1, DOWN], [DOWN], [10, 11]), Member(list(range(100, 200)))

    def second(clock: ManualClock) -> None:
        clock.now_s += 1

    found = read("failover", a, b, fail_back_s=5, each=second)
    assert found[:3] == [1, "lost 0", 100]
    assert found[-2:] == [10, 11]
    assert 5 <= len(found) - 4 <= 25
    assert a.opened == 3


def test_round_robin_takes_the_next_one() -> None:
    """After a failure it is the turn of the one behind."""
    members = [Member([n, DOWN], [DOWN]) for n in range(3)]
    with pytest.raises(SourceError, match="All sources failed"):
        read("round_robin", *members)
    members = [Member([0, DOWN]), Member([1, DOWN]), Member([2])]
    assert read("round_robin", *members) == [0, "lost 0", 1, "lost 1", 2]


def test_fastest_takes_who_answers_first() -> None:
    """The others are asked too, and closed."""
    slow, quick, dead = Member(["wait"]), Member([-3, 1, 2]), Member([DOWN])
    assert read("fastest", slow, quick, dead) == [1, 2]


def test_member_that_keeps_failing_is_given_up_after_pauses() -> None:
    """Each is tried as often as it may be; an item it gives begins the count anew."""
    a, b = Member([DOWN]), Member([DOWN])
    with pytest.raises(SourceError, match=r"All sources failed \(1: down; 2: down\)"):
        read("first", a, b)
    assert (a.opened, b.opened) == (3, 3)
    again = Member([1, DOWN])
    assert read("first", again, most=21).count(1) >= 10


def test_other_errors_are_raised() -> None:
    """A bug in a source is no reason to try another one."""
    for strategy in ("first", "fastest", "failover"):
        with pytest.raises(ZeroDivisionError):
            read(strategy, Member([ZeroDivisionError("bug")]), Member([-50, 1]))


def test_settings_that_cannot_be_are_refused() -> None:
    """An unknown strategy, no members, less than no retries."""

    def make(members: list[Any], strategy: Any, retries: int) -> None:
        Routing(members, strategy, retries, fail_back_s=1, retryable=(RetryableError,))

    with pytest.raises(ConfigError, match="did you mean `fastest`"):
        make([Member()], "fastes", 1)
    with pytest.raises(ConfigError, match="at least one source"):
        make([], "first", 1)
    with pytest.raises(ConfigError, match="must not be negative"):
        make([Member()], "first", -1)
