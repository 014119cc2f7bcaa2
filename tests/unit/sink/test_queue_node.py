"""A sink object for bars as a node: the rows of a run, and its account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.pressure import PressureWriter
from market_data_pipeline.errors import NodeError, OutputError, SchemaError
from market_data_pipeline.sink.database import DatabaseSink, DatabaseSinkSettings
from market_data_pipeline.sink.queue_node import sink_node
from market_data_pipeline.sink.store import StoreSink
from market_data_pipeline.types import Bar
from support.in_loop import in_loop

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9


class Processor:
    def __init__(self, *, refuse: str = "") -> None:
        self.rows: list[dict[str, Any]] = []
        self.refuse = refuse
        self.closed = 0

    def upsert_bars(self, rows: list[dict[str, Any]]) -> None:
        if any(row["symbol"] == self.refuse for row in rows):
            msg = "no such symbol"
            raise ValueError(msg)
        self.rows += rows

    def close(self) -> None:
        self.closed += 1


class Plain:
    """Has nothing but what a sink must have."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.closed: list[bool] = []

    async def write(self, batch: Sequence[Bar]) -> None:
        self.bars += batch

    async def close(self, drain: bool = True) -> None:
        self.closed.append(drain)


def bars_of(sink: Any, *, seconds: int = 3, batch: int = 500) -> mdp.RunResult:
    """Run trades of two symbols into one bar a second and symbol."""
    table = pa.table(
        {
            "ts_event": pa.array([NOON_NS + s * 10**9 for s in range(seconds) for _ in "AB"]),
            "symbol": list("AB") * seconds,
            "price": [Decimal("1.5")] * (2 * seconds),
            "size": [Decimal("0.25")] * (2 * seconds),
        }
    )
    dag = mdp.Dag("bars")
    bars = dag.source(mdp.MemorySource(table)).bars("1s")
    bars.sink(sink_node(sink, batch_rows=batch), name="out")
    return mdp.run(dag)


def test_plain_object_is_given_bars_and_closed() -> None:
    """Exactly the prices of the engine."""
    plain = Plain()
    result = bars_of(plain)
    assert len(plain.bars) == 6
    assert plain.bars[0] == Bar(
        symbol="A",
        timestamp=NOON,
        open=Decimal("1.5"),
        high=Decimal("1.5"),
        low=Decimal("1.5"),
        close=Decimal("1.5"),
        volume=Decimal("0.25"),
        vwap=Decimal("1.5"),
        trade_count=1,
        source="market_data_pipeline",
    )
    assert plain.closed == [True]
    assert result.ledger["out"].rows_out == 6


def test_store_sink_is_started_and_closed() -> None:
    """Its account balances."""
    processor = Processor()
    result = bars_of(StoreSink(processor))
    assert len(processor.rows) == 6
    assert processor.closed == 1
    account = result.ledger["out"]
    assert (account.rows_in, account.rows_out, account.held) == (6, 6, 0)


def test_dead_letters_are_rejected_rows() -> None:
    """The run goes on without them."""
    dead: list[Any] = []
    sink = StoreSink(Processor(refuse="B"), workers=1, dead_letters=dead.append)
    result = bars_of(sink, batch=1)
    account = result.ledger["out"]
    assert account.reasons == {"rejected": 3}
    assert account.rows_out == 3
    assert len(dead) == 3


def test_failures_that_are_only_counted_have_a_reason() -> None:
    """Where the owner asked for that."""
    sink = StoreSink(Processor(refuse="B"), workers=1, on_failure="count")
    account = bars_of(sink, batch=1).ledger["out"]
    assert account.reasons == {"failed": 3}


def test_failure_that_nobody_took_fails_the_run() -> None:
    """It never looks like a clean end."""
    processor = Processor(refuse="B")
    with pytest.raises(NodeError, match="3 batches could not be written"):
        bars_of(StoreSink(processor, workers=1), batch=1)
    assert processor.closed == 1


def test_dropped_batches_are_in_the_account() -> None:
    """Under `dropped`, to the row."""
    settings = DatabaseSinkSettings(workers=0, queue_max=1, backpressure_policy="oldest")
    processor = Processor()
    sink = DatabaseSink(tenant_id="t", settings=settings, processor=processor)
    account = bars_of(sink, batch=2).ledger["out"]
    assert account.reasons == {"dropped": 4}
    assert account.rows_out == len(processor.rows) == 2


def test_rows_that_are_no_bars_are_refused() -> None:
    """By name of the column, before anything runs."""
    dag = mdp.Dag("trades")
    table = pa.table(
        {"ts_event": [1], "symbol": ["A"], "price": [Decimal(1)], "size": [Decimal(1)]}
    )
    dag.source(mdp.MemorySource(table)).sink(sink_node(Plain()))
    with pytest.raises((NodeError, SchemaError), match="are no bars, they lack `open`"):
        mdp.run(dag)


@in_loop
async def test_node_tells_its_pressure_where_the_object_does() -> None:
    """One without a queue has none to tell."""
    from market_data_pipeline.dag.nodes import NodeContext

    node = sink_node(StoreSink(Processor()))
    writer = await node.open(NodeContext("out"), None)
    assert isinstance(writer, PressureWriter)
    assert writer.pressure().capacity == 100
    await writer.finish()
    assert not isinstance(await sink_node(Plain()).open(NodeContext("out"), None), PressureWriter)


def test_node_cannot_be_read_back() -> None:
    """It says where to look."""
    with pytest.raises(OutputError, match="`Plain` cannot be read back"):
        sink_node(Plain()).read()
