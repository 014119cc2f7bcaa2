"""The sink that keeps rows in memory."""

from __future__ import annotations

import asyncio

import pyarrow as pa

from market_data_pipeline.dag.component import settings_of
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.memory import MemorySink
from support.sink_rows import bars, context, write


def test_second_run_starts_empty() -> None:
    """Rows of an earlier run are not mixed with those of a later one."""
    sink = MemorySink()
    write(sink, [bars(3)])
    write(sink, [bars(2)])
    assert sink.read().num_rows == 2


def test_collected_rows_are_no_setting() -> None:
    """What a run delivered does not show in the settings or in comparisons."""
    sink = MemorySink()
    write(sink, [bars(3)])
    assert settings_of(sink) == {}
    assert sink == MemorySink()


def test_two_sinks_do_not_share_rows() -> None:
    """Each sink has its own memory."""
    first, second = MemorySink(), MemorySink()
    write(first, [bars(3)])
    assert second.read().num_rows == 0


def test_rows_stay_after_abort() -> None:
    """After a failure the rows show how far the run got."""

    async def run(sink: MemorySink) -> None:
        writer = await sink.open(context(), BAR)
        await writer.write(bars(3))
        await writer.abort()

    sink = MemorySink()
    asyncio.run(run(sink))
    assert sink.read().num_rows == 3


def test_prices_are_floats_or_decimals() -> None:
    """Fixed point is read as asked for."""
    floats, decimals = MemorySink(), MemorySink(prices="decimal")
    write(floats, [], BAR)
    write(decimals, [], BAR)
    assert floats.read().schema.field("open").type == pa.float64()
    assert decimals.read().schema.field("open").type == pa.decimal128(38, 9)
