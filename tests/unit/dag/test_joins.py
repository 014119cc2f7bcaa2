"""Joins in whole graphs: two inputs by name, read so that nothing waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import TIME_MAX, Batch, Progress
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.join_inlet import JoinInlet, Sided
from market_data_pipeline.dag.messages import END, Barrier, Idle, Message, Watermark
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import run_dag
from market_data_pipeline.errors import (
    GraphError,
    PortError,
    SchemaError,
    UnconnectedNodeError,
)
from market_data_pipeline.flow import Dag, Stream
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.records import QUOTE, TRADE
from market_data_pipeline.running import run
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled
from support.nodes import ScriptedSource, trades

_UNIT = 10**9


def quotes(times: list[int], symbols: SymbolTable) -> Batch:
    rows = len(times)
    schema = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])
    columns: dict[str, Any] = {
        "ts_event": np.array(times, np.int64),
        "symbol": symbols.encode(["A"] * rows),
        "bid_price": np.arange(1, rows + 1) * _UNIT,
        "ask_price": np.arange(2, rows + 2) * _UNIT,
    }
    return Batch(schema, columns, symbols)


async def soon(dag: Dag) -> RunResult:
    async with asyncio.timeout(60):
        return await run_dag(dag)


def test_trades_get_the_quote_that_prevailed() -> None:
    """Rows of both sides are in the ledger, and trades before the first quote have none."""
    dag = Dag()
    symbols = SymbolTable()
    deals = dag.source(MemorySource([trades([2, 5, 7, 9], symbols)]), name="deals")
    book = dag.source(MemorySource([quotes([5, 6, 6, 20], symbols)]), name="book")
    deals.with_quotes(book, name="join").collect(name="out")
    result = run(dag)
    rows = result.to_arrow("out").to_pylist()
    assert [row["bid_price"] for row in rows] == [None, 1.0, 3.0, 3.0]
    assert list(rows[0])[-2:] == ["bid_price", "ask_price"]
    account = result.ledger["join"]
    assert (account.rows_in, account.rows_out, account.reasons) == (8, 4, {"joined": 4})


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_both_inputs_from_one_source_do_not_lock_up(seed: int, rows: int) -> None:
    """One source feeds both sides through channels of few rows, one side nearly empty."""
    rng = np.random.default_rng(seed)
    dag = Dag()
    symbols = SymbolTable()
    times = np.sort(rng.integers(0, 400, 120)).tolist()
    ticks = dag.source(MemorySource([trades(times, symbols)], batch_rows=int(rng.integers(1, 20))))
    few = "size > 1000" if seed % 3 == 0 else "price > 90"
    narrow: dict[str, Any] = {"rows": rows}
    left = ticks.edge(**narrow).filter(few if seed % 2 else "price > 0", name="left")
    right = ticks.edge(**narrow).filter("price > 0" if seed % 2 else few, name="right")
    left.edge(**narrow).join_asof(right.edge(**narrow), name="join").collect(name="out")
    result = run_shuffled(soon(dag), seed)
    assert result.ledger["join"].rows_out == result.ledger["left"].rows_out
    assert result.ledger.balanced


def test_a_join_of_a_join_with_its_own_input_does_not_lock_up() -> None:
    """Inputs that are linked only by way of other nodes are linked all the same."""
    dag = Dag()
    symbols = SymbolTable()
    ticks = dag.source(MemorySource([trades(list(range(300)), symbols)], batch_rows=7), name="a")
    other = dag.source(MemorySource([trades(list(range(300)), symbols)], batch_rows=5), name="b")
    narrow: dict[str, Any] = {"rows": 2}
    both = ticks.edge(**narrow).join_asof(other.edge(**narrow), name="first")
    again = both.select(["ts_event", "symbol", "price"], name="plain")
    again.edge(**narrow).join_asof(ticks.edge(**narrow), suffix="_2", name="second").collect(
        name="out"
    )
    other.edge(**narrow).join_asof(again.edge(**narrow), name="third").collect(name="more")
    result = asyncio.run(soon(dag))
    assert result.ledger["second"].rows_out == result.ledger["third"].rows_out == 300


@pytest.mark.parametrize("empty", ["left", "right"])
def test_an_input_without_rows_leaves_the_other_as_it_is(empty: str) -> None:
    """Without right rows all are unmatched; without left rows nothing comes out."""
    dag = Dag()
    full = dag.source(ScriptedSource([[1, 2], [5]]), name="full")
    none = dag.source(ScriptedSource([]), name="none")
    sides = (none, full) if empty == "left" else (full, none)
    sides[0].join_asof(sides[1], name="join").collect(name="out")
    result = run(dag)
    rows = result.to_arrow("out").to_pylist()
    assert [row["price_right"] for row in rows] == ([] if empty == "left" else [None] * 3)
    assert result.ledger.balanced


def test_rows_behind_their_own_watermark_are_late() -> None:
    """Late rows of either side go to an output of their own, and are counted."""
    dag = Dag()
    left = dag.source(ScriptedSource([[5, 3], [9]]), name="l")
    right = dag.source(ScriptedSource([[4], [8, 2, 1]]), name="r")
    joined = left.join_asof(right, name="join")
    joined.collect(name="out")
    joined.late.collect(name="late")
    joined.late_right.collect(name="late_right")
    result = run(dag)
    assert result.ledger["join"].reasons == {"late": 1, "late_right": 2, "joined": 2}
    assert result.to_arrow("late").num_rows == 1
    assert result.to_arrow("late_right").num_rows == 2


def test_a_graph_after_a_join_is_run_in_its_order() -> None:
    """Bars after a join see its watermarks: none of its rows is late."""
    dag = Dag()
    symbols = SymbolTable()
    deals = dag.source(
        MemorySource([trades([9, 3, 14, 11, 30, 25], symbols)], out_of_order="10ns"), name="deals"
    )
    book = dag.source(MemorySource([quotes([0, 10, 20], symbols)]), name="book")
    deals.with_quotes(book).bars("10ns", name="bars").collect(name="out")
    result = run(dag)
    assert [row["count"] for row in result.to_arrow("out").to_pylist()] == [2, 2, 1, 1]
    assert "late" not in result.ledger["bars"].reasons


# What is wrong with a graph is said before it runs


def two(dag: Dag) -> tuple[Stream, Stream]:
    symbols = SymbolTable()
    a = dag.source(MemorySource([trades([1], symbols)]), name="a")
    return a, dag.source(MemorySource([quotes([1], symbols)]), name="b")


@pytest.mark.parametrize(
    ("inputs", "error", "text"),
    [
        ([Edge("a", into="left")], UnconnectedNodeError, "nothing feeds the input `right`"),
        ([], UnconnectedNodeError, "reads from nothing; say `from: {left: ..., right: ...}`"),
        ([Edge("a", into="left"), Edge("b", into="rigth")], PortError, "did you mean `right`"),
        ([Edge("a"), Edge("b", into="right")], PortError, "without saying into which input"),
        ([Edge("a", into="left"), Edge("b", into="left")], PortError, "with `union` before"),
        ([Edge("a", into="left"), Edge("a", into="right")], PortError, "from `a.out` twice"),
    ],
)
def test_inputs_that_are_not_those_of_the_join_are_refused(
    inputs: list[Edge], error: type[GraphError], text: str
) -> None:
    """An input that is missing, unknown or fed twice is named."""
    dag = Dag()
    for stream in two(dag):
        stream.collect()
    dag.add(AsofJoin(), name="join", inputs=inputs)
    dag.add(MemorySink(), inputs=[Edge("join")])
    with pytest.raises(error, match=text):
        dag.validate()


def test_a_node_without_named_inputs_is_not_fed_by_name() -> None:
    """`into` belongs to joins."""
    dag = Dag()
    two(dag)[1].collect()
    dag.add(MemorySink(), name="store", inputs=[Edge("a", into="left")])
    with pytest.raises(PortError, match="reads `a` into `left`, but its inputs have no names"):
        dag.validate()


def test_columns_that_do_not_fit_are_named() -> None:
    """A missing key, a key of two types, and a name taken twice are said with the node."""
    dag = Dag()
    a, b = two(dag)
    a.join_asof(b, by=["symbol", "venue"], name="join").collect()
    with pytest.raises(SchemaError, match="node `join`: `asof_join` needs the column `venue`"):
        dag.validate()
    with pytest.raises(SchemaError, match="two columns `ts_event`; give another `suffix`"):
        AsofJoin(suffix="").join_schemas(TRADE, QUOTE)


# The inlet


def batch_at(times: list[int], symbols: SymbolTable) -> Batch:
    batch = trades(times, symbols)
    return batch.with_progress(Progress(times[0], 0, times[-1]))


def told(*sides: list[Message], bounded: bool = True) -> Any:
    """Return what an inlet gives of two queues."""
    channels = (Channel(), Channel())
    for channel, messages in zip(channels, sides, strict=True):
        for message in messages:
            assert channel.send_nowait(message)
    inlet = JoinInlet(channels, bounded=bounded)
    found = []
    while (given := inlet._poll()) is not None:
        found.append(given)
        if given is END:
            break
    return found, channels


def test_the_side_that_is_behind_is_read_first() -> None:
    """A side that is ahead is left alone as long as the other one is behind it."""
    symbols = SymbolTable()
    left: list[Message] = [batch_at([t], symbols) for t in (10, 20)]
    left.insert(1, Watermark(15))
    right: list[Message] = [batch_at([t], symbols) for t in (1, 2, 12)]
    found, channels = told(left, right)
    assert [(f.side, f.watermark) for f in found] == [(0, 10), (1, 12), (0, 15)]
    assert len(channels[0]) == 1
    found, channels = told(left, right, bounded=False)
    assert len(found) == 4
    assert not len(channels[0])


def test_an_idle_side_goes_along_with_the_other() -> None:
    """Nobody waits for an idle side; once both are idle the join is."""
    symbols = SymbolTable()
    left: list[Message] = [batch_at([10], symbols), batch_at([20], symbols), Idle()]
    found, _ = told(left, [Idle(), Watermark(5), Idle()])
    plain = [(f.side, f.watermark) if isinstance(f, Sided) else f for f in found]
    assert plain == [(0, 20), (1, 20), Idle()]


def test_barriers_are_aligned_and_ends_are_told_by_side() -> None:
    """What comes after a barrier on one side waits for the barrier on the other."""
    symbols = SymbolTable()
    left: list[Message] = [Barrier(1), batch_at([1], symbols), END]
    right: list[Message] = [batch_at([30], symbols), Barrier(1), END]
    found, _ = told(left, right)
    plain = [(f.side, f.watermark) if isinstance(f, Sided) else f for f in found]
    assert plain == [(1, 30), Barrier(1), (0, 1), (0, TIME_MAX), (1, TIME_MAX), END]
