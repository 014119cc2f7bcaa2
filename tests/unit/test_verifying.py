"""A pipeline that is not always the same is found out, and told how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from market_data_pipeline import verifying
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.flow import Dag
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.synthetic import SyntheticSource

MARKET = SyntheticSource(rows=20_000, symbols=5, late=0.002, batch_rows=500)


@component("numbering")
class Numbering:
    """Writes a number into the size of each row.

    Attributes:
        of: `rows` counts rows, `batches` counts batches.
        remembers: Whether the count is in a snapshot.
    """

    of: str = "rows"
    remembers: bool = True

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        return wanted

    def build(self, context: NodeContext) -> Any:
        return _Numbering(self)


class _Numbering:
    def __init__(self, settings: Numbering) -> None:
        self._settings = settings
        self._count = 0

    def process(self, batch: Batch) -> Outputs:
        if self._settings.of == "batches":
            numbers = np.full(len(batch), self._count, np.int64)
            self._count += 1
        else:
            numbers = self._count + np.arange(len(batch))
            self._count += len(batch)
        columns = {**batch.columns, "size": numbers}
        return [("out", Batch(batch.schema, columns, batch.symbols, batch.progress))]

    def advance(self, watermark: int) -> Outputs:
        return ()

    def finish(self) -> Outputs:
        return ()

    def output_watermark(self, watermark: int) -> int:
        return watermark

    def snapshot(self) -> Snapshot:
        return Snapshot(scalars={"count": self._count} if self._settings.remembers else {})

    def restore(self, snapshot: Snapshot) -> None:
        self._count = snapshot.scalars.get("count", 0)


def _dag(numbering: Numbering) -> Dag:
    dag = Dag("numbered")
    rows = dag.source(MARKET, name="market").to(numbering, name="numbers")
    rows.sink(MemorySink(), name="rows")
    return dag


def _different(dag: Dag, **settings: int) -> dict[str, tuple[str, ...]]:
    return {v.trial.name: v.different for v in verifying.verify(dag, **settings)}


def test_a_sound_pipeline_is_always_the_same() -> None:
    """However it is cut, spread, scheduled, stopped."""
    dag = Dag("sound")
    bars = (
        dag.source(MARKET, name="market")
        .dedupe(key=["symbol", "sequence"])
        .to(Bars("1s", lateness="1s"), name="bars")
    )
    bars.sink(MemorySink(), name="bars_out")
    bars.late.sink(MemorySink(), name="late_out")
    found = _different(dag, schedules=2, restarts=2)
    assert not any(found.values())
    assert set(found) >= {
        "once more",
        "batches of 97 rows",
        "on 2 threads",
        "schedule 2 of 2",
        "stopped after 33% of the rows and gone on",
        "stopped 2 times and gone on",
    }


def test_what_depends_on_batches_is_found() -> None:
    """Other batches give other rows; how they are queued between tasks may do so too."""
    found = _different(_dag(Numbering(of="batches")), schedules=2, restarts=0)
    odd = {name for name, sinks in found.items() if sinks}
    assert odd >= {"batches of 1009 rows", "batches of 97 rows"}
    assert found["batches of 97 rows"] == ("rows",)


def test_a_state_that_is_forgotten_is_found() -> None:
    """Only runs that were stopped on the way are others."""
    assert not any(_different(_dag(Numbering()), schedules=0, restarts=3).values())
    found = _different(_dag(Numbering(remembers=False)), schedules=0, restarts=3)
    odd = [name for name, sinks in found.items() if sinks]
    assert odd
    assert all(name.startswith("stopped") for name in odd)


@pytest.mark.parametrize("speed", [7.0, "max"])
def test_a_source_that_follows_the_clock_is_not_waited_for(speed: Any) -> None:
    """It is read at full speed, and once as time passes, by a clock that runs ahead."""
    dag = Dag("paced")
    market = replace(MARKET, rows=2_000, rate=1.0, speed=speed)
    dag.source(market, name="market").to(Bars("1s"), name="bars").sink(MemorySink(), name="rows")
    found = _different(dag, schedules=0, restarts=0)
    assert found["as time passes"] == ()
