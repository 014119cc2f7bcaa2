from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.edges import Pressure
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.runtime import Run, run_dag
from market_data_pipeline.errors import GraphError, NodeError
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.running import run
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.sink.sqlite import SqliteSink
from market_data_pipeline.sink.writer import ThreadedWriter
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from support.nodes import RecordingSink, ScriptedSource, trades


def scripted(items: list[Any], log: list[Any], **settings: Any) -> Dag:
    dag = Dag("scripted")
    dag.source(ScriptedSource(items, log), name="ticks").bars("10ns", name="bars").sink(
        RecordingSink(log, **settings), name="store"
    )
    return dag


def test_rows_go_through_and_the_ledger_balances() -> None:
    """A run of bars gives the bars and accounts for every row."""
    dag = Dag()
    symbols = SymbolTable()
    bars = dag.source(MemorySource([trades([1, 5, 12, 3, 40], symbols)])).bars("10ns")
    bars.collect()
    result = run(dag)
    assert [row["count"] for row in result.to_arrow("bars").to_pylist()] == [2, 1, 1]
    assert result.ledger["bars"].reasons == {"late": 1, "aggregated": 4}
    assert result.ledger.balanced
    assert result.rows_read == 5
    assert not result.interrupted


def test_outputs_are_published_after_every_node_has_ended() -> None:
    """A sink publishes once, and after its last write."""
    log: list[Any] = []
    run(scripted([[1], [12], [25]], log))
    assert log == [[0, 0, 0], "published", "source closed"]


def test_a_failing_source_is_named_and_nothing_is_published() -> None:
    """The failure is not seen downstream as the end of data."""
    log: list[Any] = []
    cause = ValueError("bad frame")
    with pytest.raises(NodeError, match="node `ticks` failed: ValueError: bad frame") as caught:
        run(scripted([[1], [12], cause], log))
    assert caught.value.node == "ticks"
    assert caught.value.__cause__ is cause
    assert "published" not in log
    assert log[-2:] == ["aborted", "source closed"]


def test_a_failing_sink_is_named_and_the_other_sink_publishes_nothing() -> None:
    """One failure stops all: no output is published beside one that failed."""
    log: list[Any] = []
    dag = scripted([[1], [12], [25]], log, fail_at=2)
    dag.add(RecordingSink(log), name="other", inputs=[Edge("bars")])
    with pytest.raises(NodeError, match="node `store` failed: OSError: the disk is on fire"):
        run(dag)
    assert "published" not in log
    assert log.count("aborted") == 2


def test_a_failing_operator_in_a_fused_run_is_named() -> None:
    """Fused operators keep their names in errors."""

    def explode(row: Any) -> bool:
        msg = "no"
        raise RuntimeError(msg)

    dag = Dag()
    dag.source(MemorySource([trades([1], SymbolTable())])).select(
        ["ts_event", "symbol", "price", "size"]
    ).filter(explode, name="picky").bars("1s").collect()
    with pytest.raises(NodeError, match="node `picky` failed"):
        run(dag)


def test_a_fan_out_gives_every_reader_all_rows() -> None:
    """A side output and two readers of one output are fed alike."""
    dag = Dag()
    bars = dag.source(MemorySource([trades([1, 25, 2, 31], SymbolTable())])).bars("10ns")
    bars.collect(name="one")
    bars.collect(name="two")
    bars.late.collect(name="late")
    result = run(dag)
    assert result.to_arrow("one").equals(result.to_arrow("two"))
    assert result.to_arrow("bars.late")["ts_event"].cast("int64").to_pylist() == [2]


