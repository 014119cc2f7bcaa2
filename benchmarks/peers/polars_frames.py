"""Polars: one-shot queries on two threads."""

from __future__ import annotations

__all__ = ("TASKS",)

import os
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import polars as pl
import pyarrow.parquet as pq

from benchmarks.answers import Bars
from benchmarks.peers.duckdb_sql import bars_of_seconds
from benchmarks.peers.ours import bars_of_table
from benchmarks.tasks import Task
from benchmarks.ticks import SECOND_NS

_AGGREGATES = (
    # The earliest and the latest row of a group; `sort_by` would sort every group.
    pl.col("price").get(pl.col("ts_event").arg_min()).alias("open"),
    pl.col("price").max().alias("high"),
    pl.col("price").min().alias("low"),
    pl.col("price").get(pl.col("ts_event").arg_max()).alias("close"),
    pl.col("size").sum().alias("volume"),
    ((pl.col("price") * pl.col("size")).sum() / pl.col("size").sum()).alias("vwap"),
    pl.len().alias("count"),
)


class BarsInMemory(Task):
    """A data frame in memory -> bars as a data frame."""

    def prepare(self) -> None:
        """Load the ticks."""
        self.frame = pl.from_arrow(self.ticks.load().arrow(), rechunk=True)

    def run(self) -> Any:
        """Run the query."""
        second = (pl.col("ts_event") // SECOND_NS).alias("second")
        return self.rows().group_by("code", second).agg(*_AGGREGATES).collect()

    def rows(self) -> pl.LazyFrame:
        """Return the rows to aggregate."""
        return self.frame.lazy()

    def bars(self, answer: Any) -> Bars:
        """Return the frame's columns."""
        return bars_of_seconds(answer.to_arrow())


class DedupeAndBarsInMemory(BarsInMemory):
    """The same after `unique`."""

    distinct = True

    def rows(self) -> pl.LazyFrame:
        """Return one row of each key."""
        return self.frame.lazy().unique(subset=["code", "trade_id"], keep="any")


class BarsFromParquet(Task):
    """A Parquet file -> bars -> a Parquet file."""

    def run(self) -> Any:
        """Run the query."""
        out = self.ticks.folder / "polars-bars.parquet"
        second = pl.col("ts_event").cast(pl.Int64) // SECOND_NS
        bars = (
            pl.scan_parquet(self.ticks.parquet)
            .group_by("symbol", (second * SECOND_NS).alias("ts_open"))
            .agg(*_AGGREGATES)
            .with_columns(pl.col("ts_open").cast(pl.Datetime("ns", "UTC")))
            .collect()
        )
        bars.write_parquet(out, compression="zstd")
        return out

    def bars(self, answer: Any) -> Bars:
        """Return what is in the file."""
        return bars_of_table(pq.read_table(answer))


TASKS = {
    "bars_memory": BarsInMemory,
    "dedupe_bars": DedupeAndBarsInMemory,
    "bars_parquet": BarsFromParquet,
}
