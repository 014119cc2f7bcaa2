"""The demo's pipeline: a synthetic market, deduplicated, into bars, into files."""

from __future__ import annotations

__all__ = ("EVERY", "FEEDS", "Outputs", "build_dag", "market_sources")

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from market_data_pipeline.demo.census import FeedCensus
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.flow import Dag
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.parquet import ParquetSink
from market_data_pipeline.source.synthetic import SyntheticSource

EVERY: Final = "1s"
FEEDS: Final = ("trades", "quotes")
_KEYS: Final = {"trades": ["symbol", "trade_id"], "quotes": ["symbol", "sequence"]}
_SESSION_START: Final = "2024-01-02T14:30:00Z"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the demo writes.

    Attributes:
        folder: The folder of all outputs.
    """

    folder: Path

    @property
    def database(self) -> Path:
        """The DuckDB file, with one table of bars per feed."""
        return self.folder / "market.duckdb"

    @property
    def page(self) -> Path:
        """The page with the chart."""
        return self.folder / "market.html"

    def bars(self, feed: str) -> Path:
        """Return the Parquet file of a feed's bars."""
        return self.folder / f"{_one(feed)}_bars.parquet"

    def late(self, feed: str) -> Path:
        """Return the Parquet file of a feed's late rows."""
        return self.folder / f"late_{feed}.parquet"


def market_sources(rows: int, seed: int) -> Mapping[str, SyntheticSource]:
    """Return the two feeds of one market.

    Args:
        rows: Trades and quotes in all, second copies on top; 2.4 million are an hour.
        seed: What the market follows from.

    Raises:
        ConfigError: If there is no row for one of the feeds.
    """
    trades = rows * 3 // 8
    if trades < 1:
        msg = f"`rows` of the demo must be at least 3, was {rows}"
        raise ConfigError(msg, parameter="rows")
    return {
        "trades": SyntheticSource(
            trades, kind="trades", seed=seed, begin=_SESSION_START, rate=250.0, gap=64
        ),
        "quotes": SyntheticSource(
            rows - trades,
            kind="quotes",
            seed=seed,
            begin=_SESSION_START,
            rate=1_250 / 3,
            gap=96,
        ),
    }


def build_dag(sources: Mapping[str, SyntheticSource], outputs: Outputs) -> Dag:
    """Return the pipeline: per feed dedupe, bars, late rows kept, and a census."""
    dag = Dag("demo-market")
    for feed, source in sources.items():
        one = _one(feed)
        rows = dag.source(source, name=feed)
        bars = rows.dedupe(_KEYS[feed], name=f"distinct_{feed}").bars(EVERY, name=f"{one}_bars")
        bars.sink(
            DuckDBSink(outputs.database, table=f"{one}_bars", overwrite=True),
            name=f"{one}_bars_duckdb",
        )
        bars.sink(ParquetSink(outputs.bars(feed), overwrite=True), name=f"{one}_bars_parquet")
        bars.output("late").sink(
            ParquetSink(outputs.late(feed), overwrite=True), name=f"late_{feed}"
        )
        census = rows.to(FeedCensus(), name=f"{one}_census")
        census.collect(name=f"{one}_counts")
        census.output("gaps").collect(name=f"{one}_gaps")
    return dag


def _one(feed: str) -> str:
    return feed.removesuffix("s")
