"""A store elsewhere that fails at any call: every row is in the sink once all the same."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.testing import Pause, ScriptedSource
from support.crashes import HastyClock
from support.epoch_sink import EpochSink, Row
from support.faulty_objects import Plan, begin
from support.waiting import until

_SECOND = 10**9
_PAUSES = (20, 40)
_LONG = 1000
_SETTINGS = mdp.Checkpoint("faulty://bucket/job", interval=None)


def _graph(path: Path) -> tuple[mdp.Dag, EpochSink]:
    items: list[Any] = []
    for i in range(60):
        at = i * _SECOND // 3
        items.append({"ts_event": at, "symbol": "AB"[i % 2], "price": i + 1, "size": 1})
        if i + 1 in _PAUSES:
            items.append(Pause((i + 1) * _LONG))
    dag, sink = mdp.Dag("job"), EpochSink(path)
    dag.source(ScriptedSource(items), name="ticks").bars("1s").sink(sink, name="store")
    return dag, sink


class _GatedClock(HastyClock):  # type: ignore[misc]
    """A clock on which nobody sleeps for long, but a source whose pause is not over."""

    def __init__(self) -> None:
        self.gates = {pause: asyncio.Event() for pause in _PAUSES}

    async def sleep(self, delay_s: float) -> None:
        gate = self.gates.get(round(delay_s / _LONG))
        if gate is not None:
            await gate.wait()
        await super().sleep(delay_s)


async def _three_epochs(dag: mdp.Dag) -> None:
    """Run to the end, with a checkpoint on the way after each third."""
    clock = _GatedClock()
    run = Run(dag, checkpoint=_SETTINGS, clock=clock)

    def read(rows: int) -> bool:
        return run.phase == "running" and run.ledger()["ticks"].rows_in >= rows

    async with asyncio.TaskGroup() as group:
        task = group.create_task(_ending(run))
        for rows, gate in clock.gates.items():
            await until(lambda rows=rows: task.done() or read(rows))  # type: ignore[misc]
            with suppress(CheckpointError):
                await run.checkpoint()
            gate.set()


async def _ending(run: Run) -> None:
    with suppress(CheckpointError):
        await run.run()


def _life(dag: mdp.Dag) -> None:
    asyncio.run(_three_epochs(dag))


def _finish(dag: mdp.Dag) -> None:
    asyncio.run(Run(dag, checkpoint=_SETTINGS, clock=HastyClock()).run())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """What a run gives whose store never fails."""
    begin(Plan())
    dag, sink = _graph(tmp_path_factory.mktemp("straight") / "out.json")
    _life(dag)
    assert len(sink.epochs()) == 3
    return sorted(sink.rows())


@pytest.mark.parametrize("onward", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("is_after", [False, True], ids=["undone", "done"])
def test_a_store_that_fails_at_any_call(
    tmp_path: Path, expected: list[Row], is_after: bool, onward: bool
) -> None:
    """The run goes on or ends; a run after it, whose store is well, gives the rest."""
    at, came = 0, set[str]()
    while True:
        at += 1
        plan = begin(Plan(at, is_after, onward))
        dag, sink = _graph(tmp_path / f"{at}.json")
        _life(dag)
        if not plan.has_failed:
            break
        came.add(plan.calls[at - 1])
        begin(Plan(), is_empty=False)
        _finish(dag)
        assert sorted(sink.rows()) == expected, f"call {at}, `{plan.calls[at - 1]}`"
    assert came >= {"read", "create", "write", "upload", "list", "delete"}
