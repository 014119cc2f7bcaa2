"""What goes wrong in a node is told, ends the run, and leaves no half of anything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag import fanin
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.messages import Idle
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run, run_dag
from market_data_pipeline.errors import LedgerError, NodeError, OutputError
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.operator.union import Union
from market_data_pipeline.records import Schema
from market_data_pipeline.running import run
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled
from support.nodes import SCHEMA, RecordingSink, RecordingWriter, ScriptedSource, trades


@component("items")
class ItemSource:
    """Gives items as they are, and fails to close if told so.

    Attributes:
        items: Times of a batch, of which an empty one makes progress to 100; `Idle()`;
            "pause" for some turns of the loop, or "wait" for ever.
        log: Where it writes that it was closed.
        closes: False to fail on closing.
    """

    items: Any
    log: Any
    closes: bool = True

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        return SCHEMA

    async def open(self, context: NodeContext) -> ItemReader:
        return ItemReader(self, context)


class ItemReader:
    def __init__(self, settings: ItemSource, context: NodeContext) -> None:
        self.schema = SCHEMA
        self._settings = settings
        self._items = iter(settings.items)
        self._context = context

    async def read(self) -> Sequence[tuple[str, Batch | Idle]] | None:
        item: Any = next(self._items, None)
        if item is None or isinstance(item, Idle):
            return None if item is None else (("out", item),)
        if isinstance(item, str):
            if item == "wait":
                await asyncio.get_running_loop().create_future()
            for _ in range(20):
                await asyncio.sleep(0)
            return ()
        batch = trades(item, self._context.symbols)
        self._context.account.rows_in += len(batch)
        return (("out", batch.with_progress(Progress(TIME_MIN, 0, max(item, default=100)))),)

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        self._settings.log.append("source closed")
        if not self._settings.closes:
            msg = "the socket is stuck"
            raise OSError(msg)


@component("faulty")
class FaultySink:
    """Fails to open, to publish, or to clean up.

    Attributes:
        log: Where it writes what happens to it.
        opens: False to fail on opening.
    """

    log: Any
    opens: bool = True
    may_be_written: bool = True

    def check(self) -> None:
        if not self.may_be_written:
            msg = "`rows` is there already"
            raise OutputError(msg)

    async def open(self, context: NodeContext, schema: Schema | None) -> FaultyWriter:
        if not self.opens:
            msg = "no such table"
            raise OSError(msg)
        return FaultyWriter(RecordingSink(self.log), context)

    def read(self) -> pa.Table:
        return pa.table({})


class FaultyWriter(RecordingWriter):
    async def finish(self) -> None:
        msg = "no space left"
        raise OSError(msg)

    async def abort(self) -> None:
        msg = "cannot be undone"
        raise ValueError(msg)


@component("leaky")
class Leaky:
    """Loses the rows it is given."""

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> dict[str, Schema | None]:
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        return wanted

    def build(self, context: NodeContext) -> LeakyOperator:
        return LeakyOperator()


class LeakyOperator(Stateless):
    def process(self, batch: Batch) -> Outputs:
        return ()


def test_a_node_that_leaks_a_cancellation_does_not_hang_the_run() -> None:
    """A task that ends as cancelled, and was not, would leave its readers waiting for ever."""

    async def forward(row: Any) -> Any:
        raise asyncio.CancelledError

    dag = Dag()
    dag.source(MemorySource([trades([1], SymbolTable())])).map(forward, name="call").collect()

    async def work() -> None:
        async with asyncio.timeout(60):
            await run_dag(dag)

    with pytest.raises(NodeError, match="node `call` failed: CancelledError"):
        asyncio.run(work())


def test_sources_and_sinks_are_let_go_when_a_later_node_does_not_open() -> None:
    """What was opened before is closed and aborted."""
    log: list[Any] = []
    dag = Dag()
    rows = dag.source(ScriptedSource([[1]], log))
    rows.sink(RecordingSink(log), name="one")
    rows.sink(FaultySink(log, opens=False), name="two")
    with pytest.raises(NodeError, match="node `two` failed: OSError: no such table"):
        run(dag)
    assert log == ["aborted", "source closed"]


def test_a_sink_that_may_not_be_written_is_the_node_that_failed() -> None:
    """The error is the sink's own, as nothing ran yet; who looks at the run is told which."""
    dag = Dag()
    dag.source(ScriptedSource([[1]], [])).sink(FaultySink([], may_be_written=False), name="store")
    started = Run(dag)
    with pytest.raises(OutputError, match="`rows` is there already"):
        asyncio.run(started.run())
    told = {name: (seen.state, seen.error) for name, seen in started.nodes().items()}
    assert told == {
        "scripted": ("ended", None),
        "store": ("failed", "`rows` is there already"),
    }


