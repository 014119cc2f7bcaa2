"""A pipeline file is loaded, given other paths, and run.

    python -m examples.pipeline_from_yaml

The file is `examples/eurusd_bars.yaml`; `mdp run` would run it as it stands.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from examples.bars_from_ticks import write_ticks

import market_data_pipeline as mdp

PIPELINE = Path(__file__).with_name("eurusd_bars.yaml")


def main() -> None:
    """Run the file in a folder that goes away, and show what is in the database."""
    with TemporaryDirectory() as folder:
        ticks = Path(folder, "ticks.csv")
        write_ticks(ticks)
        dag = mdp.load(
            PIPELINE,
            overrides=[
                f"ticks.path={ticks}",
                f"store.path={folder}/bars.duckdb",
                f"late.path={folder}/late.csv",
            ],
        )
        print(dag)
        result = mdp.run(dag)
        # DuckDB holds prices as exact decimals, and that is how they come back.
        for bar in result.to_arrow("store").slice(0, 5).to_pylist():
            print(f"{bar['ts_open']:%H:%M:%S}  close {bar['close']:.4f}  vwap {bar['vwap']}")
    print("\nwhere the rows went:")
    for account in result.ledger.accounts:
        ended = "".join(f", {rows:,} {reason}" for reason, rows in account.reasons.items())
        print(f"  {account.node:6} {account.rows_in:7,} in {account.rows_out:7,} out{ended}")


if __name__ == "__main__":
    main()
