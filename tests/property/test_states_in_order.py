from __future__ import annotations

import asyncio
import json
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
from market_data_pipeline.testing.schedules import run_shuffled

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


async def through_barriers(
    inputs: Sequence[Sequence[Item]], cuts: Sequence[int], *, bounded: bool, restored: bool
) -> list[Seen]:
    """Merge inputs that have a barrier; from it on perhaps by a fan-in that was restored."""
    seen: list[Seen] = []
    known = TIME_MIN

    def take(message: Message) -> None:
        nonlocal known
        if isinstance(message, Watermark):
            known = message.time
        elif isinstance(message, Status):
            seen.append((*divmod(message.time, 1_000), known))
        elif isinstance(message, Batch):
            assert message.progress is not None
            marks = message.progress.watermarks(message.times).tolist()
            places = [divmod(value, 1_000) for value in message["sequence"].tolist()]
            pairs = zip(places, marks, strict=True)
            seen.extend((number, place, mark) for (number, place), mark in pairs)
            known = marks[-1]

    async def feed(channel: Channel, told: Sequence[Message]) -> None:
        for message in told:
            await channel.send(message)

    channels = [Channel(rows_max=3) for _ in inputs]
    fan_in = FanIn(channels, bounded=bounded)
    befores = [
        messages(number, script[:cut], 3)[:-1]
        for (number, script), cut in zip(enumerate(inputs), cuts, strict=True)
    ]
    afters = [
        _behind(number, script, cut)
        for (number, script), cut in zip(enumerate(inputs), cuts, strict=True)
    ]
    async with asyncio.TaskGroup() as group:
        for channel, before in zip(channels, befores, strict=True):
            group.create_task(feed(channel, [*before, Barrier(1)]))
        while not isinstance(message := await fan_in.receive(), Barrier):
            take(message)
    if restored:
        progress = json.loads(json.dumps(fan_in.progress()))
        held = fan_in.held_rows()
        channels = [Channel(rows_max=3) for _ in inputs]
        fan_in = FanIn(channels, bounded=bounded)
        fan_in.restore_progress(progress)
        fan_in.restore_held(progress, held)
    async with asyncio.TaskGroup() as group:
        for channel, after in zip(channels, afters, strict=True):
            group.create_task(feed(channel, after))
        while not isinstance(message := await fan_in.receive(), End):
            take(message)
    return seen


def _behind(number: int, script: Sequence[Item], cut: int) -> list[Message]:
    """Return what comes behind a barrier, with the places that the items have in the whole."""
    highest = max([time for kind, time in script[:cut] if kind != "state"], default=TIME_MIN)
    skipped: list[Item] = [("mark", highest)] * cut
    return messages(number, [*skipped, *script[cut:]], 3)


@given(scripts, st.data(), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_a_barrier_changes_nothing_nor_does_a_restart_there(
    inputs: list[list[Item]], data: st.DataObject, seed: int, bounded: bool, restored: bool
) -> None:
    """Rows that wait at a barrier go on waiting, also in the fan-in of a later run."""
    cuts = [data.draw(st.integers(0, len(script))) for script in inputs]
    work = through_barriers(inputs, cuts, bounded=bounded, restored=restored)
    assert run_shuffled(work, seed) == oracle(inputs)


def test_an_input_far_ahead_is_read_to_its_barrier() -> None:
    """Once one input waits at its barrier the others are read on, however much is held."""

    async def work() -> int:
        slow, fast = Channel(), Channel()
        fan_in = FanIn([slow, fast], bounded=True)
        rows = 100_000
        await slow.send(Barrier(1))

        async def feed() -> None:
            for start in range(0, 5 * rows, rows):
                times = [(100 + at, 1) for at in range(start, start + rows)]
                await fast.send(batch_of(times, TIME_MIN))
            await fast.send(Barrier(1))

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            async with asyncio.timeout(30):
                while not isinstance(await fan_in.receive(), Barrier):
                    pass
        return fan_in.held

    assert asyncio.run(work()) == 500_000
