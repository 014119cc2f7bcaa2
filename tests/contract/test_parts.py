"""Sections 4 and 6 of the contract of version 0.8: values, sources, operators, batcher."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from market_data_pipeline import errors
from market_data_pipeline.batcher.hybrid import HybridBatcher
from market_data_pipeline.context import PipelineContext
from market_data_pipeline.operator import EventTimePolicy, Operator, StatefulOperator
from market_data_pipeline.operator.bars import SecondBarAggregator
from market_data_pipeline.pacing import Budget, Pacer
from market_data_pipeline.pipeline import StreamingPipeline
from market_data_pipeline.source.base import SourceStatus, TickSource
from market_data_pipeline.source.capabilities import SourceCapabilities, SourceHealth
from market_data_pipeline.source.ibkr import IBKRSource
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.types import Bar, Quote

OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
Synthetic: Any = SyntheticSource


def quote(seconds: float, price: str, size: str = "100", symbol: str = "SPY") -> Quote:
    return Quote(
        symbol=symbol,
        timestamp=OPEN + timedelta(seconds=seconds),
        price=Decimal(price),
        size=Decimal(size),
    )


# 4


def test_quote_and_bar_are_frozen_values() -> None:
    """They are made by keywords, hold what they are given, and cannot be changed."""
    made = quote(0, "450.10")
    assert (made.bid, made.ask, made.source, made.metadata) == (None, None, "unknown", None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.price = Decimal(1)  # type: ignore[misc]
    bar = Bar(
        symbol="SPY",
        timestamp=datetime(2024, 1, 2),  # noqa: DTZ001 - callers of 0.8 give naive ones
        **dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal(1)),  # type: ignore[arg-type]
    )
    assert (bar.vwap, bar.trade_count, bar.source, bar.metadata) == (None, None, "unknown", None)


def test_errors_have_one_root() -> None:
    """All names of 0.8 are there."""
    names = ("SourceError", "OperatorError", "BatcherError", "SinkError", "PacingError")
    for name in (*names, "ConfigurationError", "SchemaValidationError"):
        assert issubclass(getattr(errors, name), errors.PipelineError)
    told = errors.SchemaValidationError("message", "schema", ["one"], "track")
    assert told.errors == ["one"] or tuple(told.errors) == ("one",)


def test_budget_and_pacer() -> None:
    """A budget is frozen; a pacer's can be replaced."""

    async def steps() -> None:
        pacer = Pacer(Budget(max_msgs_per_sec=10, burst=5))
        assert (pacer.budget.max_msgs_per_sec, pacer.budget.burst) == (10, 5)
        await pacer.allow()
        await pacer.allow(n=2)
        pacer.budget = Budget(20, 6)
        assert pacer.budget.burst == 6
        await pacer.reset()

    asyncio.run(steps())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Budget(1, 1).burst = 2  # type: ignore[misc]


# 6.1


def test_synthetic_source_streams_in_time() -> None:
    """At 20 ticks a second at least 30 quotes of exactly the symbols come within 3 s."""

    async def steps() -> list[Quote]:
        source = Synthetic(symbols=["AAPL", "MSFT"], ticks_per_sec=20, pacing_budget=(20, 20))
        await source.start()
        found: list[Quote] = []
        async for given in source.stream():
            found.append(given)
            if len(found) == 30:
                assert (await source.status()).connected
                break
        await source.close()
        assert not (await source.status()).connected
        assert isinstance(await source.health(), SourceHealth)
        return found

    began = time.monotonic()
    found = asyncio.run(steps())
    assert time.monotonic() - began < 3
    assert {given.symbol for given in found} == {"AAPL", "MSFT"}
    assert all(isinstance(given.price, Decimal) and given.price > 0 for given in found)
    assert all(given.timestamp.utcoffset() == timedelta(0) for given in found)
    times = [given.timestamp for given in found]
    assert times == sorted(times)


def test_synthetic_source_takes_the_arguments_of_0_8_by_position() -> None:
    """Symbols, rate, budget, seed and context."""
    ctx = PipelineContext("acme", "p")
    source = Synthetic(["A", "B"], 50, Budget(60, 5), None, ctx)
    assert source.symbols == ("A", "B")
    assert (source.ticks_per_sec, source.pacing_budget, source.ctx) == (50, (60, 5), ctx)
    assert SourceCapabilities.TRADES in source.capabilities
    assert isinstance(source, TickSource)
    assert Synthetic(["A"]).ticks_per_sec == 100


def test_source_status_is_frozen() -> None:
    """Connected or not, and a detail."""
    status = SourceStatus(connected=True)
    assert status.detail == ""
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.connected = False  # type: ignore[misc]


def test_ibkr_source_takes_the_builder_s_arguments() -> None:
    """Also the rate, which 0.8 passes and its source refused."""
    source = IBKRSource(["SPY"], "host", 7497, 1, (1000, 1000), None, ticks_per_sec=100)
    assert source.symbols == ("SPY",)


# 6.2


