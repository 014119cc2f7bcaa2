from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import market_data_pipeline as mdp
from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.dag import edges, partitioned
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])


def trades(rows: int, symbols: int, seed: int) -> list[Batch]:
    """Return trades of many symbols, some late, in batches of a thousand."""
    random = np.random.default_rng(seed)
    table = SymbolTable([f"S{i}" for i in range(symbols)])
    times = np.cumsum(random.integers(0, 40, rows)) - random.integers(0, 60, rows) ** 3 // 200
    batches = []
    highest = TIME_MIN
    for at in range(0, rows, 1_000):
        part = times[at : at + 1_000]
        count = len(part)
        columns = {
            "ts_event": part,
            "symbol": random.integers(0, symbols, count).astype(np.int32),
            "price": random.integers(-(10**12), 10**12, count),
            "size": random.integers(0, 10**12, count),
        }
        before, highest = highest, max(highest, int(part.max()))
        batches.append(Batch(SCHEMA, columns, table, Progress(before, 100, highest - 100)))
    return batches


def hash_of(bars: Bars, batches: list[Batch]) -> tuple[str, str, mdp.Ledger]:
    """Return the hashes of the bars and of the late rows, and the ledger."""
    dag = mdp.Dag("bars")
    made = dag.source(mdp.MemorySource(batches, out_of_order="100ns")).to(bars)
    made.late.collect(name="late")
    made.collect(name="store")
    result = mdp.run(dag)
    return (
        canonical_hash(result.to_arrow("store")),
        canonical_hash(result.to_arrow("late")),
        result.ledger,
    )


@given(
    st.integers(0, 2**32),
    st.sampled_from(["0s", "200ns"]),
    st.sampled_from(["50ns", "7tick", "9000vol"]),
)
def test_threads_give_the_same_bars(seed: int, lateness: str, every: str) -> None:
    """One, two and three threads, really running at once: same hash, same ledger."""
    batches = trades(3_000, 40, seed)
    lateness = lateness if every == "50ns" else "0s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "_THREADED_ROWS", 1)
        patch.setattr(edges, "COALESCE_BELOW_ROWS", 1)
        one, two, three = (
            hash_of(Bars(every, lateness=lateness, parallelism=count), batches)
            for count in (1, 2, 3)
        )
    assert one[:2] == two[:2] == three[:2]
    assert one[2].to_dicts() == two[2].to_dicts() == three[2].to_dicts()


class Holding:
    """Gives batches once the watermark has passed their last row, and is as far as the first."""

    def __init__(self, context: NodeContext) -> None:
        del context
        self.held: list[Batch] = []

    def process(self, batch: Batch) -> Outputs:
        self.held.append(batch)
        return ()

    def advance(self, watermark: int) -> Outputs:
        done = [batch for batch in self.held if batch.times.max() <= watermark]
        self.held = [batch for batch in self.held if batch.times.max() > watermark]
        return [("out", batch) for batch in done]

    def finish(self) -> Outputs:
        return [("out", batch) for batch in self.held]

    def output_watermark(self, watermark: int) -> int:
        return min([watermark, *(int(batch.times.min()) for batch in self.held)])


HOLDING: Any = Holding  # but for its state, which no test here asks for

PARALLEL: list[Callable[[NodeContext], Any]] = [
    lambda context: Bars("50ns", parallelism=2).build(context),
    lambda context: Bars("50ns", lateness="200ns", parallelism=3).build(context),
    lambda context: Bars("7tick", parallelism=2).build(context),
    lambda context: mdp.Windows(
        {"top": "max(price)"}, size="100ns", every="50ns", parallelism=2
    ).build(context),
    lambda context: mdp.Windows({"rows": "count()"}, gap="30ns", parallelism=2).build(context),
    lambda context: partitioned.Partitioned(2, context, HOLDING),
]


@given(st.integers(0, 2**32), st.sampled_from(PARALLEL), st.integers(1, 4))
def test_batches_taken_at_once_give_what_they_give_in_turns(
    seed: int, make: Callable[[NodeContext], Any], count: int
) -> None:
    """The same batches, in the same order, with the same progress; later ones go on from it."""
    batches = trades(4_000, 40, seed)
    context = NodeContext("part", batches[0].symbols, Account("part"))
    turns, at_once = (make(context) for _ in range(2))
    watermark = TIME_MIN
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "_THREADED_ROWS", 1)
        for at in range(0, len(batches), count):
            several = batches[at : at + count]
            found = at_once.process_several(several, watermark)
            for batch, taken in zip(several, found, strict=True):
                assert told(taken.outputs) == told(turns.process(batch))
                after = None
                if batch.watermark > watermark:
                    watermark = batch.watermark
                    assert told(taken.advanced) == told(turns.advance(watermark))
                    after = turns.output_watermark(watermark)
                assert taken.watermark == after
        assert told(at_once.finish()) == told(turns.finish())


def told(outputs: Outputs) -> list[Any]:
    """Return what was given, by port."""
    return [
        (port, batch.watermark, {name: batch[name].tolist() for name in batch.schema.names})
        for port, batch in outputs
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["live", "quiet", "halted", "disconnected"])),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=12),
    st.sampled_from(["10ns", "1tick", "3tick", "5vol_run"]),
)
def test_threads_tell_a_checkpoint_the_same_of_a_feed(
    states: list[tuple[int, str]], rows: list[tuple[int, int]], every: str
) -> None:
    """Some give bars out, and forget what was before them, where others have none to give."""
    symbols = SymbolTable(f"S{i}" for i in range(6))
    lateness = "5ns" if every == "10ns" else "0s"
    operators: list[Any] = [
        Bars(every, lateness=lateness, parallelism=count).build(
            NodeContext("bars", symbols, Account("bars"))
        )
        for count in (1, 3)
    ]
    time, highest = 0, TIME_MIN
    for (since, state), (step, code) in zip(states, rows, strict=False):
        for operator in operators:
            operator.status(Status(state, time + since))
        time += step
        columns = {
            "ts_event": np.array([time]),
            "symbol": np.array([code], np.int32),
            "price": np.ones(1, np.int64),
            "size": np.ones(1, np.int64),
        }
        before, highest = highest, time
        batch = Batch(SCHEMA, columns, symbols, Progress(before, 0, highest))
        for operator in operators:
            operator.process(batch)
        whole, merged = (operator.snapshot().scalars for operator in operators)
        assert whole == merged


def test_failure_of_a_part_is_a_failure_of_the_node() -> None:
    """Whichever thread it is in; the run does not hang."""
    batches = trades(10_000, 40, 1)
    last = batches[-1]
    sizes = np.full(len(last), np.iinfo(np.int64).max // 2, np.int64)
    batches[-1] = last.with_columns([], {"size": sizes})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partitioned, "_THREADED_ROWS", 1)
        with pytest.raises(mdp.NodeError, match="left the range"):
            hash_of(Bars("1ms", parallelism=2), batches)


def test_parallelism_must_be_a_number_of_key_groups() -> None:
    """At least one thread, and at most one for each key group."""
    for count in (0, -1, 129):
        with pytest.raises(ConfigError, match="parallelism"):
            Bars("1s", parallelism=count)
