"""What a run shows of its nodes: rows, queues, lag and states, at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.figures import BUCKET_BOUNDS_S, BUCKETS, Meter, NodeFigures
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import NodeError
from market_data_pipeline.records import Schema
from support.nodes import UNIT, RecordingSink, RecordingWriter, ScriptedSource


@component("gated")
class GatedSink(RecordingSink):
    """Takes rows once it is let, and says how full it is.

    Attributes:
        gate: What it waits for.
    """

    gate: Any = None

    async def open(self, context: NodeContext, schema: Schema | None) -> GatedWriter:
        return GatedWriter(self, context)


class GatedWriter(RecordingWriter):
    def __init__(self, settings: GatedSink, context: NodeContext) -> None:
        super().__init__(settings, context)
        self._gate: asyncio.Event = settings.gate

    async def write(self, batch: mdp.Batch) -> None:
        await self._gate.wait()
        await super().write(batch)

    def pressure(self) -> Pressure:
        return Pressure(3, 4)


def _second(*seconds: int) -> list[int]:
    return [second * UNIT for second in seconds]


def _bars_graph(items: list[Any], sink: Any) -> mdp.Dag:
    dag = mdp.Dag("figures")
    dag.source(ScriptedSource(items), name="ticks").bars("1s", name="bars").sink(
        sink, name="store"
    )
    return dag


def test_figures_of_a_finished_run_are_those_of_the_ledger() -> None:
    """Rows, reasons and created rows are read from the one account of each node."""
    log: list[Any] = []
    run = Run(_bars_graph([_second(1, 2, 3), _second(4)], RecordingSink(log)))
    result = asyncio.run(run.run())
    figures = run.nodes()
    assert list(figures) == ["ticks", "bars", "store"]
    for name, shown in figures.items():
        account = result.ledger[name]
        assert (shown.rows_in, shown.rows_out) == (account.rows_in, account.rows_out)
        assert (shown.created, shown.held) == (account.created, account.held)
        assert shown.reasons == account.reasons
        assert shown.state == "ended"
        assert shown.watermark_ns is None or name == "ticks"
    assert run.phase == "ended"
    assert run.seconds() == result.seconds


def test_batches_are_timed_once_each() -> None:
    """The histogram of an operator counts its batches; the last bucket holds nearly all."""
    run = Run(_bars_graph([_second(1), _second(2), _second(3)], RecordingSink([])))
    asyncio.run(run.run())
    bars = run.nodes()["bars"]
    assert 1 <= bars.batches <= 3
    assert bars.busy_s > 0
    assert len(bars.buckets) == len(BUCKET_BOUNDS_S)
    assert list(bars.buckets) == sorted(bars.buckets)
    assert bars.buckets[-1] == bars.batches
    assert run.nodes()["ticks"].batches == 0
    assert bars.bytes_in > 0


def _watched(
    items: list[Any], look: Callable[[Run], bool], **edge: Any
) -> tuple[dict[str, NodeFigures], Run]:
    """Run into a sink that is shut until `look` is satisfied; return what was seen then."""
    seen: dict[str, NodeFigures] = {}

    async def main() -> Run:
        gate = asyncio.Event()
        dag = mdp.Dag("watched")
        ticks = dag.source(ScriptedSource(items), name="ticks")
        ticks.edge(**edge).sink(GatedSink([], gate=gate), name="store")
        run = Run(dag)
        assert run.phase == "starting"
        assert {f.state for f in run.nodes().values()} == {"starting"}
        assert run.pressures() == {}
        async with asyncio.TaskGroup() as group:
            group.create_task(run.run())
            while not look(run):  # noqa: ASYNC110  it has no event
                await asyncio.sleep(0)
            seen.update(run.nodes())
            assert run.pressures() == {"store": Pressure(3, 4)}
            gate.set()
        return run

    return seen, asyncio.run(main())


def test_slow_sink_shows_as_full_queue_and_blocked_source() -> None:
    """What waits in front of a sink, and that the source waits for room, can be seen at once."""
    items = [_second(at) for at in range(1, 20)]

    def is_stuck(run: Run) -> bool:
        nodes = run.nodes()
        store = nodes["store"]
        return nodes["ticks"].blocked_s > 0 and store.busy_s > 0 and store.queue_rows == 4

    seen, _ = _watched(items, is_stuck, rows=4)
    store = seen["store"]
    assert (store.queue_rows, store.queue_rows_max) == (4, 4)
    assert store.fill == 1.0
    assert store.queue_bytes > 0
    assert store.batches == 0, "the write that goes on counts as busy before it is over"
    assert store.state == "running"
    assert seen["ticks"].lag_ns == 0
    assert store.watermark_ns is None, "nothing is written yet"


def test_shed_rows_are_counted_once_however_often_one_looks() -> None:
    """Rows dropped in front of a node are in its figures, and looking changes nothing."""
    items = [_second(at) for at in range(1, 20)]
    seen, run = _watched(
        items,
        lambda run: bool(run.nodes()["store"].reasons and run.ledger().accounts),
        rows=4,
        policy="drop_newest",
    )
    assert seen["store"].reasons["dropped"] >= 1
    store = run.ledger()["store"]
    assert store.rows_in == 19
    assert store.rows_out + store.reasons["dropped"] == 19
    assert run.nodes()["store"].reasons == store.reasons


def test_held_back_watermark_shows_as_lag() -> None:
    """Lag is event time that was read and is not complete yet."""
    seen: list[int | None] = []

    class Looking(list[Any]):
        def append(self, item: Any) -> None:
            seen.append(run.nodes()["bars"].lag_ns)

    dag = mdp.Dag("lag")
    source = mdp.SyntheticSource(rows=20_000, seed=1, out_of_order="2s", batch_rows=1_000)
    # Small channels, or all is read before the sink has its turn.
    ticks = dag.source(source, name="ticks").edge(rows=500)
    ticks.bars("1s", name="bars").edge(rows=8).sink(RecordingSink(Looking()), name="store")
    run = Run(dag)
    asyncio.run(run.run())
    lags = [lag for lag in seen if lag is not None]
    assert lags
    assert min(lags) >= 2 * UNIT


def test_failed_node_is_told_with_its_error_and_without_its_secrets() -> None:
    """The node at fault has failed, the others have ended."""
    err = OSError("cannot reach postgresql://mdp:hunter2@db/ticks")
    run = Run(_bars_graph([_second(1), err], RecordingSink([])))
    with pytest.raises(NodeError):
        asyncio.run(run.run())
    states = {name: shown.state for name, shown in run.nodes().items()}
    assert states == {"ticks": "failed", "bars": "ended", "store": "ended"}
    assert run.nodes()["ticks"].error == "cannot reach postgresql://mdp:***@db/ticks"
    assert run.phase == "failed"


def test_meter_never_shows_less_than_before() -> None:
    """A counter that falls would read as a restart."""
    meter = Meter(busy_since=1)
    first = meter.busy_s()
    meter.busy_since = 0
    assert meter.busy_s() == first > 0
    meter.took(0)
    meter.took((1 << 63) - 1)
    assert meter.buckets[0] == meter.buckets[BUCKETS - 1] == 1
