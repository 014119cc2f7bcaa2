"""What is restored is all there was: the first row, the last window, nothing that is over."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints import recovery
from market_data_pipeline.dag.checkpoints.arrow_files import read_arrow
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.checkpoints.snapshots import read_snapshot
from market_data_pipeline.dag.checkpoints.store import Store
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.records import Schema
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.source.scripted import Pause
from support.epoch_sink import EpochSink, EpochSinkWriter
from support.gated_source import GatedSource
from support.waiting import until

_SECOND = 10**9
_START = 1_700_000_000 * _SECOND


def row(at_s: float, symbol: str = "A") -> dict[str, Any]:
    return {"ts_event": int(at_s * _SECOND), "symbol": symbol, "price": 1, "size": 1}


def gated(items: list[Any], *, out_of_order: str) -> GatedSource:
    """Return a source that gives one item at a time, as it is let."""
    source = GatedSource(
        [i for item in items for i in (item, Pause(0.0))], out_of_order=out_of_order
    )
    source.gate.closed = True
    return source


async def during(run: Run, work: Callable[[], Awaitable[None]], *, kill: bool = False) -> None:
    """Do something while a graph runs, then stop it or drop it where it is."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        await until(lambda: run.phase == "running")
        await work()
        task.cancel() if kill else run.stop()


def kept(tmp_path: Path) -> Checkpoint:
    return Checkpoint(str(tmp_path / "kept"), interval=None)


def test_a_window_closes_after_a_restart_without_another_row(tmp_path: Path) -> None:
    """What it waited for is in the checkpoint, so that time alone closes it."""
    quiet = Status("quiet", 60 * _SECOND)
    source = gated([row(0.2), row(0.4, "B"), quiet], out_of_order="1s")
    sink = EpochSink(tmp_path / "out.json")
    dag = mdp.Dag("job")
    dag.source(source, name="ticks").bars("1s").sink(sink, name="store")
    first = Run(dag, checkpoint=kept(tmp_path))
    asyncio.run(during(first, lambda: source.let(4)))
    assert not sink.rows()
    second = Run(dag, checkpoint=kept(tmp_path))

    async def pass_time() -> None:
        await source.let(2)
        await second.checkpoint()
        await until(lambda: len(sink.rows()) == 2)

    asyncio.run(during(second, pass_time))
    assert second.ledger()["ticks"].rows_in == 2


@pytest.mark.parametrize("source_kind", ["scripted", "memory"])
def test_a_row_is_as_late_after_a_restart_as_before(source_kind: str, tmp_path: Path) -> None:
    """The watermark is in the checkpoint, and is not worked out anew from the rows to come."""
    items = [row(100), row(200), row(1), row(201), row(2)]
    script = gated(items, out_of_order="1s")
    table = pa.Table.from_pylist(
        [{**item, "ts_event": item["ts_event"] + _START} for item in items]
    )
    memory = MemorySource(table, out_of_order="1s", batch_rows=1)
    late, bars = EpochSink(tmp_path / "late.json"), EpochSink(tmp_path / "bars.json")
    dag = mdp.Dag("job")
    ticks = dag.source(script if source_kind == "scripted" else memory, name="ticks")
    made = ticks.bars("1s", name="bars")
    made.sink(bars, name="store")
    made.late.sink(late, name="late")
    run = Run(dag, checkpoint=kept(tmp_path))

    async def come_so_far() -> None:
        if source_kind == "scripted":
            await script.let(4)
        else:
            await until(lambda: run.ledger()["ticks"].rows_in >= 1)
        await run.checkpoint()

    asyncio.run(during(run, come_so_far, kill=True))
    script.gate.closed = False
    asyncio.run(Run(dag, checkpoint=kept(tmp_path)).run())
    assert len(late.rows()) == 2
    assert len(bars.rows()) == 3


def test_a_state_is_let_go_once_its_operator_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as large as the operator's own, and the file of it would keep its place."""
    source = gated([row(0), row(1), row(2), row(3)], out_of_order="1s")
    dag = mdp.Dag("job")
    ticks = dag.source(source, name="ticks").dedupe(key=["symbol", "ts_event"])
    ticks.bars("1s").sink(EpochSink(tmp_path / "out.json"), name="store")
    asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), lambda: source.let(4)))
    states: list[weakref.ref[Any]] = []

    def read(batch: pa.RecordBatch) -> Snapshot:
        snapshot = read_snapshot(batch)
        states.extend(weakref.ref(array) for array in snapshot.keyed.values())
        return snapshot

    monkeypatch.setattr(recovery, "read_snapshot", read)

    async def look() -> None:
        await source.let(1)
        assert states
        assert not [state for state in states if state() is not None]

    asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), look))


