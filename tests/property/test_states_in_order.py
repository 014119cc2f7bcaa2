from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.messages import END, Barrier, End, Message, Status, Watermark
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable
from support.shuffled_loop import run_shuffled

SYMBOLS = SymbolTable(["A"])
SCHEMA = TRADE.only(["ts_event", "symbol", "sequence"])

Item: TypeAlias = tuple[str, int]
"""`row` or `mark` with its time, or `state`."""
Seen: TypeAlias = tuple[int, int, int]
"""Input, place in it, and the watermark known once it has come."""

items = st.lists(
    st.tuples(st.sampled_from(["row", "row", "mark", "state"]), st.integers(-20, 20)), max_size=15
)
scripts = st.lists(items, min_size=2, max_size=4)


def batch_of(rows: Sequence[tuple[int, int]], before: int) -> Batch:
    columns = {
        "ts_event": np.array([time for time, _ in rows], np.int64),
        "symbol": np.zeros(len(rows), np.int32),
        "sequence": np.array([number for _, number in rows], np.int64),
    }
    end = max(before, *(time for time, _ in rows))
    return Batch(SCHEMA, columns, SYMBOLS, Progress(before, 0, end))


def messages(number: int, script: Sequence[Item], cut: int) -> list[Message]:
    """Return an input's messages, its rows in batches of at most `cut`."""
    told: list[Message] = []
    waiting: list[tuple[int, int]] = []
    highest = TIME_MIN

    def flush() -> None:
        nonlocal highest
        if waiting:
            batch = batch_of(waiting, highest)
            highest = batch.watermark
            told.append(batch)
            waiting.clear()

    for place, (kind, time) in enumerate(script):
        if kind == "row":
            waiting.append((time, number * 1_000 + place))
            if len(waiting) == cut:
                flush()
            continue
        flush()
        if kind == "mark":
            highest = max(highest, time)
            told.append(Watermark(highest))
        else:
            told.append(Status("quiet", number * 1_000 + place))
    flush()
    return [*told, END]


def oracle(inputs: Sequence[Sequence[Item]]) -> list[Seen]:
    """Rows and states by the watermark after each in its input, then the input."""
    found: list[tuple[int, int, int]] = []
    for number, script in enumerate(inputs):
        mark = TIME_MIN
        for place, (kind, time) in enumerate(script):
            if kind != "state":
                mark = max(mark, time)
            if kind != "mark":
                found.append((mark, number, place))
    return [(number, place, mark) for mark, number, place in sorted(found)]


async def merged(inputs: Sequence[Sequence[Item]], cut: int, *, bounded: bool) -> list[Seen]:
    channels = [Channel(rows_max=3) for _ in inputs]
    fan_in = FanIn(channels, bounded=bounded)
    seen: list[Seen] = []
    known = TIME_MIN

    async def feed(number: int) -> None:
        for message in messages(number, inputs[number], cut):
            await channels[number].send(message)

    async with asyncio.TaskGroup() as group:
        for number in range(len(inputs)):
            group.create_task(feed(number))
        while not isinstance(message := await fan_in.receive(), End):
            if isinstance(message, Watermark):
                known = message.time
            elif isinstance(message, Status):
                seen.append((*divmod(message.time, 1_000), known))
            elif isinstance(message, Batch):
                assert message.progress is not None
                marks = message.progress.watermarks(message.times).tolist()
                places = [divmod(value, 1_000) for value in message["sequence"].tolist()]
                pairs = zip(places, marks, strict=True)
                seen += [(number, place, mark) for (number, place), mark in pairs]
                known = marks[-1]
    return seen


@given(scripts, st.integers(1, 4), st.integers(0, 2**32), st.booleans())
def test_states_keep_their_place_among_merged_rows(
    inputs: list[list[Item]], cut: int, seed: int, bounded: bool
) -> None:
    """What is known when a state comes does not depend on which input was faster."""
    assert run_shuffled(merged(inputs, cut, bounded=bounded), seed) == oracle(inputs)


@given(scripts, st.data(), st.integers(0, 2**32), st.booleans())
def test_a_barrier_parts_what_came_before_it_from_what_came_after(
    inputs: list[list[Item]], data: st.DataObject, seed: int, bounded: bool
) -> None:
    """Rows and states of every input stay on their side, and watermarks tell no lie."""
    cuts = [data.draw(st.integers(0, len(script))) for script in inputs]

    async def work() -> tuple[list[int], list[int], list[tuple[int, int]]]:
        channels = [Channel() for _ in inputs]
        fan_in = FanIn(channels, bounded=bounded)

        async def feed(number: int) -> None:
            before, after = inputs[number][: cuts[number]], inputs[number][cuts[number] :]
            for message in messages(number, before, 3)[:-1]:
                await channels[number].send(message)
            await channels[number].send(Barrier(1))
            highest = max([time for kind, time in before if kind != "state"], default=TIME_MIN)
            for message in messages(number, [("mark", highest), *after], 3):
                await channels[number].send(message)

        sides: tuple[list[int], list[int]] = [], []
        clocks: list[tuple[int, int]] = []
        side, known = 0, TIME_MIN
        async with asyncio.TaskGroup() as group:
            for number in range(len(inputs)):
                group.create_task(feed(number))
            while not isinstance(message := await fan_in.receive(), End):
                if isinstance(message, Barrier):
                    side += 1
                elif isinstance(message, Status):
                    sides[side].append(message.time // 1_000)
                elif isinstance(message, Watermark):
                    known = max(known, message.time)
                elif isinstance(message, Batch):
                    assert message.progress is not None
                    marks = message.progress.watermarks(message.times).tolist()
                    for number, mark in zip(message["sequence"].tolist(), marks, strict=True):
                        sides[side].append(number // 1_000)
                        clocks.append((known, mark))
                        known = mark
        return *sides, clocks

    before, after, clocks = run_shuffled(work(), seed)
    for number, script in enumerate(inputs):
        kinds = [kind != "mark" for kind, _ in script]
        assert before.count(number) == sum(kinds[: cuts[number]])
        assert after.count(number) == sum(kinds[cuts[number] :])
    assert all(before <= mark for before, mark in clocks)


def test_rows_let_out_by_a_barrier_make_no_other_input_late() -> None:
    """Before a barrier rows go out with what all inputs have reached, not what their own has."""

    async def work() -> list[tuple[int, int]]:
        slow, fast = Channel(), Channel()
        fan_in = FanIn([slow, fast], bounded=True)
        await slow.send(batch_of([(10, 0)], TIME_MIN))
        await fast.send(batch_of([(100, 1)], TIME_MIN))
        for channel in (slow, fast):
            await channel.send(Barrier(1))
        await slow.send(batch_of([(20, 2)], 10))
        await slow.send(END)
        await fast.send(END)
        found: list[tuple[int, int]] = []
        while not isinstance(message := await fan_in.receive(), End):
            if isinstance(message, Batch):
                assert message.progress is not None
                marks = message.progress.watermarks(message.times).tolist()
                found += zip(message["sequence"].tolist(), marks, strict=True)
        return found

    assert asyncio.run(work()) == [(0, 10), (1, 10), (2, 20)]
