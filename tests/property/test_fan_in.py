from __future__ import annotations

import asyncio
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.messages import END, End, Idle, Watermark
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled

SYMBOLS = SymbolTable(["A"])
SCHEMA = TRADE.only(["ts_event", "symbol", "sequence"])

inputs_of_rows = st.lists(st.lists(st.integers(-20, 20), max_size=15), min_size=2, max_size=4)
cuts = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def oracle(inputs: list[list[int]], bound: int) -> list[tuple[int, int]]:
    """Rows as (input, place), sorted by the watermark after each within its input."""
    rows = []
    for number, times in enumerate(inputs):
        marks = [highest - bound for highest in accumulate(times, max)]
        rows += [(mark, number, place) for place, mark in enumerate(marks)]
    return [(number, place) for _, number, place in sorted(rows)]


async def feed(
    channel: Channel, number: int, times: list[int], steps: list[int], bound: int
) -> None:
    at, highest, turn = 0, TIME_MIN, 0
    while at < len(times):
        part = times[at : at + steps[turn % len(steps)]]
        before, highest = highest, max(highest, *part)
        columns = {
            "ts_event": np.array(part, np.int64),
            "symbol": np.zeros(len(part), np.int32),
            "sequence": np.arange(at, at + len(part)) + number * 1_000,
        }
        progress = Progress(before, bound, highest - bound)
        await channel.send(Batch(SCHEMA, columns, SYMBOLS, progress))
        at += len(part)
        turn += 1
    await channel.send(END)


async def merged(
    inputs: list[list[int]], steps: list[int], bound: int, *, bounded: bool
) -> tuple[list[tuple[int, int]], list[int]]:
    channels = [Channel(rows_max=3) for _ in inputs]
    fan_in = FanIn(channels, bounded=bounded)
    rows: list[tuple[int, int]] = []
    marks: list[int] = []
    async with asyncio.TaskGroup() as group:
        for number, times in enumerate(inputs):
            group.create_task(feed(channels[number], number, times, steps, bound))
        while not isinstance(message := await fan_in.receive(), End):
            if isinstance(message, Watermark):
                marks.append(message.time)
            elif isinstance(message, Batch):
                assert message.progress is not None
                marks += message.progress.watermarks(message.times).tolist()
                rows += [divmod(value, 1_000) for value in message["sequence"].tolist()]
    return rows, marks


@given(inputs_of_rows, cuts, st.integers(0, 10), st.integers(0, 2**32), st.booleans())
def test_merge_is_that_of_the_oracle_under_any_schedule(
    inputs: list[list[int]], steps: list[int], bound: int, seed: int, bounded: bool
) -> None:
    """The order of rows depends on their watermarks alone, and watermarks never fall."""
    rows, marks = run_shuffled(merged(inputs, steps, bound, bounded=bounded), seed)
    assert rows == oracle(inputs, bound)
    assert marks == sorted(marks)


def test_an_idle_input_is_not_waited_for() -> None:
    """Rows of the others go on; when the idle one comes back, watermarks do not fall."""

    async def work() -> list[object]:
        quiet, busy = Channel(), Channel()
        fan_in = FanIn([quiet, busy], bounded=True)
        await quiet.send(Idle())
        columns = {
            "ts_event": np.array([5], np.int64),
            "symbol": np.zeros(1, np.int32),
            "sequence": np.zeros(1, np.int64),
        }
        await busy.send(Batch(SCHEMA, columns, SYMBOLS, Progress(TIME_MIN, 0, 5)))
        first = await fan_in.receive()
        columns = {**columns, "ts_event": np.array([2], np.int64)}
        await quiet.send(Batch(SCHEMA, columns, SYMBOLS, Progress(TIME_MIN, 0, 2)))
        second = await fan_in.receive()
        return [first, second]

    first, second = asyncio.run(work())
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert (first.watermark, second.watermark) == (5, 5)


def test_a_merge_of_idle_inputs_is_idle_itself() -> None:
    """A merge of merges is not held up by one whose inputs all have nothing to say."""

    async def work() -> list[object]:
        quiet, quieter = Channel(), Channel()
        fan_in = FanIn([quiet, quieter], bounded=True)
        await quiet.send(Idle())
        await quieter.send(Idle())
        first = await fan_in.receive()
        await quiet.send(Watermark(3))
        await quiet.send(Idle())
        return [first, await fan_in.receive(), await fan_in.receive()]

    assert asyncio.run(work()) == [Idle(), Watermark(3), Idle()]
