"""This project: whole graphs through `mdp.run`."""

from __future__ import annotations

__all__ = ("TASKS",)

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import market_data_pipeline as mdp
from benchmarks.answers import Bars, Difference
from benchmarks.latency.graph import GraphLatency
from benchmarks.row_functions import check_rows, doubled, is_large
from benchmarks.tasks import Task
from benchmarks.ticks import SECOND_NS, symbol_names
from benchmarks.window_answers import (
    AGGREGATES,
    GAP_NS,
    check_windows,
    hopping_windows,
    sessions_of_activity,
)

BATCH_ROWS = 65_536
OUT_OF_ORDER = "500ms"
_PRICES = ("open", "high", "low", "close", "volume", "vwap")


class BarsInMemory(Task):
    """Batches in memory -> bars -> memory."""

    columns = ("ts_event", "symbol", "price", "size")
    batch_rows = BATCH_ROWS

    def prepare(self) -> None:
        """Cut the arrays into batches, which are views of them."""
        ticks = self.ticks.load()
        symbols = mdp.SymbolTable(symbol_names(self.ticks.symbols))
        schema = mdp.TRADE.only(self.columns)
        arrays = {
            name: getattr(ticks, "code" if name == "symbol" else name) for name in self.columns
        }
        self.batches = [
            mdp.Batch(
                schema,
                {name: array[at : at + self.batch_rows] for name, array in arrays.items()},
                symbols,
            )
            for at in range(0, len(ticks), self.batch_rows)
        ]

    def graph(self) -> mdp.Dag:
        """Return the graph to run."""
        dag = mdp.Dag("bars")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order=OUT_OF_ORDER))
        ticks.bars("1s").collect(name="store")
        return dag

    def run(self) -> Any:
        """Run the graph."""
        dag = self.graph()
        return dag, mdp.run(dag)

    def bars(self, answer: Any) -> Bars:
        """Return the fixed-point columns that the sink was given."""
        joined = mdp.Batch.concat(_collected(answer))
        return Bars(
            code=joined["symbol"],
            ts_open=joined["ts_open"],
            **{name: joined[name] for name in (*_PRICES, "count")},
        )


def _collected(answer: Any) -> list[mdp.Batch]:
    # The sink's own reading gives floats; the check is of what the engine computed.
    batches: list[mdp.Batch] = answer[0].nodes["store"].component._rows().batches
    return batches


class BarsInSmallBatches(BarsInMemory):
    """The same in batches of a thousand rows."""

    batch_rows = 1_000


class BarsOnTwoThreads(BarsInMemory):
    """The same on two threads."""

    def graph(self) -> mdp.Dag:
        """Return the graph to run."""
        dag = mdp.Dag("bars")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order=OUT_OF_ORDER))
        ticks.to(mdp.Bars("1s", parallelism=2)).collect(name="store")
        return dag


class DedupeAndBarsInMemory(BarsInMemory):
    """Batches in memory -> dedupe -> bars -> memory."""

    distinct = True
    columns = ("ts_event", "symbol", "price", "size", "trade_id")

    def graph(self) -> mdp.Dag:
        """Return the graph to run; a duplicate comes 500 ms after its row, or sooner."""
        dag = mdp.Dag("clean-bars")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order=OUT_OF_ORDER))
        clean = ticks.dedupe(["symbol", "trade_id"], ttl="1s")
        clean.bars("1s").collect(name="store")
        return dag


class MapAndFilter(BarsInMemory):
    """Batches in memory -> a Python `map` on rows -> a Python `filter` on rows -> memory."""

    def graph(self) -> mdp.Dag:
        """Return the graph to run."""
        dag = mdp.Dag("rows")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order=OUT_OF_ORDER))
        ticks.map(doubled).filter(is_large).collect(name="store")
        return dag

    def check(self, answer: Any) -> Difference:
        """Compare the number of rows and the sum of their sizes."""
        sizes = np.concatenate([b["size"] for b in _collected(answer)])
        return check_rows(self.ticks, len(sizes), int(np.sum(sizes // SECOND_NS)))


class HoppingInMemory(BarsInMemory):
    """Batches in memory -> windows of 10 s, one each second -> memory."""

    windows: ClassVar[dict[str, Any]] = {"size": "10s", "every": "1s"}

    def graph(self) -> mdp.Dag:
        """Return the graph to run."""
        dag = mdp.Dag("windows")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order=OUT_OF_ORDER))
        ticks.windows(AGGREGATES, **self.windows).collect(name="store")
        return dag

    def right(self) -> dict[str, Any]:
        """Return the right windows."""
        return hopping_windows(self.ticks)

    def check(self, answer: Any) -> Difference:
        """Compare the windows with those of DuckDB."""
        found = mdp.Batch.concat(_collected(answer))
        return check_windows(
            self.right(),
            found["symbol"],
            found["ts_open"],
            found["volume"] // SECOND_NS,
            found["level"] / SECOND_NS,
            found["high"] / SECOND_NS,
        )


class SessionsInMemory(HoppingInMemory):
    """Batches in memory -> sessions that end after 20 ms of silence -> memory."""

    windows: ClassVar[dict[str, Any]] = {"gap": f"{GAP_NS}ns"}

    def right(self) -> dict[str, Any]:
        """Return the right sessions."""
        return sessions_of_activity(self.ticks)


class BarsFromParquet(Task):
    """A Parquet file -> bars -> a Parquet file, as `mdp bars` does it."""

    def run(self) -> Any:
        """Run the graph."""
        out = self.ticks.folder / "ours-bars.parquet"
        dag = mdp.Dag("bars")
        ticks = dag.source(mdp.ReplaySource(self.ticks.parquet, out_of_order=OUT_OF_ORDER))
        ticks.bars("1s").sink(mdp.ParquetSink(str(out), overwrite=True))
        mdp.run(dag)
        return out

    def bars(self, answer: Any) -> Bars:
        """Return what is in the file."""
        return bars_of_table(pq.read_table(answer))


def bars_of_table(table: pa.Table) -> Bars:
    """Return the bars in a table with symbols as strings and prices as floats."""
    codes = pc.utf8_slice_codeunits(table["symbol"].cast(pa.string()), 1).cast(pa.int32())
    return Bars(
        code=codes.to_numpy(),
        ts_open=table["ts_open"].cast(pa.int64()).to_numpy(),
        **{name: table[name].cast(pa.float64()).to_numpy() for name in _PRICES},
        count=table["count"].to_numpy().astype(np.int64),
    )


TASKS = {
    "bars_memory": BarsInMemory,
    "bars_memory_1000": BarsInSmallBatches,
    "bars_threads": BarsOnTwoThreads,
    "dedupe_bars": DedupeAndBarsInMemory,
    "latency": GraphLatency,
    "map_filter": MapAndFilter,
    "hopping": HoppingInMemory,
    "sessions": SessionsInMemory,
    "bars_parquet": BarsFromParquet,
}
