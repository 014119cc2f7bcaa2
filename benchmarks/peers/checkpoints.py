"""This project, over the same ticks again and again for seconds: with checkpoints and without."""

from __future__ import annotations

__all__ = ("TASKS",)

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import market_data_pipeline as mdp
from benchmarks.answers import Difference, compare, reference
from benchmarks.measures import LAPS
from benchmarks.peers.ours import BarsInMemory, bars_of_table
from benchmarks.ticks import BOUND_NS, SECOND_NS
from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable


@component("laps")
class Laps:
    """Give batches that are in memory again and again, each time later by a lap.

    Attributes:
        batches: The rows of a lap.
        laps: How often.
        lap_ns: What is added to the times of each lap; more than a lap takes.
    """

    batches: Any
    laps: int
    lap_ns: int

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        """Return the columns."""
        schema: Schema = self.batches[0].schema
        return schema

    async def open(self, context: NodeContext) -> _LapsReader:
        """Begin where the checkpoint stands."""
        return _LapsReader(self, context)


class _LapsReader:
    def __init__(self, settings: Laps, context: NodeContext) -> None:
        self.schema = settings.schema()
        self._settings = settings
        self._context = context
        self._table = _names_into(context.symbols, settings.batches)
        self._at = 0 if context.position is None else int(context.position["at"])
        self._highest = np.iinfo(np.int64).min + BOUND_NS

    async def read(self) -> Sequence[tuple[str, Batch]] | None:
        batches = self._settings.batches
        lap, place = divmod(self._at, len(batches))
        if lap == self._settings.laps:
            return None
        self._at += 1
        batch = batches[place]
        times = batch["ts_event"] + lap * self._settings.lap_ns
        before, self._highest = self._highest, max(self._highest, int(times.max()))
        self._context.account.rows_in += len(batch)
        progress = Progress(before, BOUND_NS, self._highest - BOUND_NS)
        columns = {**batch.columns, "ts_event": times}
        return (("out", Batch(batch.schema, columns, self._table, progress)),)

    def position(self) -> dict[str, int]:
        return {"at": self._at}

    def fraction(self) -> None:
        return None

    async def close(self) -> None:
        pass


def _names_into(table: SymbolTable, batches: Sequence[Batch]) -> SymbolTable:
    symbols = batches[0].symbols
    codes = table.encode(symbols.name(code) for code in range(len(symbols)))
    assert list(codes) == list(range(len(symbols))), "the run has symbols of its own"
    return table


class Without(BarsInMemory):
    """Batches in memory, again and again -> bars -> a folder of Parquet files."""

    checkpoint: ClassVar[bool] = False

    def prepare(self) -> None:
        """Cut the arrays into batches."""
        super().prepare()
        times = [(int(b["ts_event"].min()), int(b["ts_event"].max())) for b in self.batches]
        span = max(high for _, high in times) - min(low for low, _ in times)
        self.lap_ns = (span // SECOND_NS + 3) * SECOND_NS

    def run(self) -> Any:
        """Run the graph."""
        folder = Path(tempfile.mkdtemp(prefix="mdp-bench-", dir=self.ticks.folder))
        dag = mdp.Dag("bars")
        made = dag.source(Laps(self.batches, LAPS, self.lap_ns), name="ticks").bars("1s")
        made.sink(mdp.ParquetSink(f"{folder / 'bars'}/"), name="store")
        settings = None
        if self.checkpoint:
            settings = mdp.Checkpoint(str(folder / "checkpoints"), interval="1s")
        return folder, mdp.run(dag, checkpoint=settings)

    def check(self, answer: Any) -> Difference:
        """Compare the bars of the first lap, and the number of all bars."""
        folder, _ = answer
        right = reference(self.ticks)
        table = pq.read_table(folder / "bars")
        found = len(table) / LAPS
        if found != len(right):
            return Difference(f"{found:,} bars a lap instead of {len(right):,}", ())
        first = int(right.ts_open.min()) + self.lap_ns
        table = table.filter(pc.field("ts_open") < pa.scalar(first, table["ts_open"].type))
        return compare(bars_of_table(table), right)

    def figures(self, answer: Any) -> dict[str, Any]:
        """Return how many checkpoints were taken, and delete what was written."""
        folder, result = answer
        taken = 0 if result.checkpoints is None else result.checkpoints.taken
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
        return {"checkpoints": taken}


class EachSecond(Without):
    """The same with a checkpoint each second."""

    checkpoint = True


TASKS = {"without": Without, "each_second": EachSecond}
