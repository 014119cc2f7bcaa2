from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.messages import Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext, Outputs, SourceItem
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.flow import Dag
from market_data_pipeline.records import Schema
from market_data_pipeline.running import run
from support.nodes import SCHEMA, RecordingSink, trades

QUIET = Status("quiet", 7)


@component("telling")
class TellingSource:
    """Gives items as they are; a list stands for trades at these times.

    Attributes:
        items: What to give.
    """

    items: Any

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        return SCHEMA

    async def open(self, context: NodeContext) -> TellingReader:
        return TellingReader(list(self.items), context)


class TellingReader:
    def __init__(self, items: list[Any], context: NodeContext) -> None:
        self.schema = SCHEMA
        self._items = items
        self._context = context
        self._highest = TIME_MIN

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        if not self._items:
            return None
        item = self._items.pop(0)
        if not isinstance(item, list):
            return (("out", item),)
        batch = trades(item, self._context.symbols)
        self._context.account.rows_in += len(batch)
        before, self._highest = self._highest, max(self._highest, *item)
        return (("out", batch.with_progress(Progress(before, 0, self._highest))),)

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        pass


@component("listener")
class Listener:
    """Writes down what it is told; on a state it gives up the row it holds.

    Attributes:
        log: Where it writes.
        holds: Whether it holds rows until a state or the end comes.
    """

    log: Any
    holds: bool = False

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        return wanted

    def build(self, context: NodeContext) -> _Listening:
        return _Listening(self.log, context, holds=self.holds)


@dataclass
class _Listening:
    log: list[Any]
    context: NodeContext
    holds: bool
    held: list[Batch] = field(default_factory=list)

    def process(self, batch: Batch) -> Outputs:
        self.log.append(batch.times.tolist())
        if not self.holds:
            return [("out", batch)]
        self.held.append(batch)
        self.context.account.held += len(batch)
        return ()

    def status(self, status: Status) -> Outputs:
        self.log.append(status)
        return self.finish()

    def advance(self, watermark: int) -> Outputs:
        self.log.append(watermark)
        return ()

    def finish(self) -> Outputs:
        given, self.held = self.held, []
        self.context.account.held = 0
        return [("out", batch) for batch in given]

    def output_watermark(self, watermark: int) -> int:
        return TIME_MIN if self.held else watermark

    def snapshot(self) -> Snapshot:
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        pass


def test_a_state_goes_through_a_chain_in_order() -> None:
    """Every operator that wants it is told, between the rows it stood between."""
    first: list[Any] = []
    second: list[Any] = []
    dag = Dag()
    dag.source(TellingSource([[1], Watermark(5), QUIET, [9]])).to(Listener(first)).filter(
        "price > 0"
    ).to(Listener(second)).collect()
    run(dag)
    assert first == second == [[1], 1, 5, QUIET, [9], 9]


def test_what_an_operator_gives_on_a_state_goes_before_it() -> None:
    """Rows that were held, and the progress they held back, are told first."""
    log: list[Any] = []
    dag = Dag()
    dag.source(TellingSource([[1, 3], QUIET])).to(Listener([], holds=True)).to(
        Listener(log)
    ).collect()
    run(dag)
    assert log == [[1, 3], 3, QUIET]


@pytest.mark.parametrize("reader", ["chained", "apart"])
def test_a_batcher_gives_up_its_rows_before_a_state(reader: str) -> None:
    """Rows that are gathered for a sink are not overtaken."""
    log: list[Any] = []
    dag = Dag()
    gathered = dag.source(TellingSource([[1], [3], QUIET, [9]])).batch(rows=100, interval="1h")
    gathered.to(Listener(log)).collect()
    if reader == "apart":
        gathered.sink(RecordingSink([]))
    run(dag)
    assert log[:4] == [[1, 3], 3, QUIET, [9]]


def test_every_branch_is_told() -> None:
    """Two readers of one port both hear of a state, and a merge of them hears it twice."""
    logs: list[list[Any]] = [[], [], []]
    dag = Dag()
    ticks = dag.source(TellingSource([[1], QUIET, [9]]))
    left, right = (ticks.to(Listener(log)) for log in logs[:2])
    left.union(right).to(Listener(logs[2])).collect()
    run(dag)
    for log in logs[:2]:
        assert [item for item in log if not isinstance(item, int)] == [[1], QUIET, [9]]
    assert [item for item in logs[2] if not isinstance(item, int)] == [
        [1],
        QUIET,
        [1],
        QUIET,
        [9, 9],
    ]


def test_a_join_passes_on_what_its_first_input_says() -> None:
    """After the rows before it, however long these wait; of the second input nothing."""
    log: list[Any] = []
    dag = Dag()
    left = dag.source(TellingSource([[1, 5], QUIET, [9]]), name="left")
    right = dag.source(TellingSource([[2], Status("halted", 3), [4], [7], [20]]), name="right")
    left.join_asof(right, name="join").to(Listener(log)).collect()
    run(dag)
    rows = [item for item in log if not isinstance(item, int)]
    assert [time for item in rows if isinstance(item, list) for time in item] == [1, 5, 9]
    assert rows.index(QUIET) == rows.index([9]) - 1
    assert [item for item in rows if isinstance(item, Status)] == [QUIET]