def test_stopping_drains_what_was_read() -> None:
    """The first signal ends a source that waits; its rows still reach the sink."""
    log: list[Any] = []

    async def work() -> Any:
        running = Run(scripted([[1], [12], "wait"], log))
        task = asyncio.get_running_loop().create_task(running.run())
        while running.ledger()["bars"].rows_in < 2:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0)
        running.stop()
        return await task

    result = asyncio.run(work())
    assert result.interrupted
    assert result.ledger.balanced
    assert [code for codes in log[:-2] for code in codes] == [0, 0]
    assert log[-2:] == ["published", "source closed"]


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_a_stop_after_the_end_of_input_interrupts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_checkpoints: bool
) -> None:
    """Only the sink was still at work, so the output is whole and the job is over."""
    checkpoint = Checkpoint(str(tmp_path / "kept"), interval=None) if has_checkpoints else None
    dag = Dag("job", checkpoint=checkpoint)
    dag.source(MemorySource([trades([1, 5], SymbolTable())]), name="ticks").sink(
        SqliteSink(tmp_path / "out.sqlite"), name="store"
    )
    running = Run(dag)
    finish = EpochedWriter.finish if has_checkpoints else ThreadedWriter.finish

    async def stopped(writer: Any) -> None:
        running.stop()
        await finish(writer)

    monkeypatch.setattr(EpochedWriter, "finish", stopped)
    monkeypatch.setattr(ThreadedWriter, "finish", stopped)
    assert not asyncio.run(running.run()).interrupted


def test_an_interrupted_run_covers_what_its_sources_were_read_to() -> None:
    """The last watermark of what was read counts, however it was seen on its way."""
    symbols = SymbolTable()
    whole = MemorySource([trades([1, 5], symbols)])
    dag = Dag()
    cut = dag.source(ScriptedSource([[1], [12], [25], "wait"], []), name="cut")
    cut.union(dag.source(whole, name="whole")).sink(RecordingSink([]), name="store")

    async def work() -> int | None:
        running = Run(dag)
        task = asyncio.get_running_loop().create_task(running.run())
        while running.ledger()["store"].rows_in < 5:  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0)
        running.stop()
        await task
        return running.covered()

    assert asyncio.run(work()) == 25


def test_one_interrupt_drains_and_two_stop_at_once() -> None:
    """SIGINT is a request first and an order the second time."""
    # With one signal the sink keeps up; with two it would take for ever.
    for signals, turns, outcome in ((1, 0, "published"), (2, 10**12, "aborted")):
        log: list[Any] = []
        sent = 0

        def poke(_: Run, signals: int = signals) -> None:
            nonlocal sent
            if sent < signals:
                sent += 1
                os.kill(os.getpid(), signal.SIGINT)

        dag = Dag()
        endless = ([time] for time in itertools.count())
        dag.source(ScriptedSource(endless, log)).sink(RecordingSink(log, turns=turns))
        if signals == 1:
            assert run(dag, progress=poke).interrupted
        else:
            with pytest.raises(KeyboardInterrupt):
                run(dag, progress=poke)
        assert log[-2:] == [outcome, "source closed"]


def test_run_works_inside_a_running_loop() -> None:
    """As in a notebook: the graph runs in a thread of its own."""

    async def cell() -> int:
        return run(scripted([[1], [12]], [])).rows_read

    assert asyncio.run(cell()) == 2
    assert threading.active_count() >= 1


def test_run_dag_can_be_awaited() -> None:
    """Inside async code the loop is not blocked."""
    assert asyncio.run(run_dag(scripted([[1]], []))).rows_read == 1


def test_an_invalid_graph_does_not_run() -> None:
    """Validation comes before anything is opened."""
    log: list[Any] = []
    dag = Dag()
    dag.source(ScriptedSource([[1]], log)).bars("1s")
    with pytest.raises(GraphError, match=r"nobody reads `bars\.out`"):
        run(dag)
    assert log == []


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
def test_memory_is_bounded_under_a_slow_sink(policy: Any) -> None:
    """Queued rows never exceed the edge's capacity; shed rows are counted."""
    symbols = SymbolTable()
    batches = [trades(range(at, at + 50), symbols) for at in range(0, 20_000, 50)]
    log: list[Any] = []
    dag = Dag()
    dag.source(MemorySource(batches), name="ticks").edge(policy=policy, rows=100).sink(
        RecordingSink(log, turns=100), name="store"
    )
    result = run(dag)
    edge = result.edges["store", ("ticks", "out")]
    assert edge.rows_queued_max <= 100
    assert edge.rows_sent == 20_000
    store = result.ledger["store"]
    assert store.rows_in == 20_000
    assert store.rows_out + store.reasons.get("dropped", 0) == 20_000
    if policy == "block":
        assert store.rows_out == 20_000
        assert edge.waits > 0
    else:
        assert store.reasons["dropped"] > 0


