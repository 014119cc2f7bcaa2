"""The process that is watched: a live market through everything that keeps state.

`python -m soak.process FOLDER SECONDS RATE` writes a line of JSON a second about itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.runtime import Run

_SYMBOLS = 500


def graph(folder: Path, seconds: int, rate: float) -> mdp.Dag:
    """Return the graph: journaled trades with second copies, keys that do not come again."""
    dag = mdp.Dag("soak")
    market: dict[str, Any] = {"symbols": _SYMBOLS, "seed": 1, "rate": rate, "speed": 1.0}
    trades = mdp.SyntheticSource(
        rows=int(rate * seconds), duplicates=0.02, disorder=0.02, late=0.001, **market
    )
    quotes = mdp.SyntheticSource(rows=int(rate * seconds), kind="quotes", **market)
    feed = mdp.JournalSource(trades, folder / "journal", segment_bytes=8_388_608)
    clean = dag.source(feed, name="trades").dedupe(key=["symbol", "trade_id"], ttl="10s")
    bars = clean.bars("1s", lateness="2s", name="bars")
    bars.sink(mdp.DuckDBSink(folder / "bars.duckdb", key=("symbol", "ts_open")), name="store")
    clean.windows(
        {"volume": "sum(size)", "high": "max(price)"}, size="10s", every="2s", name="hops"
    ).sink(mdp.ParquetSink(f"{folder}/hops/"), name="hop_files")
    known = dag.source(quotes, name="quotes")
    priced = clean.with_quotes(known, name="priced")
    priced.bars("5s", name="priced_bars").sink(mdp.ParquetSink(f"{folder}/priced/"), name="files")
    return dag


def reading(run: Run) -> dict[str, Any]:
    """Return what the process holds now."""
    pid = os.getpid()
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    accounts, checkpoints = run.ledger().accounts, run.checkpoints()
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "arrow": pa.total_allocated_bytes(),
        "handles": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "tasks": len(asyncio.all_tasks()),
        "held": sum(account.held for account in accounts),
        "rows": sum(a.rows_in for a in accounts if a.node in {"trades", "quotes"}),
        "epoch": checkpoints.last_epoch if checkpoints else None,
        "checkpoint_s": checkpoints.last_seconds if checkpoints else None,
        "failures": checkpoints.failures if checkpoints else 0,
    }


async def watch(run: Run, out: Any) -> None:
    """Write what the process holds, once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(1)
        line = {**reading(run), "loop_lag": loop.time() - began - 1}
        out.write(json.dumps(line) + "\n")
        out.flush()


async def main(folder: Path, seconds: int, rate: float) -> None:
    """Run the graph, watched."""
    checkpoint = Checkpoint(f"{folder}/checkpoints", interval="1s")
    run = Run(graph(folder, seconds, rate), checkpoint=checkpoint)
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(watch(run, sys.stdout))
        result = await run.run()
        watcher.cancel()
    sys.stdout.write(json.dumps({"balanced": result.ledger.balanced, "rows": result.rows_read}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
