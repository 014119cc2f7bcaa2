"""Your own functions in a pipeline, two sinks by size, and what came too late.

    python -m examples.custom_operator

Needs Polars: `pip install '.[polars]'`.

One function looks at a row, another at a Polars data frame. A router sends large deals to a
sink of their own; the others become bars, and those too late for their bar are kept as well.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

import market_data_pipeline as mdp

FEE = Decimal("0.0004")


def with_fee(row: Any) -> dict[str, Decimal]:
    """Return the column to add; prices and sizes are `Decimal`, so this is exact."""
    return {"fee": row.price * row.size * FEE}


def with_notional(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with one more column; it may use all that Polars offers."""
    return trades.with_columns(notional=(pl.col("price") * pl.col("size")).cast(pl.Float64))


def build() -> mdp.Dag:
    """Describe the pipeline; nothing runs here."""
    dag = mdp.Dag("large-and-small")
    market = mdp.SyntheticSource(rows=20_000, symbols=8, rate=200, late=0.002, seed=3)
    trades = (
        dag.source(market, name="market")
        .dedupe(key=["symbol", "sequence"], name="clean")
        .map(with_fee, name="fee")
        .map(with_notional, on="frames", name="notional")
    )
    routed = trades.route({"large": "size >= 25"}, default="small", name="by_size")
    routed.large.collect(name="large_deals")
    bars = routed.small.bars("10s", name="bars")
    bars.collect(name="small_bars")
    bars.late.collect(name="too_late")
    return dag


def main() -> None:
    """Run it and show a few rows of each sink."""
    dag = build()
    print(dag)
    result = mdp.run(dag)
    with pl.Config(tbl_width_chars=140, tbl_cols=9, tbl_hide_dataframe_shape=True):
        for sink in ("large_deals", "small_bars", "too_late"):
            print(f"{sink}: {result.ledger[sink].rows_out:,} rows")
            print(result.to_polars(sink).drop("ts_recv", "flags", strict=False).head(4))


if __name__ == "__main__":
    main()