def test_an_input_that_is_silent_after_a_restart_holds_nothing_up(tmp_path: Path) -> None:
    """How far it had come is in the checkpoint; a merge does not wait to hear it again."""
    near = gated([row(5), row(50)], out_of_order="1s")
    far = gated([row(100, "B"), row(101, "B")], out_of_order="1s")
    sink = EpochSink(tmp_path / "out.json")
    dag = mdp.Dag("job")
    both = dag.source(near, name="near").union(dag.source(far, name="far"), name="both")
    both.bars("1s", name="bars").sink(sink, name="store")
    first = Run(dag, checkpoint=kept(tmp_path))

    async def come_so_far() -> None:
        await near.let(2)
        await far.let(2)
        await first.checkpoint()

    asyncio.run(during(first, come_so_far, kill=True))
    second = Run(dag, checkpoint=kept(tmp_path))

    async def hear_one() -> None:
        await near.let(2)
        await second.checkpoint()
        await until(lambda: (told := second.checkpoints()) is not None and not told.uncommitted)
        assert len(sink.rows()) == 1, "the window at 5 s waits for the silent input"

    asyncio.run(during(second, hear_one, kill=True))


@pytest.mark.parametrize("checkpoint_at", range(5))
@pytest.mark.parametrize("operator", ["filter", "dedupe", "bars"])
def test_the_first_rows_are_no_special_ones(
    checkpoint_at: int, operator: str, tmp_path: Path
) -> None:
    """A position, a state or an epoch of 0 or 1 counts as much as any other."""
    items = [row(at) for at in range(4)]
    source = gated(items, out_of_order="0s")
    sink = EpochSink(tmp_path / "out.json")
    dag = mdp.Dag("job")
    ticks = dag.source(source, name="ticks")
    made = {
        "filter": lambda: ticks.filter("size > 0"),
        "dedupe": lambda: ticks.dedupe(key=["ts_event"], ttl="1h"),
        "bars": lambda: ticks.bars("1s"),
    }[operator]()
    made.sink(sink, name="store")
    run = Run(dag, checkpoint=kept(tmp_path))

    async def come_so_far() -> None:
        await source.let(2 * checkpoint_at)
        await run.checkpoint()
        await source.let(2 * min(1, len(items) - checkpoint_at))

    asyncio.run(during(run, come_so_far, kill=True))
    source.gate.closed = False
    result = asyncio.run(Run(dag, checkpoint=kept(tmp_path)).run())
    assert len(sink.rows()) == 4
    assert len(set(sink.rows())) == 4
    assert result.ledger["ticks"].rows_in == 4
    assert min(sink.epochs()) >= 1


def test_a_second_copy_is_one_after_a_restart_too(tmp_path: Path) -> None:
    """The key of a row that was let through is in the checkpoint."""
    source = gated([row(1), row(1), row(2)], out_of_order="0s")
    sink = EpochSink(tmp_path / "out.json")
    dag = mdp.Dag("job")
    dag.source(source, name="ticks").dedupe(key=["ts_event"], ttl="1h").sink(sink, name="store")
    asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), lambda: source.let(2)))
    source.gate.closed = False
    asyncio.run(Run(dag, checkpoint=kept(tmp_path)).run())
    assert len(sink.rows()) == 2


def test_states_are_empty_once_their_time_is_over(tmp_path: Path) -> None:
    """Restored windows go when the watermark passes them, like all others."""
    quiet = Status("quiet", 10_000 * _SECOND)
    source = gated([*(row(0, f"S{n}") for n in range(500)), quiet], out_of_order="1s")
    dag = mdp.Dag("job")
    ticks = dag.source(source, name="ticks")
    ticks.bars("1s", lateness="1s", name="bars").sink(EpochSink(tmp_path / "bars.json"))
    ticks.windows({"n": "count()"}, size="10s", every="2s", name="hops").sink(
        EpochSink(tmp_path / "hops.json")
    )
    asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), lambda: source.let(1000)))
    assert set(rows_of_states(tmp_path)) == {"bars", "hops"}
    assert min(rows_of_states(tmp_path).values()) >= 500
    asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), lambda: source.let(2)))
    assert sum(rows_of_states(tmp_path).values()) == 0


