"""What holds of watermarks, whatever the inputs, their order and the clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.messages import END, End, Idle, Message, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.runtime import Run, run_dag
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.flow import Dag, Stream
from market_data_pipeline.records import TRADE, Schema
from market_data_pipeline.source.feed import Feed
from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import Pause, ScriptedSource
from market_data_pipeline.testing.schedules import run_shuffled
from support.readers import SCHEMA as FILE_SCHEMA
from support.readers import ListReader

SYMBOLS = SymbolTable(["A"])
SCHEMA = TRADE.only(["ts_event", "symbol"])

steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["row", "mark", "mark", "idle", "idle", "state", "end"]),
        st.integers(-50, 50),
    ),
    max_size=30,
)


def message_of(kind: str, time: int, reached: int) -> Message:
    match kind:
        case "row":
            columns = {"ts_event": np.array([time]), "symbol": np.zeros(1, np.int32)}
            progress = Progress(reached, 0, max(reached, time))
            return Batch(SCHEMA, columns, SYMBOLS, progress)
        case "mark":
            return Watermark(max(reached, time))
        case "idle":
            return Idle()
        case "state":
            return Status("halted", time, "A")
        case _:
            return END


def oracle(script: Sequence[tuple[int, str, int]], inputs: int) -> list[int]:
    """After each step the least of the active inputs, or the most of those idle; never less."""
    reached = [TIME_MIN] * inputs
    idle, ended = [False] * inputs, [False] * inputs
    known, after = TIME_MIN, []
    for number, kind, time in script:
        if not ended[number]:
            if kind in {"row", "mark"}:
                reached[number] = max(reached[number], time)
                idle[number] = False
            elif kind == "idle":
                idle[number] = True
            elif kind == "end":
                ended[number] = True
        active = [reached[i] for i in range(inputs) if not ended[i] and not idle[i]]
        resting = [reached[i] for i in range(inputs) if not ended[i] and idle[i]]
        if active:
            known = max(known, min(active))
        elif resting:
            known = max(known, *resting)
        else:
            known = TIME_MAX
        after.append(known)
    return after


def played(script: Sequence[tuple[int, str, int]], inputs: int) -> list[int]:
    """Give a merge one message at a time; what is known after each."""

    async def work() -> list[int]:
        channels = [Channel() for _ in range(inputs)]
        fan_in = FanIn(channels, bounded=True)
        reached, ended = [TIME_MIN] * inputs, [False] * inputs
        known, after = TIME_MIN, []
        for number, kind, time in script:
            if not ended[number]:
                await channels[number].send(message_of(kind, time, reached[number]))
                ended[number] = kind == "end"
                if kind in {"row", "mark"}:
                    reached[number] = max(reached[number], time)
            fan_in.nudge()
            while True:
                message = await fan_in.receive()
                if isinstance(message, End):
                    known = TIME_MAX
                    break
                if isinstance(message, Batch):
                    assert message.progress is not None
                    assert known <= min(message.progress.watermarks(message.times))
                    known = message.watermark
                elif isinstance(message, Watermark) and message.time > TIME_MIN:
                    assert known <= message.time
                    known = message.time
                elif isinstance(message, Watermark):
                    break
            after.append(known)
            if known == TIME_MAX:
                after += [TIME_MAX] * (len(script) - len(after))
                break
        return after

    return asyncio.run(work())


@given(steps, st.integers(1, 3))
def test_a_merge_knows_what_its_active_inputs_have_all_reached(
    script: list[tuple[int, str, int]], inputs: int
) -> None:
    """It never falls; idle inputs hold nothing up; ended ones are as if they were not there.

    An input that comes back from rest counts again at once: others wait for it, and what
    is known neither falls nor runs ahead.
    """
    script = [(number % inputs, kind, time) for number, kind, time in script]
    assert played(script, inputs) == oracle(script, inputs)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_with_all_inputs_idle_the_order_in_which_they_came_to_rest_is_nothing(
    marks: list[int], random: Any
) -> None:
    """What is known is the most that one of them has reached."""
    script = [(number, "mark", time) for number, time in enumerate(marks)]
    rest = [(number, "idle", 0) for number in range(len(marks))]
    random.shuffle(rest)
    assert played([*script, *rest], len(marks))[-1] == max(marks)


@given(
    st.lists(st.lists(st.integers(-20, 20), max_size=12), min_size=1, max_size=4),
    st.integers(0, 10),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_each_file_of_a_replay_has_a_watermark_of_its_own(
    files: list[list[int]], bound: int, sizes: list[int]
) -> None:
    """After each row of merged files the watermark is the least of those not at their end."""
    symbols = SymbolTable()
    numbered = [
        [(time, 100 * number + place) for place, time in enumerate(times)]
        for number, times in enumerate(files)
    ]
    parts = [
        Part(str(i), lambda _, rows=rows: ListReader(rows, sizes, symbols))  # type: ignore[misc]
        for i, rows in enumerate(numbered)
    ]
    feed = Feed(MergedReader(parts, FILE_SCHEMA, symbols), bound=bound)
    found: list[tuple[int, int]] = []
    while (step := feed.next()) is not None:
        for batch in step.items:
            assert isinstance(batch, Batch)
            assert batch.progress is not None
            marks = batch.progress.watermarks(batch.times).tolist()
            found += zip(batch["sequence"].tolist(), marks, strict=True)

    # By hand: the file whose next row comes to the least goes on, the first of equals.
    keys = [list(accumulate(times, max)) for times in files]
    at = [0] * len(files)
    expected: list[tuple[int, int]] = []
    while any(place < len(times) for place, times in zip(at, keys, strict=True)):
        left = [i for i in range(len(files)) if at[i] < len(keys[i])]
        number = min(left, key=lambda i: (keys[i][at[i]], i))
        reached = keys[number][at[number]]
        assert all(keys[i][at[i]] >= reached for i in left)
        expected.append((100 * number + at[number], reached - bound))
        at[number] += 1
    assert found == expected


class SteppedClock:
    """A clock whose wall time jumps back and forth at each look."""

    def __init__(self, jumps: Sequence[int]) -> None:
        self._jumps = list(jumps) or [0]
        self._looks = 0
        self._passed = 0.0

    def now_ns(self) -> int:
        self._looks += 1
        jump = self._jumps[self._looks % len(self._jumps)]
        return round(self._passed * 1e9) + jump * 3_600 * 10**9

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, delay_s: float) -> None:
        self._passed += delay_s
        await asyncio.sleep(0)


rows = st.integers(0, 60).map(
    lambda time: {"ts_event": time, "symbol": "A", "price": time, "size": 1}
)
pauses = st.floats(0, 4_000).map(Pause)
heartbeats = st.integers(0, 60).map(lambda time: Status("quiet", time))
items = st.lists(st.one_of(rows, heartbeats, pauses), max_size=15)


@given(items, items, st.lists(st.integers(-1, 1), max_size=5), st.integers(0, 2**32))
def test_a_wall_clock_that_is_set_changes_no_result_of_event_time(
    left: list[Any], right: list[Any], jumps: list[int], seed: int
) -> None:
    """Bars of two live feeds are the same whatever hour the machine believes it is."""

    def bars(clock: SteppedClock, seed: int) -> tuple[Any, Any]:
        dag = Dag()
        first = dag.source(ScriptedSource(left, out_of_order="5ns"), name="left")
        second = dag.source(ScriptedSource(right, out_of_order="5ns"), name="right")
        made = first.union(second, name="both").bars("10ns", name="bars")
        made.collect(name="out")
        made.late.collect(name="late")

        async def work() -> Any:
            return await run_dag(dag, clock=clock)

        result = run_shuffled(work(), seed)
        return result.to_arrow("out"), result.to_arrow("late")

    assert bars(SteppedClock(jumps), seed) == bars(SteppedClock([0]), 0)


def test_a_heartbeat_closes_a_window_with_no_further_row() -> None:
    """Timers need no row to fire, and no end of input."""
    seen: list[Any] = []
    row = {"ts_event": 3, "symbol": "A", "price": 1, "size": 1}

    def bars(script: Sequence[Any]) -> list[Any]:
        dag = Dag()
        source = ScriptedSource([row, *script, Pause(float("inf"))], out_of_order="5ns")
        dag.source(source).bars("10ns").map(seen.append, on="batches").collect()
        seen.clear()

        async def work() -> None:
            task = asyncio.get_running_loop().create_task(Run(dag).run())
            for _ in range(50):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(work())
        return list(seen)

    assert bars([Status("quiet", 14)]) == []
    assert len(bars([Status("quiet", 15)])) == 1


@component("ear")
class Ear:
    """Lets rows pass and writes down what it is told.

    Attributes:
        heard: Takes states, and watermarks.
    """

    heard: Any

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        return wanted

    def build(self, context: NodeContext) -> Listening:
        assert context.node
        return Listening(self.heard)


class Listening:
    def __init__(self, heard: list[Any]) -> None:
        self._heard = heard

    def process(self, batch: Batch) -> Outputs:
        assert batch.progress is not None
        self._heard += batch.progress.watermarks(batch.times).tolist()
        return [("out", batch)]

    def status(self, status: Status) -> Outputs:
        self._heard.append(status)
        return ()

    def advance(self, watermark: int) -> Outputs:
        self._heard.append(watermark)
        return ()

    def finish(self) -> Outputs:
        return ()

    def output_watermark(self, watermark: int) -> int:
        return watermark

    def snapshot(self) -> Snapshot:
        return Snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        assert not snapshot.keyed


said = st.builds(
    Status,
    st.sampled_from(["live", "quiet", "closed", "halted", "disconnected"]),
    st.integers(0, 60),
    st.sampled_from([None, None, "A"]),
)
doings = st.lists(st.one_of(rows, said, pauses, st.just(Idle())), max_size=12)


@given(
    st.lists(doings, min_size=1, max_size=3),
    st.sampled_from(["hold", "close"]),
    st.integers(0, 2**32),
)
def test_watermarks_never_fall_and_states_come_through_a_whole_graph(
    scripts: list[list[Any]], on_outage: Any, seed: int
) -> None:
    """Through filters, batchers, merges and merges of merges, under any schedule."""
    dag = Dag()
    places: list[list[Any]] = []

    def ear(stream: Stream) -> Stream:
        places.append([])
        return stream.to(Ear(places[-1]))

    feeds = [
        dag.source(ScriptedSource(script, out_of_order="3ns", on_outage=on_outage))
        for script in scripts
    ]
    thin = [ear(feed.filter("price > 30")) for feed in feeds]
    packed = [ear(feed.batch(rows=4, interval="1h")) for feed in feeds]
    ear(ear(thin[0].union(*thin[1:], *packed)).union(packed[0])).collect()

    async def work() -> Any:
        return await run_dag(dag, clock=SteppedClock([0]))

    run_shuffled(work(), seed)
    for heard in places:
        marks = [mark for mark in heard if not isinstance(mark, Status)]
        assert marks == sorted(marks)
    told = [[item for item in script if isinstance(item, Status)] for script in scripts]
    seen = [[item for item in heard if isinstance(item, Status)] for heard in places]
    count = len(scripts)
    assert seen[:count] == seen[count : 2 * count] == told
    assert Counter(seen[-2]) == Counter([status for states in told for status in states * 2])
    assert Counter(seen[-1]) == Counter(seen[-2]) + Counter(told[0])