def test_a_source_that_does_not_close_hides_nothing_and_keeps_no_other_open() -> None:
    """The failure that came first is the one that is raised."""
    log: list[Any] = []
    dag = Dag()
    one = dag.source(ItemSource([], log, closes=False), name="one")
    two = dag.source(ItemSource([[1]], log), name="two")
    one.union(two).sink(RecordingSink(log, fail_at=1), name="store")
    with pytest.raises(NodeError, match="the disk is on fire") as caught:
        run(dag)
    assert "the socket is stuck" in caught.value.__notes__[-1]
    assert log.count("source closed") == 2


def test_a_source_that_does_not_close_after_a_good_run_is_named() -> None:
    """A failure that is nobody's consequence is told, with the node."""
    dag = Dag()
    dag.source(ItemSource([[1]], [], closes=False), name="ticks").collect()
    started = Run(dag)
    with pytest.raises(NodeError, match="node `ticks` failed: OSError: the socket is stuck"):
        asyncio.run(started.run())
    assert started.phase == "failed"
    assert started.nodes()["ticks"].error == "the socket is stuck"


def test_a_sink_that_cannot_clean_up_hides_nothing_and_spares_no_other() -> None:
    """Whatever cleaning up one output raises, the others are cleaned up too."""
    log: list[Any] = []
    dag = Dag()
    rows = dag.source(ScriptedSource([[1], ValueError("bad frame")], log))
    rows.sink(FaultySink(log), name="one")
    rows.sink(RecordingSink(log), name="two")
    with pytest.raises(NodeError, match="bad frame") as caught:
        run(dag)
    assert "cannot be undone" in caught.value.__notes__[-1]
    assert log[-2:] == ["aborted", "source closed"]


def test_what_is_published_is_not_taken_back() -> None:
    """An output that is visible stays; of the one that failed and the next there is none."""
    log: list[Any] = []
    after: list[Any] = []
    dag = Dag()
    rows = dag.source(ScriptedSource([[1]], []))
    rows.sink(RecordingSink(log), name="one")
    rows.sink(FaultySink([]), name="two")
    rows.sink(RecordingSink(after), name="three")
    with pytest.raises(NodeError, match="node `two` failed: OSError: no space left"):
        run(dag)
    assert (log[-1], after[-1]) == ("published", "aborted")


def test_a_run_that_loses_rows_publishes_nothing() -> None:
    """The books are checked before the outputs are made visible."""
    log: list[Any] = []
    dag = Dag()
    dag.source(ScriptedSource([[1]], log)).to(Leaky()).sink(RecordingSink(log))
    with pytest.raises(LedgerError, match="`leaky` by 1"):
        run(dag)
    assert log == ["aborted", "source closed"]


def test_a_failing_progress_callback_ends_the_run() -> None:
    """It is not swallowed, and what was written is taken back."""
    log: list[Any] = []

    def show(_: Run) -> None:
        msg = "no terminal"
        raise ValueError(msg)

    dag = Dag()
    dag.source(ScriptedSource([[1], "wait"], log)).sink(RecordingSink(log))
    with pytest.raises(ValueError, match="no terminal"):
        run(dag, progress=show)
    assert log[-2:] == ["aborted", "source closed"]


def test_a_chain_may_have_any_length() -> None:
    """Operators that call one another do not exhaust Python's stack."""
    dag = Dag()
    rows = dag.source(MemorySource([trades([1, 2], SymbolTable())]))
    for _ in range(600):
        rows = rows.filter("price > 0")
    rows.collect(name="store")
    assert run(dag).ledger["store"].rows_out == 2


@pytest.mark.parametrize("gathers", [False, True])
def test_rows_do_not_wait_for_idle_inputs_however_far_away(gathers: bool) -> None:
    """Idleness passes through merges and batchers that hold nothing."""
    log: list[Any] = []
    dag = Dag()
    quiet = dag.source(ItemSource([Idle(), "wait"], log), name="quiet")
    still = dag.source(ItemSource([Idle(), "wait"], log), name="still")
    before = quiet.union(still, name="inner")
    if gathers:
        before = before.batch(rows=10, interval="1h")
    busy = dag.source(ScriptedSource([[1], [2], "wait"], log), name="busy")
    before.union(busy, name="outer").sink(RecordingSink(log), name="store")

    async def work() -> RunResult:
        running = Run(dag)
        task = asyncio.create_task(running.run())
        for _ in range(1_000):
            await asyncio.sleep(0)
        passed.append(running.ledger()["store"].rows_in)
        running.stop()
        return await task

    passed: list[int] = []
    assert asyncio.run(work()).ledger.balanced
    assert passed == [2]


