"""Does a pipeline give the same rows however it is run? Run it in many ways and compare."""

from __future__ import annotations

__all__ = ("Trial", "Verdict", "verify")

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Final

from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import first_cause
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.nodes import SinkNode
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run, run_dag
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.testing.clock import ManualClock
from market_data_pipeline.testing.kept_rows import KeptRows
from market_data_pipeline.testing.schedules import run_shuffled

_BATCH_ROWS: Final = (1_009, 97)
_THREADS: Final = (1, 2)
_BATCHES: Final = 200
"""A run that is stopped on its way reads so many batches, so that there is a way."""
_PACED_ROWS_MAX: Final = 20_000
"""A source that follows the clock gives rows nearly one by one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run a pipeline.

    Attributes:
        name: What is different, in words.
        settings: Settings of components that are replaced where a component has them.
        seed: Seed of the schedule of tasks; None for the usual one.
        paced: True for sources that follow a clock, which runs ahead by itself.
        stopped_at: Shares of the input after which a checkpoint is taken; soon after it the run
            is stopped as by a crash, and goes on from there.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    paced: bool = False
    stopped_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one way to run a pipeline.

    Attributes:
        trial: The way.
        rows: Rows that each sink was given.
        hashes: Canonical hash of each sink's rows.
        rows_read: Rows that the sources gave; for a run that went on, its last part.
        different: Sinks whose rows are not those of the first run.
    """

    trial: Trial
    rows: Mapping[str, int]
    hashes: Mapping[str, str]
    rows_read: int
    different: tuple[str, ...] = ()


def verify(dag: Dag, *, schedules: int = 20, restarts: int = 5) -> Iterator[Verdict]:
    """Run a pipeline as it is, then in other ways, and tell of each whether the rows are the same.

    Nothing is written: sinks keep their rows in memory while they are compared. Sources are
    read at full speed, once for each way.

    Args:
        dag: The graph; its sources must give the same rows each time they are opened.
        schedules: How many orders of the engine's tasks are tried.
        restarts: How often it is stopped on its way and gone on with; each in a run of its
            own, and once all in one run.

    Yields:
        The verdicts, that of the plain run first.

    Raises:
        GraphError: If the graph cannot run.
        NodeError: If a node fails.
    """
    plain = _run(dag, Trial("as it is"))
    yield plain
    for trial in _trials(dag, plain, schedules, restarts):
        found = _run(dag, trial, plain.rows_read)
        odd = tuple(name for name in plain.hashes if found.hashes[name] != plain.hashes[name])
        yield dataclasses.replace(found, different=odd)


def _trials(dag: Dag, plain: Verdict, schedules: int, restarts: int) -> Iterator[Trial]:
    yield Trial("once more")
    if _with_setting(dag, "batch_rows"):
        for rows in _BATCH_ROWS:
            yield Trial(f"batches of {rows} rows", {"batch_rows": rows})
    if _with_setting(dag, "parallelism"):
        for threads in _THREADS:
            yield Trial(f"on {threads} thread{'s' * (threads > 1)}", {"parallelism": threads})
    for seed in range(schedules):
        yield Trial(f"schedule {seed + 1} of {schedules}", seed=seed)
    shares = tuple((n + 1) / (restarts + 1) for n in range(restarts))
    small = {"batch_rows": max(plain.rows_read // _BATCHES, 1)}
    for share in shares:
        yield Trial(
            f"stopped after {share:.0%} of the rows and gone on", small, stopped_at=(share,)
        )
    if restarts > 1:
        yield Trial(f"stopped {restarts} times and gone on", small, stopped_at=shares)
    if _with_setting(dag, "speed") and plain.rows_read <= _PACED_ROWS_MAX:
        yield Trial("as time passes", {"speed": 1.0}, paced=True)


def _with_setting(dag: Dag, name: str) -> bool:
    return any(_takes(node.component, name) for node in dag.nodes.values())


def _takes(component: object, name: str) -> bool:
    return dataclasses.is_dataclass(component) and name in {
        field.name for field in dataclasses.fields(component)
    }


def _run(dag: Dag, trial: Trial, rows_read: int = 0) -> Verdict:
    variant = _variant(dag, trial)
    if trial.stopped_at:
        goals = [int(share * rows_read) for share in trial.stopped_at]
        result = asyncio.run(_run_with_stops(variant, goals))
    else:
        clock: Clock | None = ManualClock() if trial.paced else None
        work = run_dag(variant, clock=clock)
        result = asyncio.run(work) if trial.seed is None else run_shuffled(work, trial.seed)
    tables = {
        node.name: node.component.read()
        for node in variant.nodes.values()
        if isinstance(node.component, SinkNode)
    }
    rows = {name: table.num_rows for name, table in tables.items()}
    hashes = {name: canonical_hash(table) for name, table in tables.items()}
    return Verdict(trial, rows, hashes, result.rows_read)


async def _run_with_stops(dag: Dag, goals: list[int]) -> RunResult:
    """Run a graph, stopping it as a crash would, and return what its last part did."""
    with TemporaryDirectory(prefix="mdp-verify-") as folder:
        checkpoint = Checkpoint(folder, interval=None)
        for goal in goals:
            try:
                await _run_and_stop(Run(dag, checkpoint=checkpoint), goal, goals[0] // 2)
            except BaseExceptionGroup as errors:
                raise first_cause(errors) from errors
        return await run_dag(dag, checkpoint=checkpoint)


async def _run_and_stop(run: Run, goal: int, rows_more: int) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        if await _reached(run, task, goal) and await _checkpointed(run):
            # What is done after the checkpoint is what must not count.
            await _reached(run, task, goal + rows_more)
            task.cancel()


async def _reached(run: Run, task: asyncio.Task[RunResult], rows: int) -> bool:
    """Return once the sources have given so many rows; False if the run ended before."""
    sources = [node.name for node in run.dag.nodes.values() if node.kind == "source"]
    while not task.done():
        ledger = run.ledger()
        if sum(ledger[name].rows_in for name in sources) >= rows:
            return True
        await asyncio.sleep(0)
    return False


async def _checkpointed(run: Run) -> bool:
    try:
        await run.checkpoint()
    except CheckpointError:
        return False  # the run has come to its end meanwhile
    return True


def _variant(dag: Dag, trial: Trial) -> Dag:
    """Return the graph with its sinks in memory and other settings."""
    variant = Dag(dag.name)
    for node in dag.order():
        component: Any = node.component
        if isinstance(component, SinkNode):
            component = KeptRows() if trial.stopped_at else MemorySink(prices="decimal")
        elif not trial.paced and _takes(component, "speed"):
            component = dataclasses.replace(component, speed="max")
        for name, value in trial.settings.items():
            if _takes(component, name):
                component = dataclasses.replace(component, **{name: value})
        inputs = node.inputs
        if trial.stopped_at:
            # Who has to wait lets the barrier in; else a small input is read in one go.
            room = int(trial.settings["batch_rows"])
            inputs = tuple(dataclasses.replace(edge, rows=room) for edge in inputs)
        variant.add(component, name=node.name, inputs=inputs)
    return variant
