from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.edges import Channel, Pressure
from market_data_pipeline.dag.messages import END, End, Status, Watermark
from market_data_pipeline.errors import (
    BrokenChannelError,
    ChannelClosedError,
    ConfigError,
    GraphError,
)
from market_data_pipeline.records import QUOTE, TRADE, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

SYMBOLS = SymbolTable(["A", "B", "C"])
SCHEMA = TRADE.only(["ts_event", "symbol"])
QUOTES = QUOTE.only(["ts_event", "symbol"])
ROW_BYTES = 12


def batch(times: list[int], schema: Any = SCHEMA) -> Batch:
    columns = {
        "ts_event": np.array(times, np.int64),
        "symbol": np.array([time % 3 for time in times], np.int32),
    }
    progress = Progress(min(times, default=0), 0, max(times, default=0))
    return Batch(schema, columns, SYMBOLS, progress)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def send_all(channel: Channel, sizes: list[int], pauses: list[int]) -> None:
    at = 0
    for number, size in enumerate(sizes):
        await channel.send(batch(list(range(at, at + size))))
        at += size
        for _ in range(pauses[number % len(pauses)]):
            await asyncio.sleep(0)
    await channel.send(END)


sizes_of_batches = st.lists(st.integers(1, 9), max_size=25)
turns = st.lists(st.integers(0, 3), min_size=1, max_size=5)


async def pump(
    channel: Channel, sizes: list[int], gives: list[int], takes: list[int]
) -> list[int]:
    received: list[int] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(send_all(channel, sizes, gives))
        number = 0
        while not isinstance(message := await channel.receive(), End):
            if isinstance(message, Batch):
                received += message.times.tolist()
            for _ in range(takes[number % len(takes)]):
                await asyncio.sleep(0)
            number += 1
            queued = channel.statistics()
            assert queued.rows_sent == (
                queued.rows_received + queued.rows_dropped + queued.rows_queued
            )
    return received


@given(sizes_of_batches, turns, turns, st.integers(1, 12), st.integers(1, 12))
def test_blocking_channel_keeps_order_and_loses_nothing(
    sizes: list[int], gives: list[int], takes: list[int], rows: int, rows_of_bytes: int
) -> None:
    """Whatever the speeds, rows come out once, in order, and never exceed the capacity."""
    channel = Channel(rows_max=rows, bytes_max=rows_of_bytes * ROW_BYTES)
    received = run(pump(channel, sizes, gives, takes))
    assert received == list(range(sum(sizes)))
    seen = channel.statistics()
    assert seen.rows_queued_max <= rows
    assert seen.bytes_queued_max <= rows_of_bytes * ROW_BYTES
    assert (seen.rows_sent, seen.rows_received, seen.rows_queued) == (sum(sizes), sum(sizes), 0)


@given(
    sizes_of_batches,
    turns,
    turns,
    st.integers(1, 12),
    st.sampled_from(["drop_oldest", "drop_newest"]),
)
def test_dropping_channel_counts_what_it_drops(
    sizes: list[int], gives: list[int], takes: list[int], rows: int, policy: Any
) -> None:
    """Rows that come out are in order, and with those dropped they are all there were."""
    channel = Channel(rows_max=rows, policy=policy)
    received = run(pump(channel, sizes, gives, takes))
    seen = channel.statistics()
    assert received == sorted(set(received))
    assert seen.rows_sent == sum(sizes) == len(received) + seen.rows_dropped
    assert seen.rows_queued_max <= rows
    assert seen.waits == 0


