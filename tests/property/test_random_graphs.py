"""Any graph, any schedule, the smallest channels: it ends, and no row is lost on the way."""

from __future__ import annotations

import asyncio
import random
from typing import Any, ClassVar

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.graph import Edge
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import run_dag
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.operator.union import Union
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled
from support.nodes import trades

GRAPHS = 500
NODES_MAX = 12


@component("dawdle")
class Dawdle:
    """Passes rows on, some turns of the loop later.

    Attributes:
        turns: Turns of the loop a batch takes.
    """

    turns: int

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> dict[str, Schema | None]:
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        return wanted

    def build(self, context: NodeContext) -> Dawdler:
        return Dawdler(self.turns)


class Dawdler(Stateless):
    def __init__(self, turns: int) -> None:
        self._turns = turns

    async def process(self, batch: Batch) -> Outputs:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        return (("out", batch),)


def source(chance: random.Random, start: int) -> MemorySource:
    symbols = SymbolTable()
    times = [start + chance.randint(0, 6) for _ in range(chance.randint(0, 12))]
    batches = [trades(times[at : at + 3], symbols) for at in range(0, len(times), 3)]
    return MemorySource([*batches, trades([], symbols)], out_of_order="2ns")


def grow(chance: random.Random) -> Dag:
    """Return a graph in which every node is read, by one reader or more."""
    dag = Dag()
    for number in range(chance.randint(1, 3)):
        dag.source(source(chance, 3 * number), name=f"s{number}")
    room = NODES_MAX - len(dag.nodes)
    for number in range(chance.randint(0, room - 3)):
        names = list(dag.nodes)
        read = chance.sample(names, min(len(names), chance.choice((1, 1, 2, 3))))
        kind: Any = Dawdle(chance.choice((0, 0, 1, 40))) if chance.random() < 0.5 else Union()
        inputs = [Edge(name, rows=chance.randint(1, 4)) for name in read]
        dag.add(kind, name=f"n{number}", inputs=inputs)
    loose = [name for name in dag.nodes if not dag.consumers(name)]
    chance.shuffle(loose)
    for number, name in enumerate(loose):
        others = [other for other in dag.nodes if dag.nodes[other].kind != "sink"]
        extra = [o for o in chance.sample(others, min(len(others), 2)) if o != name]
        inputs = [Edge(n, rows=chance.randint(1, 4)) for n in (name, *extra[: number % 2 + 1])]
        dag.add(MemorySink(), name=f"k{number}", inputs=inputs)
    return dag


def expected_rows(dag: Dag, result: RunResult) -> dict[str, int]:
    """Return how many rows come out of every node, counted along the paths."""
    rows: dict[str, int] = {}
    for node in dag.order():
        if node.kind == "source":
            rows[node.name] = result.ledger[node.name].rows_in
        else:
            rows[node.name] = sum(rows[edge.node] for edge in node.inputs)
    return rows


def shape(dag: Dag) -> str:
    return ", ".join(
        f"{node.name}({' '.join(f'{e.node}:{e.rows}' for e in node.inputs)})"
        for node in dag.nodes.values()
    )


async def bounded(dag: Dag) -> RunResult:
    async with asyncio.timeout(60):
        return await run_dag(dag)


@pytest.mark.parametrize("part", range(10))
def test_graphs_with_tiny_channels_end_and_keep_every_row(part: int) -> None:
    """Diamonds, slow branches, unions of unions: channels of 1 to 4 rows never lock up."""
    for seed in range(part, GRAPHS, 10):
        dag = grow(random.Random(seed))
        try:
            result = run_shuffled(bounded(dag), seed)
        except TimeoutError:
            pytest.fail(f"graph {seed} does not end: {shape(dag)}")
        expected = expected_rows(dag, result)
        for name, node in dag.nodes.items():
            assert result.ledger[name].rows_out == expected[name], (seed, name, shape(dag))
            if node.kind == "sink":
                assert result.to_arrow(name).num_rows == expected[name]
        assert result.ledger.balanced
