"""Runs that are dropped where they are, again and again, until one comes to its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from market_data_pipeline.clock import SystemClock
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import CheckpointError, NodeError
from market_data_pipeline.testing.schedules import run_shuffled

LIVES_MAX = 60


class HastyClock(SystemClock):  # type: ignore[misc]
    """A clock on which nobody sleeps for long."""

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


async def one_life(run: Run, turns: int, pause: int) -> RunResult | None:
    """Run for some turns of the loop, taking checkpoints; None if it was dropped."""

    async def checkpoints() -> None:
        while True:
            for _ in range(pause):
                await asyncio.sleep(0)
            with suppress(CheckpointError):
                await run.checkpoint()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        task = group.create_task(_outcome(run))
        asking = group.create_task(checkpoints())
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        task.cancel()
        asking.cancel()
    return None if task.cancelled() else task.result()


async def _outcome(run: Run) -> RunResult | None:
    try:
        return await run.run()
    except (CheckpointError, NodeError) as err:
        if "was to fail" in str(err):
            return None
        raise


def live_and_die(
    make: Callable[[int], Run], chance: random.Random, *, turns: int = 3_000
) -> tuple[RunResult, int]:
    """Return the result of the first life that comes to its end, and how many there were."""
    for life in range(LIVES_MAX):
        # Lives get longer, so that in the end one is long enough.
        limit = chance.randint(1, turns) * (1 + life)
        work = one_life(make(life), limit, chance.randint(1, 60))
        result = run_shuffled(work, chance.getrandbits(32))
        if result is not None:
            return result, life + 1
    msg = f"none of {LIVES_MAX} lives came to its end"
    raise AssertionError(msg)