def test_drop_oldest_keeps_the_latest_rows_and_drop_newest_the_first() -> None:
    """The policies differ in which rows they shed."""

    async def fill(policy: Any) -> list[int]:
        channel = Channel(rows_max=4, policy=policy)
        await channel.send(batch([0, 1, 2]))
        await channel.send(batch([3, 4, 5]))
        received: list[int] = []
        while len(channel):
            message = await channel.receive()
            if isinstance(message, Batch):
                received += message.times.tolist()
        return received

    assert run(fill("drop_oldest")) == [2, 3, 4, 5]
    assert run(fill("drop_newest")) == [0, 1, 2, 3]


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=8))
def test_conflating_channel_keeps_the_latest_row_of_each_key(parts: list[list[int]]) -> None:
    """A reader that comes late gets at least the last row of every symbol, and in order."""

    async def fill() -> tuple[list[int], Any]:
        channel = Channel(rows_max=3, policy="conflate")
        for part in parts:
            await channel.send(batch(part, QUOTES))
        rows: list[int] = []
        while len(channel):
            message = await channel.receive()
            if isinstance(message, Batch):
                rows += message.times.tolist()
        return rows, channel.statistics()

    rows, seen = run(fill())
    given_rows = [time for part in parts for time in part]
    last = {time % 3: time for time in given_rows}
    assert {time % 3: time for time in rows} == last
    assert seen.rows_dropped == len(given_rows) - len(rows)
    positions = iter(given_rows)
    assert all(time in positions for time in rows)


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1, 4),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_conflating_channel_never_holds_more_than_its_capacity(
    parts: list[list[int]], rows: int, states: list[bool]
) -> None:
    """With more symbols than room, or states in between, the oldest rows go, counted."""

    async def fill() -> Any:
        channel = Channel(rows_max=rows, policy="conflate")
        for part, told in zip(parts, states, strict=False):
            await channel.send(batch(part, QUOTES))
            if told:
                await channel.send(Status("quiet", 0))
        return channel.statistics()

    seen = run(fill())
    assert seen.rows_queued_max <= rows
    assert seen.rows_sent == sum(map(len, parts)) == seen.rows_dropped + seen.rows_queued
    assert seen.waits == 0


def test_a_conflating_channel_refuses_rows_of_which_every_one_counts() -> None:
    """Also where the columns were not known before the run."""

    async def fill() -> None:
        await Channel(policy="conflate").send(batch([1]))

    with pytest.raises(GraphError, match="conflates trade rows"):
        run(fill())


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "conflate"])
@given(parts=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=8))
def test_a_state_is_never_dropped_and_no_row_passes_it(
    policy: Any, parts: list[list[int]]
) -> None:
    """Whatever is shed, each state comes once, between the rows it stood between."""

    async def fill() -> list[int]:
        channel = Channel(rows_max=2, policy=policy)
        for number, part in enumerate(parts):
            times = [100 * number + time for time in sorted(part)]
            await channel.send(batch(times, QUOTES))
            await channel.send(Status("quiet", 100 * number + 99))
        received: list[int] = []
        while len(channel):
            message = await channel.receive()
            if isinstance(message, Batch):
                received += message.times.tolist()
            elif isinstance(message, Status):
                received.append(message.time)
        return received

    received = run(fill())
    assert received == sorted(received)
    assert [time for time in received if time % 100 == 99] == [
        100 * number + 99 for number in range(len(parts))
    ]


def test_progress_of_shed_rows_is_not_shed() -> None:
    """A receiver still hears how far event time has come."""

    async def fill() -> list[Any]:
        channel = Channel(rows_max=1, policy="drop_newest")
        await channel.send(batch([1]))
        await channel.send(batch([7]))
        return [channel.receive_nowait(), channel.receive_nowait()]

    _, message = run(fill())
    assert message == Watermark(7)


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_closing_wakes_everyone_who_waits(end: str) -> None:
    """Neither a receiver nor a sender that waits is left waiting."""

    async def receiver() -> None:
        channel = Channel()
        waiting = asyncio.get_running_loop().create_task(channel.receive())
        await asyncio.sleep(0)
        getattr(channel, end)()
        with pytest.raises(BrokenChannelError):
            await waiting

    async def sender() -> None:
        channel = Channel(rows_max=1)
        await channel.send(batch([1]))
        waiting = asyncio.get_running_loop().create_task(channel.send(batch([2])))
        await asyncio.sleep(0)
        getattr(channel, end)()
        with pytest.raises((BrokenChannelError, ChannelClosedError)):
            await waiting

    run(receiver())
    run(sender())


def test_what_was_queued_before_closing_can_be_received() -> None:
    """The sender's going away does not take back what it sent; it is no end of data."""

    async def close_early() -> None:
        channel = Channel()
        await channel.send(batch([1]))
        channel.close()
        message = await channel.receive()
        assert isinstance(message, Batch)
        with pytest.raises(BrokenChannelError, match="before the end of data"):
            await channel.receive()
        with pytest.raises(ChannelClosedError):
            await channel.send(batch([2]))

    run(close_early())