def test_merges_beside_one_another_do_not_wait_for_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One holds the first source back, the other the second, if both stop reading."""
    monkeypatch.setattr(fanin, "_HELD_ROWS_MAX", 3)
    symbols = SymbolTable()
    dag = Dag()
    for name in ("a", "b"):
        batches = [trades([time], symbols) for time in range(100)]
        dag.source(MemorySource(batches), name=name)
    dag.add(Union(), name="rows", inputs=[Edge("a", rows=1), Edge("b", rows=1)])
    dag.add(Bars("50ns"), name="long", inputs=[Edge("a", rows=1)])
    dag.add(Bars("1ns"), name="short", inputs=[Edge("b", rows=1)])
    dag.add(Union(), name="bars", inputs=[Edge("long", rows=1), Edge("short", rows=1)])
    dag.add(MemorySink(), name="all_rows", inputs=[Edge("rows")])
    dag.add(MemorySink(), name="all_bars", inputs=[Edge("bars")])

    async def work() -> RunResult:
        async with asyncio.timeout(60):
            return await run_dag(dag)

    result = asyncio.run(work())
    assert result.ledger["all_rows"].rows_out == 200
    assert result.ledger["all_bars"].rows_out == 102


def test_cancelling_at_any_step_leaves_nothing_behind() -> None:
    """Whenever it comes: no task goes on, every sink is published or aborted, never both."""
    outcomes = set()
    for step in range(200):
        log: list[Any] = []
        other: list[Any] = []
        dag = Dag()
        rows = dag.source(ScriptedSource([[1], [12], [25], [26, 40]], log)).edge(rows=1)
        bars = rows.bars("10ns")
        bars.edge(rows=1).sink(RecordingSink(log, turns=2))
        bars.edge(rows=1).union(rows.bars("10ns")).batch(rows=2).sink(RecordingSink(other))

        async def work(dag: Dag = dag, step: int = step) -> str:
            task = asyncio.create_task(run_dag(dag))
            for _ in range(step):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                outcome = "cancelled"
            else:
                outcome = "done"
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return outcome

        outcome = run_shuffled(work(), step)
        outcomes.add(outcome)
        for events in (log, other):
            ends = [event for event in events if event in ("published", "aborted")]
            assert len(ends) == (1 if outcome == "done" or "source closed" in log else 0), step
        if outcome == "done":
            assert {log[-2], other[-1]} == {"published"}
    assert outcomes == {"cancelled", "done"}


def test_stopping_at_any_step_publishes_what_was_read() -> None:
    """An orderly stop never loses rows and never leaves an output unpublished."""
    for step in range(120):
        log: list[Any] = []
        dag = Dag()
        dag.source(ScriptedSource([[1], [12], [25], "wait"], log)).edge(rows=1).bars("10ns").edge(
            rows=1
        ).sink(RecordingSink(log, turns=2))

        async def work(dag: Dag = dag, step: int = step) -> RunResult:
            running = Run(dag)
            task = asyncio.create_task(running.run())
            for _ in range(step):
                await asyncio.sleep(0)
            running.stop()
            running.stop()
            async with asyncio.timeout(60):
                return await task

        result = run_shuffled(work(), step)
        assert result.ledger.balanced
        assert log[-2:] == ["published", "source closed"]


def test_a_source_without_rows_gives_an_output_without_rows() -> None:
    """Its columns are known all the same."""
    dag = Dag()
    dag.source(MemorySource([trades([], SymbolTable())])).bars("1s", name="bars").collect()
    table = run(dag).to_arrow("bars")
    assert table.num_rows == 0
    assert "vwap" in table.column_names
    assert run(dag).rows_read == 0


def test_progress_made_while_rows_are_held_is_told_once_they_are_not() -> None:
    """A batcher whose time has come gives up the rows and what was learnt meanwhile."""
    log: list[Any] = []
    dag = Dag()
    dag.source(ItemSource([[1], "pause", [], "wait"], log), name="ticks").batch(
        rows=10, interval="1ms"
    ).bars("10ns").sink(RecordingSink(log), name="store")

    async def work() -> RunResult:
        running = Run(dag)
        task = asyncio.create_task(running.run())
        loop = asyncio.get_running_loop()
        until = loop.time() + 60
        while not running.ledger()["store"].rows_in and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0)
        passed.append(running.ledger()["store"].rows_in)
        running.stop()
        return await task

    passed: list[int] = []
    assert asyncio.run(work()).ledger.balanced
    assert passed == [1]
