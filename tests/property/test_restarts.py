"""Killed anywhere and run again: every sink has what an uninterrupted run gives it."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.test_operators import OPERATORS
from market_data_pipeline.batch import Batch
from market_data_pipeline.batcher.batch import BatchRows
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.operator.dedupe import Dedupe
from market_data_pipeline.operator.filter import Filter
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.operator.union import Union
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.source.scripted import Pause, ScriptedSource
from property.test_random_graphs import Dawdle
from support.crashes import HastyClock, live_and_die
from support.epoch_sink import EpochSink, Row
from support.operator_batches import random_batches

GRAPHS = int(os.environ.get("MDP_EXAMPLES", "30"))

_PLAIN = ["ts_event", "symbol", "price", "size"]


def script(chance: random.Random, rows: int, start: int) -> list[Any]:
    """Return trades with disorder and duplicates, and states between them.

    No idleness: what other inputs are not waited for with is a matter of timing.
    """
    items: list[Any] = []
    for number in range(rows):
        at = start + number * 3 - (12 if chance.random() < 0.1 else 0)
        row = {
            "ts_event": at,
            "symbol": chance.choice("ABC"),
            "price": chance.randint(1, 9),
            "size": chance.randint(1, 5),
        }
        items += [row] * chance.choice((1, 1, 1, 2))
        if chance.random() < 0.7:
            items.append(Pause(0.0))
        if chance.random() < 0.05:
            items.append(Status(chance.choice(("live", "disconnected")), at))
    return items


def operator(chance: random.Random) -> Any:
    return chance.choice(
        (
            Union(),
            Dawdle(chance.choice((0, 1, 7))),
            BatchRows(rows=chance.randint(2, 9), interval="1h"),
            Filter("size > 1"),
            Dedupe(["symbol", "price"], ttl="9ns"),
        )
    )


def grow(seed: int, folder: Path) -> tuple[Dag, dict[str, EpochSink]]:
    """Return a graph of the seed, always the same, whose sinks write into a folder."""
    chance = random.Random(seed)
    dag, sinks = Dag("grown"), {}
    for number in range(chance.randint(1, 3)):
        items = script(chance, chance.randint(0, 40), 5 * number)
        # Without a row nobody would know the columns.
        items = items or [{"ts_event": 0, "symbol": "A", "price": 1, "size": 1}]
        dag.source(ScriptedSource(items, out_of_order="4ns"), name=f"s{number}")
    for number in range(chance.randint(0, 4)):
        names = list(dag.nodes)
        read = chance.sample(names, min(len(names), chance.choice((1, 1, 2, 3))))
        inputs = [Edge(name, rows=chance.randint(1, 4)) for name in read]
        dag.add(operator(chance), name=f"n{number}", inputs=inputs)
    names = list(dag.nodes)
    if len(names) > 1 and chance.random() < 0.5:
        left, right = chance.sample(names, 2)
        join = chance.choice((AsofJoin(tolerance="30ns"), IntervalJoin("-6ns", "3ns")))
        edges = [Edge(left, into="left", rows=3), Edge(right, into="right", rows=3)]
        dag.add(join, name="join", inputs=edges)
    ends = chance.sample(names, min(len(names), 2))
    dag.add(Bars("10ns", lateness="5ns"), name="bars", inputs=[Edge(name) for name in ends])
    windows = Windows({"n": "count()", "top": "max(price)"}, size="20ns", every="7ns")
    dag.add(windows, name="windows", inputs=[Edge(ends[0], rows=2)])
    for name in [node for node in dag.nodes if not dag.consumers(node)]:
        sink = sinks[name] = EpochSink(folder / f"{name}.json")
        dag.add(sink, name=f"store {name}", inputs=[Edge(name, rows=chance.randint(1, 9))])
    both = EpochSink(folder / "both.json")
    sinks["both"] = both
    dag.add(both, name="store/both", inputs=[Edge(name, rows=2) for name in ends])
    return dag, sinks


def rows_of(sinks: dict[str, EpochSink]) -> dict[str, list[Row]]:
    return {name: sorted(sink.rows(), key=repr) for name, sink in sinks.items()}


def run_of(dag: Dag, folder: Path) -> Run:
    settings = Checkpoint(str(folder / "checkpoints"), interval=None)
    return Run(dag, checkpoint=settings, clock=HastyClock())


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_graphs_that_die_give_what_others_give(seed: int, tmp_path: Path) -> None:
    """Diamonds, merges, joins and async operators on any schedule: each row once."""
    (tmp_path / "straight").mkdir()
    dag, sinks = grow(seed, tmp_path / "straight")
    chance = random.Random(seed + 1_000_000)
    result, _ = live_and_die(
        lambda _: run_of(dag, tmp_path / "straight"), chance, turns=10_000_000
    )
    expected, ledger = rows_of(sinks), result.ledger
    dag, sinks = grow(seed, tmp_path)

    result, _ = live_and_die(lambda _: run_of(dag, tmp_path), chance)

    assert rows_of(sinks) == expected
    assert result.ledger.balanced
    assert [a.rows_out for a in result.ledger.accounts] == [a.rows_out for a in ledger.accounts]


@pytest.mark.parametrize("seed", range(0, GRAPHS, 3))
def test_sinks_that_fail_get_each_row_once(seed: int, tmp_path: Path) -> None:
    """A stage or commit that fails, or did it and failed, loses nothing and doubles nothing."""
    (tmp_path / "straight").mkdir()
    dag, sinks = grow(seed, tmp_path / "straight")
    chance = random.Random(seed + 2_000_000)
    live_and_die(lambda _: run_of(dag, tmp_path / "straight"), chance, turns=10_000_000)
    expected = rows_of(sinks)
    lives: list[dict[str, EpochSink]] = []

    def make(life: int) -> Run:
        dag, sinks = grow(seed, tmp_path)
        lives.append(sinks)
        plan = {
            "stage": chance.sample(range(1, 9), 1),
            "commit": chance.sample(range(1, 9), 3) if life % 2 else range(life + 1, 99),
            "commit_lost": chance.sample(range(1, 9), 2),
        }
        for sink in sinks.values():
            if life < 6:
                object.__setattr__(sink, "plan", plan)
        return run_of(dag, tmp_path)

    live_and_die(make, chance)

    assert rows_of(lives[-1]) == expected


def _scripted(batches: Sequence[Batch]) -> ScriptedSource:
    items: list[Any] = []
    for batch in batches:
        plain = Batch(batch.schema, batch.columns, batch.symbols)
        cuts = range(0, len(batch), 7)
        items += [i for at in cuts for i in (plain.slice(at, at + 7), Pause(0.0))]
    return ScriptedSource(items, out_of_order="15ns", row_schema=batches[0].schema)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    """A checkpoint on the disk holds all that any operator must remember."""
    batches = random_batches(1)
    if name == "bars":
        batches = [batch.take(batch["price"] != UNDEFINED) for batch in batches]
    chance = random.Random(name)

    def graph(folder: Path) -> tuple[Dag, dict[str, EpochSink]]:
        folder.mkdir(exist_ok=True)
        dag, sinks = Dag("one"), {}
        dag.source(_scripted(batches), name="ticks")
        component = OPERATORS[name]()
        node = dag.add(component, name="it", inputs=[Edge("ticks")])
        for port in node.outputs:
            sink = sinks[port] = EpochSink(folder / f"{port}.json")
            dag.add(sink, name=f"store {port}", inputs=[Edge("it", port)])
        return dag, sinks

    dag, sinks = graph(tmp_path / "straight")
    live_and_die(lambda _: run_of(dag, tmp_path / "straight"), chance, turns=10_000_000)
    expected = rows_of(sinks)
    dag, sinks = graph(tmp_path / "killed")
    live_and_die(lambda _: run_of(dag, tmp_path / "killed"), chance, turns=1_000)
    assert rows_of(sinks) == expected