def test_small_batches_that_queue_up_come_out_as_one() -> None:
    """A receiver that falls behind is given larger batches, with the same watermarks."""

    async def queue_up() -> Any:
        channel = Channel()
        for time in range(5):
            await channel.send(
                batch([time]).with_progress(Progress(max(time - 1, 0), 2, time - 2))
            )
        return await channel.receive()

    joined = run(queue_up())
    assert joined.times.tolist() == [0, 1, 2, 3, 4]
    assert joined.progress.watermarks(joined.times).tolist() == [-2, -1, 0, 1, 2]


def test_pressure_has_hysteresis() -> None:
    """Pressure rises at the upper mark and falls at the lower one."""

    async def fill() -> list[Pressure]:
        channel = Channel(rows_max=10, pause_at=0.8, resume_at=0.5)
        seen = []
        for size in (7, 1, 2):
            await channel.send(batch(list(range(size))))
            seen.append(channel.statistics().pressure)
        await channel.receive()
        return [*seen, channel.statistics().pressure]

    assert run(fill()) == [Pressure.OK, Pressure.SOFT, Pressure.HARD, Pressure.OK]


def test_capacity_must_be_positive() -> None:
    """A channel without room could never pass anything on."""
    with pytest.raises(ConfigError, match="positive"):
        Channel(rows_max=0)


@pytest.mark.parametrize("end", ["cancel", "close", "abandon"])
def test_rows_of_a_batch_that_did_not_get_in_are_not_counted_as_sent(end: str) -> None:
    """Of a batch larger than the channel only the pieces that got in were sent."""

    async def stop_in_the_middle() -> Any:
        channel = Channel(rows_max=2)
        sending = asyncio.create_task(channel.send(batch(list(range(9)))))
        await asyncio.sleep(0)
        getattr(sending if end == "cancel" else channel, end)()
        with pytest.raises((asyncio.CancelledError, BrokenChannelError, ChannelClosedError)):
            await sending
        return channel.statistics()

    seen = run(stop_in_the_middle())
    assert (seen.rows_sent, seen.rows_queued) == (2, 2)


def test_progress_of_rows_shed_from_the_end_of_a_batch_is_not_shed() -> None:
    """The receiver hears of it even if no row comes after them."""

    async def fill() -> list[int]:
        channel = Channel(rows_max=3, policy="drop_newest")
        for times in ([1, 2], [3, 4, 9]):
            await channel.send(batch(times))
        messages = [channel.receive_nowait(), channel.receive_nowait()]
        return [m.watermark if isinstance(m, Batch) else m.time for m in messages]  # type: ignore[union-attr]

    assert run(fill()) == [3, 9]


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=30),
    st.sampled_from(["block", "drop_oldest", "drop_newest"]),
    st.integers(60, 500),
)
def test_bytes_are_bounded_where_rows_differ_in_size(
    lengths: list[int], policy: Any, bytes_max: int
) -> None:
    """Text makes rows of any size; only a single row may be larger than the channel."""
    schema = Schema("note", (Field("ts_event", Kind.TIME), Field("text", Kind.ARROW)))
    text = pa.array(["x" * length for length in lengths])
    columns = {"ts_event": np.arange(len(lengths)), "text": text}
    whole = Batch(schema, columns, SYMBOLS, Progress(0, 0, len(lengths) - 1))
    row_max = max(whole.slice(at, at + 1).nbytes for at in range(len(lengths)))

    async def send_twice() -> Any:
        channel = Channel(bytes_max=bytes_max, policy=policy)
        received = 0

        async def send() -> None:
            await channel.send(whole)
            await channel.send(whole)
            await channel.send(END)

        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            if policy != "block":
                await asyncio.sleep(0)
                assert sending.done()
            while not isinstance(message := await channel.receive(), End):
                received += len(message) if isinstance(message, Batch) else 0
        return received, channel.statistics()

    received, seen = run(send_twice())
    assert seen.bytes_queued_max <= max(bytes_max, row_max)
    assert received + seen.rows_dropped == seen.rows_sent == 2 * len(lengths)
    assert (seen.rows_queued, seen.bytes_queued) == (0, 0)
