"""A job that is cancelled at any step of the event loop goes on with each row once."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.flow import Dag
from market_data_pipeline.source.scripted import Pause, ScriptedSource
from market_data_pipeline.testing.schedules import ShuffledLoop
from support.epoch_sink import EpochSink, Row

STEPS_MAX = 2_000
EVERY = max(1, 30_000 // int(os.environ.get("MDP_EXAMPLES", "300")))
"""In each of ten parts one of so many steps is tried; with 30,000 examples every one is."""
_SECOND = 10**9


class SteppedLoop(ShuffledLoop):
    """A shuffled loop that does something after so many turns."""

    def __init__(self, seed: int, cancel_at: int) -> None:
        super().__init__(seed)
        self.turns = 0
        self.victim: asyncio.Task[Any] | None = None
        self._cancel_at = cancel_at

    def _run_once(self) -> None:
        super()._run_once()
        if self.victim is not None:
            self.turns += 1
            if self.turns == self._cancel_at:
                self.victim.cancel()


def graph(folder: Path) -> tuple[Dag, list[EpochSink]]:
    """Return a graph with a fan-out, a merge, a join and two sinks."""
    items: list[Any] = []
    for number in range(40):
        row = {
            "ts_event": number * _SECOND // 2,
            "symbol": "AB"[number % 2],
            "price": 1,
            "size": 1,
        }
        items += [row, *([Pause(0.0)] if number % 3 == 0 else [])]
    dag = Dag("job")
    left = dag.source(ScriptedSource(items, out_of_order="1s"), name="left")
    right = dag.source(ScriptedSource(items[7:], out_of_order="2s"), name="right")
    sinks = [EpochSink(folder / "bars.json"), EpochSink(folder / "joined.json")]
    left.union(right, name="both").bars("1s", lateness="1s").sink(sinks[0], name="store")
    left.join_asof(right, name="joined").sink(sinks[1], name="pairs")
    return dag, sinks


async def _live(dag: Dag, folder: Path) -> RunResult:
    run = Run(dag, checkpoint=Checkpoint(str(folder / "kept"), interval=None))

    async def ask() -> None:
        while True:
            for _ in range(25):
                await asyncio.sleep(0)
            try:
                await run.checkpoint()
            except CheckpointError:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        result = await run.run()
        asking.cancel()
    return result


def one_life(folder: Path, seed: int, cancel_at: int) -> RunResult | None:
    """Run a job, cancelled after so many steps; None if it had not ended before."""
    dag, _ = graph(folder)
    loop = SteppedLoop(seed, cancel_at)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def main() -> RunResult | None:
            loop.victim = task = asyncio.ensure_future(_live(dag, folder))  # noqa: TID251
            began = time.monotonic()
            await asyncio.wait([task])
            assert time.monotonic() - began < 5, "it did not end soon"
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks are left: {left}"
            return None if task.cancelled() else task.result()

        return runner.run(main())


def rows(folder: Path) -> list[list[Row]]:
    return [sorted(sink.rows()) for sink in graph(folder)[1]]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[list[Row]]:
    """What the sinks get from a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("straight")
    mdp.run(graph(folder)[0], checkpoint=Checkpoint(str(folder / "kept"), interval=None))
    found = rows(folder)
    assert min(map(len, found)) > 20
    return found


@pytest.mark.parametrize("first", range(1, 11))
def test_a_job_cancelled_at_a_step(first: int, expected: list[list[Row]], tmp_path: Path) -> None:
    """No task, no thread and no lock is left; rows that were shown stay, others come once."""
    chance = random.Random(first)
    for step in range(first * EVERY // 10 or first, STEPS_MAX, EVERY):
        folder = tmp_path / str(step)
        folder.mkdir()
        if one_life(folder, chance.getrandbits(32), step) is not None:
            break  # it ends before it is cancelled
        one_life(folder, chance.getrandbits(32), chance.randint(1, step))
        assert one_life(folder, chance.getrandbits(32), STEPS_MAX * 100) is not None
        assert rows(folder) == expected
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("mdp-", "journal"))]
