"""Operators that hold rows back do not let progress run ahead of them."""

from __future__ import annotations

import numpy as np
import pytest

from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import run_dag
from market_data_pipeline.flow import Dag, Stream
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing.schedules import run_shuffled
from support.nodes import trades

ROWS = 400


def feed(dag: Dag, batch_rows: int, seed: int = 5) -> Stream:
    """Add a source of rows out of order, some of them late."""
    random = np.random.default_rng(seed)
    times = np.sort(random.integers(0, 2_000, ROWS)) - random.integers(0, 40, ROWS)
    batch = trades(times.tolist(), SymbolTable(), names="ABC")
    return dag.source(
        MemorySource([batch], out_of_order="15ns", batch_rows=batch_rows), name=f"ticks_{seed}"
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("batch_rows", [1, 7, ROWS])
def test_rows_held_by_a_batcher_are_no_later_for_it(batch_rows: int, *, fused: bool) -> None:
    """A window behind a batcher takes the rows, and refuses the rows, it took without it."""

    def work(*, gathered: bool) -> RunResult:
        dag = Dag()
        rows = feed(dag, batch_rows)
        if gathered:
            # Progress comes without rows where the filter lets none pass.
            rows = rows.filter("symbol != 'B'").batch(rows=11)
        else:
            rows = rows.filter("symbol != 'B'")
        bars = (rows if fused else rows.edge(rows=5)).bars("10ns", name="bars")
        bars.collect(name="store")
        bars.late.collect(name="late")
        return run_shuffled(run_dag(dag), batch_rows)

    with_it, without = work(gathered=True), work(gathered=False)
    assert without.ledger["bars"].reasons["late"] > 0
    for sink in ("store", "late"):
        assert with_it.to_arrow(sink).equals(without.to_arrow(sink))


def test_bars_of_several_widths_merge_in_one_order() -> None:
    """A bar comes out after its window, so progress says no more than where it opened."""

    def work(batch_rows: int, seed: int) -> RunResult:
        dag = Dag()
        rows = feed(dag, batch_rows)
        short = rows.bars("10ns").edge(rows=2)
        short.union(rows.bars("70ns"), rows.bars("200ns"), name="both").collect(name="store")
        return run_shuffled(run_dag(dag), seed)

    tables = [work(rows, seed).to_arrow("store") for seed in range(15) for rows in (1, 30, ROWS)]
    assert all(table.equals(tables[0]) for table in tables)
    opens = tables[0]["ts_open"].to_pylist()
    assert opens == sorted(opens)


def test_bars_of_two_feeds_merge_in_one_order() -> None:
    """The batch a bar comes in says no more than what may still come before its end."""

    def work(room: int, seed: int) -> RunResult:
        dag = Dag()
        # With little room neither feed runs through before the other.
        one = feed(dag, 1, 5).edge(rows=room).bars("10ns").edge(rows=2)
        two = feed(dag, 31, 6).edge(rows=40 * room).bars("10ns")
        one.union(two, name="both").collect(name="store")
        return run_shuffled(run_dag(dag), seed)

    tables = [work(room, seed).to_arrow("store") for seed in range(15) for room in (1, 30, ROWS)]
    assert all(table.equals(tables[0]) for table in tables)
    opens = tables[0]["ts_open"].to_pylist()
    assert opens == sorted(opens)
