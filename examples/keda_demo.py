"""What KEDA would see of a pipeline under growing load, and what it would do.

    python -m examples.keda_demo

Needs nothing but the package: the feed, the work and the store are made up here. The load
grows in four steps of three seconds. First one replica is enough; then the work becomes too
much for it and rows pile up upstream, which more replicas cure; then the store is slow, which
they do not. In a cluster the figures are scraped by Prometheus, and KEDA asks for
`sum(mdp_scale_hint)`: see `deploy/kubernetes/keda`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

import market_data_pipeline as mdp
from market_data_pipeline.batch import Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.telemetry.scaling import ScalingWindow

SCHEMA = mdp.TRADE.only(("ts_event", "symbol", "price", "size"))
READ_MAX = 500
WORK_S = 20e-6
STEP_S = 3.0


class Step(NamedTuple):
    """A stretch of the demo.

    Attributes:
        title: What it shows.
        rows_per_s: Rows that the market makes in a second.
        store_per_s: Rows that the store takes in a second.
    """

    title: str
    rows_per_s: int
    store_per_s: int


STEPS = (
    Step("a quiet market", 2_000, 1_000_000),
    Step("a busy market", 12_000, 1_000_000),
    Step("news: more than one replica can do", 60_000, 1_000_000),
    Step("and now the store is slow", 60_000, 2_000),
)


class World:
    """The market and the store, as they are now.

    Attributes:
        step: Which step it is.
        waiting: Rows that wait in the topic to be read.
    """

    def __init__(self) -> None:
        self.step = STEPS[0]
        self.waiting = 0.0
        self._at_s = time.monotonic()

    def pass_time(self) -> None:
        """Let the market make the rows of the time that has passed."""
        now_s = time.monotonic()
        self.waiting += (now_s - self._at_s) * self.step.rows_per_s
        self._at_s = now_s


@component("topic")
class Topic:
    """Reads a topic of a broker that others write to.

    Attributes:
        world: Where it is.
    """

    world: Any

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> mdp.Schema:
        """Return the columns."""
        return SCHEMA

    async def open(self, context: NodeContext) -> TopicReader:
        """Start."""
        return TopicReader(self.world, context)


class TopicReader:
    """The running half; it knows how many rows wait, and tells by `backlog`."""

    def __init__(self, world: World, context: NodeContext) -> None:
        self.schema = SCHEMA
        self._world = world
        self._context = context
        self._codes = context.symbols.encode([f"S{number}" for number in range(20)])
        self._last = context.clock.now_ns()

    async def read(self) -> Sequence[tuple[str, mdp.Batch]] | None:
        """Return rows that wait, at most so many at a time."""
        while True:
            self._world.pass_time()
            rows = min(READ_MAX, int(self._world.waiting))
            if rows:
                break
            await asyncio.sleep(0.001)
        self._world.waiting -= rows
        before, self._last = self._last, self._context.clock.now_ns()
        columns = {
            "ts_event": np.linspace(before, self._last, rows).astype(np.int64),
            "symbol": self._codes[np.arange(rows) % len(self._codes)],
            "price": np.full(rows, 100 * 10**9, np.int64),
            "size": np.full(rows, 10**9, np.int64),
        }
        self._context.account.rows_in += rows
        await asyncio.sleep(0)
        batch = mdp.Batch(SCHEMA, columns, self._context.symbols)
        return (("out", batch.with_progress(Progress(before, 0, self._last))),)

    def backlog(self) -> int:
        """Return the rows that wait to be read."""
        self._world.pass_time()
        return int(self._world.waiting)

    def fraction(self) -> float | None:
        """Return None: a topic has no end."""
        return None

    async def close(self) -> None:
        """Do nothing: nothing is held."""


@component("store")
class Store:
    """Takes rows as fast as the store can.

    Attributes:
        world: Where it is.
    """

    world: Any

    def check(self) -> None:
        """Do nothing: it is there."""

    async def open(self, context: NodeContext, _: mdp.Schema | None) -> StoreWriter:
        """Start."""
        return StoreWriter(self.world, context)

    def read(self) -> Any:
        """Refuse: what was written is gone."""
        msg = "nothing is kept"
        raise mdp.PipelineError(msg)


class StoreWriter:
    """The running half."""

    def __init__(self, world: World, context: NodeContext) -> None:
        self._world = world
        self._context = context

    async def write(self, batch: mdp.Batch) -> None:
        """Wait as long as the store takes."""
        await asyncio.sleep(len(batch) / self._world.step.store_per_s)
        self._context.account.rows_out += len(batch)

    async def finish(self) -> None:
        """Do nothing: all is written."""

    async def abort(self) -> None:
        """Do nothing: nothing is held."""


def work(_: Any) -> bool:
    """Look at a row for as long as a model of some weight would."""
    until = time.perf_counter() + WORK_S
    while time.perf_counter() < until:
        pass
    return True


def show(run: Run, window: ScalingWindow, replicas: int) -> int:
    """Print what would be scraped now; return how many replicas KEDA would want."""
    seen = window.look(time.monotonic(), run.nodes(), run.pressures())
    wanted = max(1, math.ceil(seen.hint - 1e-9))
    verdict = "as it is" if wanted == 1 else f"1 -> {wanted} replicas"
    if seen.load.store_saturation >= 0.8:
        verdict = "not out: the store is the bottleneck"
    print(
        f"  backlog {seen.backlog_rows:>8,}   saturation {seen.load.saturation:>4.0%}   "
        f"store {seen.load.store_saturation:>4.0%}   hint {seen.hint:.2f}   {verdict}"
    )
    return max(replicas, wanted)


async def demo() -> None:
    """Run it for twelve seconds."""
    world = World()
    dag = mdp.Dag("keda-demo")
    rows = dag.source(Topic(world), name="topic").edge(rows=2_000)
    worked = rows.filter(work, name="model").edge(rows=2_000)
    worked.sink(Store(world), name="store")
    run = Run(dag)
    print("One replica, and what `mdp_scale_backlog_rows`, `mdp_scale_saturation`,")
    print("`mdp_scale_store_saturation` and `mdp_scale_hint` say of it:")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        most = 1
        for step in STEPS:
            world.step = step
            print(f"\n{step.title}: {step.rows_per_s:,} rows/s in, {step.store_per_s:,} out")
            # In a cluster it is a minute; the demo has none to lose.
            window = ScalingWindow(window_s=2.0)
            window.look(time.monotonic(), run.nodes(), run.pressures())
            for _ in range(2):
                await asyncio.sleep(STEP_S / 2)
                most = show(run, window, most)
        task.cancel()
        print(f"\nmost replicas that KEDA would have wanted: {most}")


def main() -> None:
    """Show it."""
    asyncio.run(demo())


if __name__ == "__main__":
    main()
