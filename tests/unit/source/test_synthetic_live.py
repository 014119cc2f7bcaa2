"""A market that happens now: evenly spaced, at the clock's time, within its budget."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import ThrottledReader
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.pacing import Budget
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.testing import ManualClock

NOON = 1_704_200_400 * 10**9
Source: Any = SyntheticSource


def read(source: Any, rows: int, clock: ManualClock | None = None) -> tuple[Batch, ManualClock]:
    clock = clock or ManualClock(NOON)

    async def steps() -> Batch:
        account = Account("ticks")
        reader = await source.open(NodeContext("ticks", clock=clock, account=account))
        found: list[Batch] = []
        while sum(map(len, found)) < rows:
            given = await reader.read()
            found += [item for _, item in given]
        await reader.close()
        whole = Batch.concat(found)
        assert account.rows_in == len(whole)
        assert reader.fraction() is None
        return whole

    return asyncio.run(steps()), clock


def test_ticks_come_at_their_rate_and_bear_the_time() -> None:
    """50 ticks a second take a second for 50, and each has the time at which it came."""
    batch, clock = read(Source(["A", "B"], ticks_per_sec=50), 51)
    assert clock.now_ns() - NOON == pytest.approx(10**9, abs=10**6)
    assert int(batch.times[0]) == NOON
    steps = np.diff(batch.times)
    assert steps.min() >= 19_000_000
    assert (batch.times % 1_000 == 0).all()
    assert batch["symbol"].tolist()[:4] == [0, 1, 0, 1]
    assert batch["sequence"].tolist()[:4] == [1, 1, 2, 2]


def test_budget_bounds_the_rate() -> None:
    """A burst passes at once, the rest at the budget's rate."""
    _, clock = read(Source(["A"], 1_000, Budget(10, 5)), 25)
    assert (clock.now_ns() - NOON) / 1e9 == pytest.approx(2, abs=0.2)


def test_ticks_missed_are_not_made_up_for() -> None:
    """After a pause there is half a second's worth of them, not all."""
    clock = ManualClock(NOON)

    async def steps() -> int:
        source = Source(["A"], ticks_per_sec=100, pacing_budget=(10_000, 10_000))
        reader = await source.open(NodeContext("ticks", clock=clock))
        await reader.read()
        clock.advance(60)
        at = clock.now_ns()
        rows = 0
        while clock.now_ns() == at:
            rows += sum(len(item) for _, item in await reader.read())
        return rows

    assert asyncio.run(steps()) <= 60


def test_provider_that_is_throttled_gives_less() -> None:
    """Only a market with a provider's name can be slowed down; at 0 it waits."""

    async def steps() -> None:
        clock = ManualClock(NOON)
        reader: Any = await Source(["A"], provider="venue", ticks_per_sec=100).open(
            NodeContext("ticks", clock=clock)
        )
        throttled: object = reader
        assert isinstance(throttled, ThrottledReader)
        assert reader.provider == "venue"
        reader.throttle(0)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not reading.done()
            reader.throttle(1)
        assert reading.result()
        plain = await Source(["A"], ticks_per_sec=100).open(NodeContext("ticks", clock=clock))
        assert not isinstance(plain, ThrottledReader)

    asyncio.run(steps())


def test_quotes_have_two_sides() -> None:
    """The kind holds for a market that happens now too."""
    batch, _ = read(Source(symbols=("A",), kind="quotes", ticks_per_sec=10), 5)
    assert (batch["ask_price"] > batch["bid_price"]).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate": 5}, "`rate` is of a market in event time"),
        ({"rows": 5}, "`rows` is of a market in event time"),
        ({"ticks_per_sec": -1}, "ticks_per_sec"),
        ({"ticks_per_sec": None, "pacing_budget": (5, 5), "rows": 3}, "set `ticks_per_sec` too"),
    ],
)
def test_settings_of_two_markets_do_not_mix(settings: dict[str, Any], said: str) -> None:
    """What would be ignored is refused."""
    with pytest.raises(ConfigError, match=said):
        Source(**{"symbols": ("A",), "ticks_per_sec": 10} | settings)


def test_arguments_are_taken_once() -> None:
    """A name twice is an error, as everywhere."""
    with pytest.raises(TypeError, match="each once"):
        Source(["A"], symbols=["B"])


def test_streamed_market_happens_now_unless_settings_say_otherwise() -> None:
    """As version 0.8 streams it; a market of so many rows is given as it is."""
    assert Source(symbols=("A",)).as_streamed().ticks_per_sec == 100
    assert Source(rows=5).as_streamed().ticks_per_sec is None

    async def steps() -> int:
        return len([quote async for quote in Source(rows=5, duplicates=0).stream()])

    assert asyncio.run(steps()) == 5
