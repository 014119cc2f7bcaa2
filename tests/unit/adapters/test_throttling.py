"""A provider's budget, and the share of it that may be used."""

from __future__ import annotations

import asyncio

import pytest

from market_data_pipeline.adapters.throttling import Throttle
from market_data_pipeline.pacing import Budget
from support.manual_clock import ManualClock


async def pass_rows(throttle: Throttle, clock: ManualClock, rows: int, *, each_s: float) -> float:
    """Let rows pass that come at a rate; return how long that took."""
    began_s = clock.now_s
    for _ in range(rows):
        clock.now_s += each_s
        await throttle.allow()
        throttle.saw()
    return clock.now_s - began_s


def test_without_budget_all_pass_and_the_rate_is_measured() -> None:
    """A share is one of the highest rate there was; at 1 all pass again."""
    clock = ManualClock()
    throttle = Throttle(None, clock)

    async def main() -> list[float]:
        took = [await pass_rows(throttle, clock, 300, each_s=0.01)]
        throttle.scale = 0.5
        took.append(await pass_rows(throttle, clock, 300, each_s=0.0))
        throttle.scale = 1.0
        took.append(await pass_rows(throttle, clock, 300, each_s=0.0))
        return took

    free, halved, again = asyncio.run(main())
    assert free == pytest.approx(3)
    # The highest rate was 100 a second, so that 300 take 6 s at half of it, less the burst.
    assert halved == pytest.approx(6, abs=0.3)
    assert again == 0


def test_budget_holds_at_every_scale() -> None:
    """Also at 1."""
    clock = ManualClock()
    throttle = Throttle(Budget(100, 1), clock)

    async def main() -> list[float]:
        took = [await pass_rows(throttle, clock, 100, each_s=0.0)]
        throttle.scale = 0.25
        took.append(await pass_rows(throttle, clock, 100, each_s=0.0))
        return took

    assert asyncio.run(main()) == [pytest.approx(1, abs=0.05), pytest.approx(4, abs=0.1)]


def test_pause_of_a_provider_never_seen_is_a_pause() -> None:
    """Nothing passes at 0, whatever is known of its rate."""
    throttle = Throttle(None, ManualClock())
    throttle.scale = 0.0

    async def main() -> None:
        async with asyncio.timeout(0.02):
            await throttle.allow()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert throttle.scale == 0
