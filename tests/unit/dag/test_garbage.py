from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.garbage import short_passes
from market_data_pipeline.errors import NodeError
from market_data_pipeline.flow import Dag
from market_data_pipeline.running import run
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from support.nodes import trades


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def counting(counts: list[int]) -> Dag:
    def count(batch: Batch) -> Batch:
        counts.append(gc.get_freeze_count())
        return batch

    dag = Dag()
    ticks = dag.source(MemorySource([trades([1, 5], SymbolTable())]))
    ticks.map(count, on="batches").collect()
    return dag


def test_a_run_sets_aside_what_was_there_before() -> None:
    """Passes of the collector skip the modules while rows move, and not once it is over."""
    before, counts = len(gc.get_objects()), list[int]()
    run(counting(counts))
    assert min(counts) > before / 2
    assert gc.get_freeze_count() == 0


def test_a_run_that_fails_gives_the_heap_back() -> None:
    """A failure leaves nothing set aside."""

    def fail(batch: Batch) -> Batch:
        msg = f"{len(batch)} rows"
        raise ValueError(msg)

    dag = Dag()
    ticks = dag.source(MemorySource([trades([1, 5], SymbolTable())]))
    ticks.map(fail, on="batches").collect()
    with pytest.raises(NodeError):
        run(dag)
    assert gc.get_freeze_count() == 0


def test_the_last_of_several_runs_gives_the_heap_back() -> None:
    """Where runs overlap, the one that ends first leaves it as it is."""
    with ExitStack() as longer:
        with ExitStack() as shorter:
            shorter.enter_context(short_passes())
            longer.enter_context(short_passes())
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_heap_the_application_froze_stays_frozen() -> None:
    """What it set aside itself is not given back behind its back."""
    gc.freeze()
    frozen = gc.get_freeze_count()
    with short_passes():
        assert gc.get_freeze_count() <= frozen
    assert gc.get_freeze_count() > frozen / 2


def test_a_collector_that_is_off_is_left_alone() -> None:
    """Who turned it off has passes in hand."""
    gc.disable()
    try:
        with short_passes():
            assert gc.get_freeze_count() == 0
    finally:
        gc.enable()