def test_conflating_trades_is_refused() -> None:
    """Every trade counts, so an edge of trades cannot keep only the latest."""
    dag = Dag()
    dag.source(MemorySource([trades([1], SymbolTable())])).edge(policy="conflate").collect()
    with pytest.raises(GraphError, match="conflates trade rows"):
        run(dag)


def test_pressure_is_seen_from_outside() -> None:
    """A full edge says so while the run goes on."""
    seen: set[Pressure] = set()

    async def work() -> None:
        symbols = SymbolTable()
        batches = [trades(range(at, at + 10), symbols) for at in range(0, 500, 10)]
        dag = Dag()
        dag.source(MemorySource(batches), name="ticks").edge(rows=20).sink(
            RecordingSink([], turns=10), name="store"
        )
        running = Run(dag)
        task = asyncio.get_running_loop().create_task(running.run())
        while not task.done():
            await asyncio.sleep(0)
            seen.update(edge.pressure for edge in running.edges().values())
        await task

    asyncio.run(work())
    assert Pressure.HARD in seen


def test_rows_of_two_sources_are_one_stream() -> None:
    """A union of two feeds makes the bars of both."""
    symbols = SymbolTable()
    dag = Dag()
    one = dag.source(MemorySource([trades([1, 11, 21], symbols)]), name="one")
    two = dag.source(MemorySource([trades([2, 12, 22], SymbolTable(["Z", "A"]))]), name="two")
    one.union(two).bars("10ns", name="bars").collect()
    result = run(dag)
    rows = result.to_arrow("bars").to_pylist()
    assert [(row["symbol"], row["count"]) for row in rows] == [("A", 2)] * 3


def test_a_batch_is_not_changed_by_a_run() -> None:
    """The caller's arrays stay what they were."""
    symbols = SymbolTable()
    batch = trades([5, 1, 9], symbols)
    before = {name: column.copy() for name, column in batch.columns.items()}
    dag = Dag()
    dag.source(MemorySource([batch], out_of_order="1s")).to(Bars("1s")).sink(MemorySink())
    run(dag)
    assert isinstance(batch, Batch)
    for name, column in batch.columns.items():
        assert np.array_equal(column, before[name])


def test_signal_handlers_are_given_back() -> None:
    """A program's own handlers work again after a run."""

    def mine(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGINT, mine)
    try:
        run(scripted([[1]], []))
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("interrupts", "outcome"), [(1, "published"), (2, "aborted")])
def test_an_interrupt_in_a_notebook_reaches_the_run(interrupts: int, outcome: str) -> None:
    """Ctrl-C comes to the thread that waits; the run must not go on behind its back."""
    log: list[Any] = []
    sent = 0
    dag = Dag()
    dag.source(ScriptedSource([[1], [2], "wait"], log), name="ticks").sink(
        RecordingSink(log, turns=0 if interrupts == 1 else 10**12), name="store"
    )

    def poke(running: Run) -> None:
        nonlocal sent
        if sent < interrupts and running.ledger()["store"].rows_in:
            sent += 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def cell() -> None:
        # A notebook's loop is running while a cell does, and Ctrl-C raises in the cell.
        loop = asyncio.new_event_loop()
        loop.call_soon(lambda: results.append(run(dag, progress=poke)))
        loop.call_soon(loop.stop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    results: list[Any] = []
    if interrupts == 1:
        cell()
        assert results[0].interrupted
    else:
        with pytest.raises(KeyboardInterrupt):
            cell()
    assert log[-2:] == [outcome, "source closed"]