def test_aggregator_gives_the_bar_with_the_tick_that_ends_it() -> None:
    """Three ticks of one second give nothing; the next second's first gives the exact bar."""
    ticks = [quote(0.1, "450.10"), quote(0.5, "450.35", "300"), quote(0.9, "450.2", "7")]

    async def steps() -> None:
        bars = SecondBarAggregator(window_sec=1)
        for tick in ticks:
            assert await bars.handle(tick) is None
        bar = await bars.handle(quote(1.01, "451"))
        assert bar is not None
        assert (bar.symbol, bar.timestamp) == ("SPY", OPEN)
        assert bar.timestamp.utcoffset() == timedelta(0)
        assert (bar.open, bar.high) == (Decimal("450.10"), Decimal("450.35"))
        assert (bar.low, bar.close) == (Decimal("450.10"), Decimal("450.2"))
        assert (bar.volume, bar.trade_count) == (Decimal(407), 3)
        turnover = sum((t.price * t.size for t in ticks), Decimal(0))
        assert bar.vwap == turnover / sum((t.size for t in ticks), Decimal(0))
        (last,) = await bars.flush_all()
        assert (last.symbol, last.timestamp) == ("SPY", OPEN + timedelta(seconds=1))
        assert await bars.flush_all() == []

    asyncio.run(steps())


def test_aggregator_keeps_symbols_apart() -> None:
    """A symbol's bar follows its own ticks, and can be flushed alone."""

    async def steps() -> None:
        bars = SecondBarAggregator()
        await bars.handle(quote(0.1, "1", symbol="A"))
        assert await bars.handle(quote(5, "2", symbol="B")) is None
        assert await bars.handle(quote(0.2, "3", symbol="A")) is None
        bar = await bars.flush_symbol("A")
        assert bar is not None
        assert (bar.symbol, bar.trade_count) == ("A", 2)
        assert await bars.flush_symbol("A") is None
        assert [b.symbol for b in await bars.flush_all()] == ["B"]
        assert bars.status()["bars_out"] == 2

    asyncio.run(steps())


def test_aggregator_waits_for_what_may_be_late() -> None:
    """Within the lateness an open bar takes ticks; what comes after it is counted."""

    async def steps() -> None:
        bars = SecondBarAggregator(1, allowed_lateness_sec=2)
        assert await bars.handle(quote(0.5, "1")) is None
        assert await bars.handle(quote(2.5, "2")) is None
        assert await bars.handle(quote(0.6, "3")) is None
        bar = await bars.handle(quote(3.1, "4"))
        assert bar is not None
        assert (bar.timestamp, bar.trade_count, bar.close) == (OPEN, 2, Decimal(3))
        assert await bars.handle(quote(0.7, "5")) is None
        assert bars.status()["late"] == 1

    asyncio.run(steps())


def test_operator_exports() -> None:
    """The protocols fit the aggregator."""
    assert isinstance(SecondBarAggregator(), Operator)
    assert isinstance(SecondBarAggregator(), StatefulOperator)
    assert EventTimePolicy().allowed_lateness_sec == 0


# 6.3


def test_batcher_gives_a_full_batch() -> None:
    """The third of three completes a batch; the rest comes by `flush`."""

    async def steps() -> None:
        batcher = HybridBatcher(max_rows=3, flush_ms=10_000)
        assert await batcher.add("a") is None
        assert await batcher.add("b") is None
        assert await batcher.add("c") == ["a", "b", "c"]
        assert await batcher.flush() is None
        await batcher.add("d")
        assert await batcher.flush() == ["d"]
        assert batcher.get_metrics()["items_added"] == 4

    asyncio.run(steps())


def test_batcher_flushes_after_its_time() -> None:
    """What waited long enough is given by `flush`."""

    async def steps() -> None:
        batcher = HybridBatcher(max_rows=100, flush_ms=20)
        assert await batcher.add("a") is None
        await asyncio.sleep(0.03)
        assert await batcher.flush() == ["a"]

    asyncio.run(steps())


def test_batcher_never_drops_below_its_own_size() -> None:
    """A queue smaller than a batch loses nothing."""

    async def steps() -> None:
        batcher = HybridBatcher(max_rows=50, flush_ms=10_000, op_queue_max=2)
        given = [await batcher.add(i) for i in range(50)]
        assert given[-1] == list(range(50))
        assert batcher.capacity == 50
        assert batcher.get_metrics()["items_dropped"] == 0

    asyncio.run(steps())


# 6.4


class Collected:
    """A sink with nothing but what the contract asks for."""

    def __init__(self) -> None:
        self.batches: list[list[Bar]] = []
        self.closed: list[bool] = []

    async def write(self, batch: list[Bar]) -> None:
        self.batches.append(list(batch))

    async def close(self, drain: bool = True) -> None:
        self.closed.append(drain)


def test_pipeline_runs_for_its_time() -> None:
    """In 1.5 s at 30 ticks a second there is a batch with a bar, in under 5 s; no context."""
    sink = Collected()

    async def steps() -> None:
        pipeline = StreamingPipeline(
            source=Synthetic(symbols=["A", "B"], ticks_per_sec=30, pacing_budget=(30, 30)),
            operator=SecondBarAggregator(window_sec=1),
            batcher=HybridBatcher(max_rows=5, flush_ms=50),
            sink=sink,
            ctx=None,
        )
        await pipeline.run(1.5)
        await pipeline.close()
        await pipeline.close()

    began = time.monotonic()
    asyncio.run(steps())
    assert time.monotonic() - began < 5
    assert sink.batches
    assert isinstance(sink.batches[0][0], Bar)
    assert sink.closed == [True]
