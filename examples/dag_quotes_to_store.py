"""Quotes into a store: crossed ones put aside, the rest as bars of the mid price.

    python -m examples.dag_quotes_to_store

Runs offline and writes DuckDB, in a folder that goes away. With `DATABASE_URL` in the
environment the bars go to PostgreSQL instead (`pip install 'market-data-pipeline[postgres]'`).
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import market_data_pipeline as mdp
from market_data_pipeline.sink.postgres import PostgresSink

KEY = ["symbol", "ts_open"]


def store(folder: Path) -> Any:
    """Return the sink: the last row of a key stands, so it may be run again."""
    if os.environ.get("DATABASE_URL"):
        return PostgresSink(table="mid_bars", key=KEY, mode="upsert")
    return mdp.DuckDBSink(folder / "quotes.duckdb", table="mid_bars", key=KEY)


def build(folder: Path) -> mdp.Dag:
    """Describe the pipeline; nothing runs here."""
    dag = mdp.Dag("quotes-to-store")
    market = mdp.SyntheticSource(rows=40_000, kind="quotes", symbols=6, rate=400, seed=11)
    quotes = dag.source(market, name="quotes").dedupe(key=["symbol", "sequence"], name="clean")
    bars = quotes.bars("5s", price="mid", name="bars")
    bars.sink(store(folder), name="store")
    bars.late.sink(mdp.CsvSink(folder / "late.csv"), name="late")
    return dag


def main() -> None:
    """Run it, and show where the rows went and the first bars."""
    with TemporaryDirectory() as folder:
        result = mdp.run(build(Path(folder)))
        print(result)
        for bar in result.to_arrow("store").slice(0, 4).to_pylist():
            print(f"{bar['symbol']}  {bar['ts_open']:%H:%M:%S}  mid {bar['close']}")


if __name__ == "__main__":
    main()
