from __future__ import annotations

import asyncio
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import ThrottledReader
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.source.pacing import EventTime
from support.manual_clock import ManualClock

SECOND = 10**9


class HeldClock(ManualClock):
    """A clock on which who sleeps waits until a test lets time pass."""

    def __init__(self) -> None:
        super().__init__()
        self._sleeping: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, delay_s: float) -> None:
        woken = asyncio.Event()
        self._sleeping.append((self.now_s + delay_s, woken))
        await woken.wait()

    async def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        for due_s, woken in self._sleeping:
            if due_s <= self.now_s + 1e-9:
                woken.set()
        for _ in range(10):
            await asyncio.sleep(0)


def test_throttle_takes_effect_for_who_waits() -> None:
    """A wait under way gets longer or shorter; with 0 it lasts until the rate is back."""

    async def scenario() -> list[float]:
        clock = HeldClock()
        time = EventTime(clock, 1.0)
        time.start(0)
        time.throttle(1.0)
        came: list[float] = []

        async def wait() -> None:
            for second in range(1, 6):
                await time.until(second * SECOND)
                came.append(clock.now_s)

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await clock.pass_s(0)
            await clock.pass_s(1)
            time.throttle(0.1)
            for _ in range(20):
                await clock.pass_s(0.5)
            time.throttle(0.0)
            for _ in range(20):
                await clock.pass_s(0.5)
            time.throttle(1.0)
            for _ in range(10):
                await clock.pass_s(0.5)
        return came

    assert asyncio.run(scenario()) == pytest.approx([1, 11, 22, 23, 24], abs=0.51)


def test_throttled_source_does_not_catch_up() -> None:
    """What a slow reader owed when it was throttled is not given all at once."""

    async def scenario() -> list[float]:
        clock = ManualClock()
        time = EventTime(clock, 1.0)
        time.start(0)
        time.throttle(1.0)
        due = [await time.until(SECOND)]
        clock.now_s += 10  # nobody reads
        time.throttle(0.1)
        due.append(await time.until(2 * SECOND))
        clock.now_s += 10
        time.throttle(1.0)
        due.append(await time.until(3 * SECOND))
        return [round(ns / SECOND, 3) for ns in due]

    assert asyncio.run(scenario()) == [1, 2, 3]


def test_source_that_is_not_throttled_catches_up() -> None:
    """A replay that was held up gives at once what has become due."""

    async def scenario() -> int:
        clock = ManualClock()
        time = EventTime(clock, 1.0)
        time.start(0)
        clock.now_s += 10
        return await time.until(SECOND)

    assert asyncio.run(scenario()) == 10 * SECOND


@pytest.mark.parametrize("make", ["synthetic", "replay"])
def test_source_of_a_provider_can_be_throttled(make: str, tmp_path: Any) -> None:
    """Its rows come at a share of the rate; without a provider no store can slow it down."""
    ticks = tmp_path / "ticks.csv"
    dag = mdp.Dag("make")
    plain: dict[str, Any] = {"duplicates": 0, "disorder": 0, "late": 0}
    dag.source(mdp.SyntheticSource(rows=3000, rate=100, **plain)).sink(mdp.CsvSink(ticks))
    mdp.run(dag)

    def source(**settings: Any) -> Any:
        if make == "synthetic":
            return mdp.SyntheticSource(rows=3000, rate=100, **plain, **settings)
        return mdp.ReplaySource(ticks, **settings)

    async def rate(scale: float, clock: ManualClock) -> float:
        reader: Any = await source(speed=2, provider="sim").open(NodeContext("feed", clock=clock))
        throttled: object = reader
        assert isinstance(throttled, ThrottledReader)
        assert throttled.provider == "sim"
        throttled.throttle(scale)
        rows, began = 0, clock.now_s
        while rows < 200:
            for _, item in await reader.read():
                rows += len(item) if isinstance(item, Batch) else 0
        await reader.close()
        return rows / (clock.now_s - began)

    async def scenario() -> tuple[float, float, bool]:
        reader: Any = await source(speed=2).open(NodeContext("feed"))
        is_throttled = isinstance(reader, ThrottledReader)
        await reader.close()
        clock = ManualClock()
        return await rate(1.0, clock), await rate(0.25, clock), is_throttled

    full, quarter, is_throttled = asyncio.run(scenario())
    assert quarter == pytest.approx(full / 4, rel=0.02)
    assert not is_throttled
    with pytest.raises(ConfigError, match="`provider` needs a name and a `speed` other than"):
        source(provider="sim")
