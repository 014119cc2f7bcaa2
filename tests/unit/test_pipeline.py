"""A pipeline is a graph with one path; parts of the user's own take part in all it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.batcher.hybrid import HybridBatcher
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.errors import ConfigError, NodeError, PipelineError
from market_data_pipeline.operator.bars import Bars, SecondBarAggregator
from market_data_pipeline.pipeline import StreamingPipeline
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.types import Bar, Quote

OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


def quotes(count: int, *, step_s: float = 0.1) -> list[Quote]:
    return [
        Quote("AB"[i % 2], OPEN + timedelta(seconds=i * step_s), Decimal(100 + i), Decimal(1))
        for i in range(count)
    ]


class Listed:
    """A source that gives what it holds, then fails or waits for ever if told to."""

    def __init__(self, items: list[Any], *, then: str = "end") -> None:
        self.items = items
        self.then = then
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")

    async def stream(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                yield item
            if self.then == "fail":
                msg = "feed lost"
                raise RuntimeError(msg)
            if self.then == "wait":
                await asyncio.get_running_loop().create_future()
        finally:
            self.calls.append("left")

    async def close(self) -> None:
        self.calls.append("close")


class Thirds:
    """An operator that gives every third quote, and what is left at the end."""

    def __init__(self) -> None:
        self.held: list[Quote] = []

    async def handle(self, quote: Quote) -> Any:
        self.held.append(quote)
        if len(self.held) < 3:
            return None
        given, self.held = self.held, []
        return given[-1]

    async def flush_all(self) -> list[Any]:
        return self.held


class Pairs:
    """A batcher of two; plain functions do as well."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    def add(self, row: Any) -> list[Any] | None:
        self.held.append(row)
        return self.flush() if len(self.held) == 2 else None

    def flush(self) -> list[Any] | None:
        given, self.held = self.held, []
        return given or None


