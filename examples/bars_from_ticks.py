"""A file of ticks becomes a file of bars.

    python -m examples.bars_from_ticks

A made-up market writes `ticks.csv`, with a few rows twice, out of order, and too late. A second
pipeline reads it, drops the second copies, makes bars of one minute and writes them as Parquet.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import market_data_pipeline as mdp


def write_ticks(path: Path) -> None:
    """Write ten minutes of trades in three currency pairs."""
    market = mdp.SyntheticSource(
        rows=60_000, symbols=("EURUSD", "GBPUSD", "AUDUSD"), rate=100, duplicates=0.02, seed=924
    )
    dag = mdp.Dag("make-ticks")
    # The made-up prices are those of stocks; a hundredth of them looks like a currency.
    rates = dag.source(market).assign({"price": "price * 0.01"})
    rates.sink(mdp.CsvSink(path))
    mdp.run(dag)


def make_bars(ticks: Path, bars: Path) -> mdp.RunResult:
    """Read the trades, drop second copies, and write bars of one minute."""
    dag = mdp.Dag("bars-from-ticks")
    (
        dag.source(mdp.ReplaySource(ticks, out_of_order="1s"), name="ticks")
        .dedupe(key=["symbol", "sequence"], name="clean")
        .bars("1min", name="bars")
        .sink(mdp.ParquetSink(bars), name="store")
    )
    print(dag)
    return mdp.run(dag)


def main() -> None:
    """Do it in a folder that goes away, and show the first bars."""
    with TemporaryDirectory() as folder:
        ticks, bars = Path(folder, "ticks.csv"), Path(folder, "bars.parquet")
        write_ticks(ticks)
        result = make_bars(ticks, bars)
        print("symbol   ts_open           open    high     low   close   volume  count")
        for bar in result.to_arrow("bars").slice(0, 6).to_pylist():
            prices = "".join(f"{bar[name]:8.4f}" for name in ("open", "high", "low", "close"))
            print(
                f"{bar['symbol']:8} {bar['ts_open']:%Y-%m-%d %H:%M}"
                f"{prices}{bar['volume']:9,.0f}{bar['count']:7,}"
            )
    ledger = result.ledger
    print(
        f"\n{ledger['ticks'].rows_in:,} ticks in, {ledger.total('duplicate'):,} second copies, "
        f"{ledger.total('late'):,} late, {ledger['store'].rows_out:,} bars out; "
        f"{'every row is accounted for' if ledger.balanced else 'rows are missing'}"
    )


if __name__ == "__main__":
    main()