def test_keys_of_earlier_lives_are_forgotten_in_later_ones(tmp_path: Path) -> None:
    """However often a job is stopped, what it remembers of keys that are gone is bounded."""
    lives, keys = 6, 300
    items = [
        row(life * 1_000 + n / 1_000, f"S{life}-{n}") for life in range(lives) for n in range(keys)
    ]
    source = gated(items, out_of_order="1s")
    dag = mdp.Dag("job")
    clean = dag.source(source, name="ticks").dedupe(key=["symbol"], ttl="1min", name="clean")
    clean.sink(EpochSink(tmp_path / "clean.json"))
    for _ in range(lives):
        asyncio.run(during(Run(dag, checkpoint=kept(tmp_path)), lambda: source.let(2 * keys)))
    assert rows_of_states(tmp_path)["clean"] <= 3 * keys


def rows_of_states(tmp_path: Path) -> dict[str, int]:
    store = Store(tmp_path / "kept")
    manifest = store.load(store.decided()[-1])
    folder = store.folder(manifest.epoch)
    return {
        name: len(read_snapshot(read_arrow(folder / record.state)).key_groups)
        for name, record in manifest.nodes.items()
        if record.state is not None
    }


def test_a_million_rows_of_one_key_are_a_million(tmp_path: Path) -> None:
    """Every update is on top of the one before, also over a restart in the middle."""
    rows = 1_000_000
    table = pa.table(
        {
            "ts_event": pa.array(range(_START, _START + rows), pa.int64()),
            "symbol": ["A"] * rows,
            "price": [1] * rows,
            "size": [1] * rows,
        }
    )
    sink = EpochSink(tmp_path / "out.json")
    dag = mdp.Dag("job")
    ticks = dag.source(MemorySource(table, batch_rows=1_009), name="ticks")
    ticks.windows({"n": "count()", "volume": "sum(size)"}, size="1h").sink(sink, name="store")
    run = Run(dag, checkpoint=kept(tmp_path))

    async def come_so_far() -> None:
        await until(lambda: run.ledger()["ticks"].rows_in > rows // 3)
        await run.checkpoint()

    asyncio.run(during(run, come_so_far, kill=True))
    asyncio.run(Run(dag, checkpoint=kept(tmp_path)).run())
    ((_, _, _, count, volume, *_),) = sink.rows()
    assert (int(count), int(volume)) == (rows, rows * 10**9)


class _SlowSink(EpochSink):
    """Stages when it is let."""

    async def open(self, context: NodeContext, schema: Schema | None) -> EpochSinkWriter:
        writer = await super().open(context, schema)
        stage, gate = writer.stage, self.plan["gate"]

        async def wait(epoch: int, folder: Path) -> None:
            await gate.wait()
            await stage(epoch, folder)

        writer.stage = wait  # type: ignore[method-assign]
        return writer


def test_nothing_is_decided_before_every_sink_has_staged(tmp_path: Path) -> None:
    """A sink that is slow to make its rows durable holds up the manifest and other sinks."""
    gate = asyncio.Event()
    source = gated([row(0), row(1), row(2)], out_of_order="0s")
    quick = EpochSink(tmp_path / "quick.json")
    slow = _SlowSink(tmp_path / "slow.json", plan={"gate": gate})
    dag = mdp.Dag("job")
    ticks = dag.source(source, name="ticks")
    ticks.sink(quick, name="quick")
    ticks.sink(slow, name="slow")
    run = Run(dag, checkpoint=kept(tmp_path))
    store = Store(tmp_path / "kept")

    async def ask() -> None:
        await source.let(4)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(run.checkpoint())
            for _ in range(2_000):
                await asyncio.sleep(0)
            assert not asked.done()
            assert not store.decided()
            assert not quick.rows()
            gate.set()
        assert store.decided() == [1]
        await until(lambda: len(quick.rows()) == len(slow.rows()) == 2)

    asyncio.run(during(run, ask))