class Kept:
    """A sink that keeps what it is given, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.batches: list[list[Any]] = []
        self.closed: list[bool] = []
        self.fails = fails

    async def write(self, batch: list[Any]) -> None:
        if self.fails:
            msg = "disk full"
            raise OSError(msg)
        self.batches.append(batch)

    async def close(self, drain: bool = True) -> None:
        self.closed.append(drain)

    @property
    def rows(self) -> list[Any]:
        return [row for batch in self.batches for row in batch]


def pipeline(**parts: Any) -> StreamingPipeline:
    whole: dict[str, Any] = {
        "source": Listed(quotes(20)),
        "operator": SecondBarAggregator(),
        "batcher": HybridBatcher(max_rows=4, flush_ms=60_000),
        "sink": Kept(),
        "ctx": PipelineContext("acme", "p"),
    }
    return StreamingPipeline(**whole | parts)


def run(made: StreamingPipeline, duration: float | None = None) -> RunResult:
    async def steps() -> RunResult:
        try:
            return await made.run(duration)
        finally:
            await made.close()

    result = asyncio.run(steps())
    assert result.ledger.balanced
    return result


def test_parts_of_this_package_become_native_nodes() -> None:
    """The graph has the nodes of the engine, named after the places of the parts."""
    dag = pipeline(source=SyntheticSource(rows=10)).dag()
    assert dag.name == "acme:p"
    kinds = {name: type(node.component).__name__ for name, node in dag.nodes.items()}
    assert kinds == {
        "source": "SyntheticSource",
        "operator": "Bars",
        "batcher": "BatchRows",
        "sink": "BarSink",
    }


def test_open_bars_are_written_at_the_end() -> None:
    """No bar is lost when the source ends, and batches have their size."""
    sink = Kept()
    result = run(pipeline(sink=sink))
    assert [len(batch) for batch in sink.batches] == [4]
    assert sum(bar.trade_count for bar in sink.rows) == 20
    assert all(isinstance(bar, Bar) for bar in sink.rows)
    assert sink.closed == [True]
    assert result.ledger["operator"].reasons == {"aggregated": 20}


def test_open_bars_are_written_when_the_time_is_over() -> None:
    """A source that waits is left, and what was read goes through."""
    source, sink = Listed(quotes(20), then="wait"), Kept()
    result = run(pipeline(source=source, sink=sink), duration=0.2)
    assert result.interrupted
    assert sum(bar.trade_count for bar in sink.rows) == 20
    assert source.calls == ["start", "left", "close"]


def test_no_time_at_all_is_honoured() -> None:
    """A duration of 0 reads nothing."""
    sink = Kept()
    result = run(pipeline(sink=sink), duration=0)
    assert (result.rows_read, sink.batches) == (0, [])


def test_own_operator_is_called_and_drained() -> None:
    """It is given quotes, what it returns goes on, and the rest is flushed."""
    sink = Kept()
    result = run(pipeline(operator=Thirds(), sink=sink))
    assert [row.price for row in sink.rows] == [102, 105, 108, 111, 114, 117, 118, 119]
    assert result.ledger["operator"].reasons == {"handled": 20}


def test_own_operator_takes_a_native_source(tmp_path: Path) -> None:
    """Rows of the engine come to it as quotes."""
    lines = [f"2024-01-02T14:30:{i:02d}Z,A,{100 + i},2" for i in range(6)]
    file = tmp_path / "ticks.csv"
    file.write_text("\n".join(["timestamp,symbol,price,size", *lines]))
    sink = Kept()
    run(pipeline(source=ReplaySource(file), operator=Thirds(), sink=sink))
    assert sink.rows == [
        Quote("A", OPEN + timedelta(seconds=s), Decimal(100 + s), Decimal(2), source="replay")
        for s in (2, 5)
    ] or [row.price for row in sink.rows] == [102, 105]


def test_own_batcher_keeps_its_batches() -> None:
    """What it returns is written together, and what it holds at the end is asked for."""
    sink = Kept()
    run(pipeline(operator=None, source=Listed(quotes(5)), batcher=Pairs(), sink=sink))
    assert [len(batch) for batch in sink.batches] == [2, 2, 1]


def test_rows_that_a_batcher_keeps_to_itself_are_counted() -> None:
    """Nothing vanishes without a reason."""

    class Greedy:
        def add(self, row: Any) -> None:
            pass

    result = run(pipeline(operator=None, batcher=Greedy()))
    assert result.ledger["batcher"].reasons == {"dropped": 20}


def test_subclass_with_a_method_of_its_own_is_called() -> None:
    """A part is taken for ours only as long as it does what ours does."""

    class Doubled(SecondBarAggregator):
        async def handle(self, quote: Any) -> Bar | None:
            return await super().handle(quote) or await super().handle(quote)

    sink = Kept()
    made = pipeline(operator=Doubled(), sink=sink)
    assert type(made.dag().nodes["operator"].component).__name__ == "Handled"
    run(made)
    assert sum(bar.trade_count for bar in sink.rows) == 40 - 2


def test_native_parts_may_be_given() -> None:
    """Components of the engine are parts as well."""
    sink = MemorySink()
    result = run(pipeline(operator=Bars("1s"), batcher=None, sink=sink))
    assert sum(result.to_arrow("sink")["count"].to_pylist()) == 20


@pytest.mark.parametrize(
    ("parts", "node", "said"),
    [
        ({"source": Listed(quotes(3), then="fail")}, "source", "feed lost"),
        ({"sink": Kept(fails=True)}, "sink", "disk full"),
        ({"source": Listed([Quote("A", OPEN, None, Decimal(1))])}, "operator", "price"),  # type: ignore[arg-type]
    ],
)
def test_part_that_fails_is_named(parts: dict[str, Any], node: str, said: str) -> None:
    """Whatever it raises has the name of its place, and all parts are closed."""
    sink = parts.get("sink", Kept())
    made = pipeline(**{"sink": sink, **parts})
    with pytest.raises(NodeError, match=said) as caught:
        run(made)
    assert caught.value.node == node
    assert len(sink.closed) == 1


def test_slow_sink_makes_the_source_wait() -> None:
    """The source is not asked for more than fits in between."""
    asked = 0

    class Endless:
        async def stream(self) -> AsyncIterator[Quote]:
            nonlocal asked
            while True:
                asked += 1
                yield quotes(1)[0]

    class Stuck(Kept):
        async def write(self, batch: list[Any]) -> None:
            await asyncio.get_running_loop().create_future()

    async def steps() -> None:
        made = pipeline(source=Endless(), operator=None, batcher=None, sink=Stuck())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.run())
            before = -1
            while asked != before:
                before = asked
                await asyncio.sleep(0.3)
            running.cancel()

    asyncio.run(steps())
    assert 0 < asked < 50_000


def test_close_ends_a_run_and_is_idempotent() -> None:
    """It waits until what was read is written; a closed pipeline does not run."""
    sink = Kept()

    async def steps() -> None:
        made = pipeline(source=Listed(quotes(20), then="wait"), sink=sink)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(made.run())
            await asyncio.sleep(0.1)
            with pytest.raises(PipelineError, match="runs already"):
                await made.run()
            await made.close()
            assert sum(bar.trade_count for bar in sink.rows) == 20
            await running
        await made.close()
        with pytest.raises(PipelineError, match="is closed"):
            await made.run()

    asyncio.run(steps())
    assert sink.closed == [True]


def test_pipeline_that_never_ran_closes_its_parts() -> None:
    """Source and sink are closed, once."""
    source, sink = Listed([]), Kept()

    async def steps() -> None:
        made = pipeline(source=source, sink=sink)
        await made.close()
        await made.close()

    asyncio.run(steps())
    assert (source.calls, sink.closed) == (["close"], [True])


@pytest.mark.parametrize("place", ["source", "operator", "batcher", "sink"])
def test_part_that_fits_nowhere_is_refused(place: str) -> None:
    """The place is named, and what it takes."""
    with pytest.raises(ConfigError, match=f"the {place} of a pipeline needs"):
        pipeline(**{place: object()}).dag()
    with pytest.raises(ConfigError, match="duration_sec"):
        asyncio.run(pipeline().run(-1))
