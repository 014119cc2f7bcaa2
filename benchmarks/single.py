"""Measurements without a question to peers: latency, memory, starting."""

from __future__ import annotations

__all__ = ("latency", "memory", "starting")

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measures import MILLION, Measure, Peer
from benchmarks.pairs import Say, measure
from benchmarks.processes import PeerProcess, run_python
from benchmarks.ticks import TickSet

MDP = Path(sys.executable).with_name("mdp")


def latency(rows: int, rounds: int, say: Say) -> dict[str, Any]:
    """Measure rows one at a time over three hops, us and the loop written by hand in turns."""
    what = Measure(
        "latency",
        "Rows at 50,000 a second, one at a time, over dedupe and filter to a sink",
        Peer("ours", "ours", "latency"),
        (Peer("asyncio.Queue by hand", "asyncio_loop", "latency"),),
        (),
    )
    return measure(what, TickSet(rows, 100), rounds, say)


def memory(say: Say, *millions: int) -> dict[str, Any]:
    """Measure the peak memory of Parquet to bars to Parquet, for sets of different size."""
    peaks = []
    for count in millions:
        ticks = TickSet(count * MILLION, 100)
        say(f"memory: {ticks.rows:,} rows")
        run_python("benchmarks.ticks", str(ticks.rows), "100")
        process = PeerProcess("ours", "bars_parquet", ticks)
        try:
            process.ready(60)
            run = process.run(300)
        finally:
            process.end()
        peaks.append(
            {"rows": ticks.rows, "peak_rss_bytes": run["peak_rss_bytes"], "wrong": run["wrong"]}
        )
    return {
        "measure": "memory",
        "title": "Peak memory, Parquet file to Parquet file",
        "peaks": peaks,
        "ratio": peaks[-1]["peak_rss_bytes"] / peaks[0]["peak_rss_bytes"],
        "target": 1.2,
    }


def _wall(command: list[str], times: int) -> dict[str, float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return {"median": median(seconds), "min": min(seconds), "max": max(seconds)}


def starting(times: int, say: Say) -> dict[str, Any]:
    """Measure how long commands take that do next to nothing."""
    say("starting: mdp --help, and the bar of a file of one row")
    with tempfile.TemporaryDirectory() as folder:
        ticks, bars = Path(folder) / "one.parquet", Path(folder) / "bars.parquet"
        one = {
            "ts_event": pa.array([1_704_205_800_000_000_000], pa.timestamp("ns", "UTC")),
            "symbol": ["S0000"],
            "price": [100.25],
            "size": [10],
        }
        pq.write_table(pa.table(one), ticks)
        bar = [str(MDP), "bars", str(ticks), "--every", "1s", "-o", str(bars), "--overwrite"]
        subprocess.run(bar, check=True, capture_output=True)  # fills the kernel cache
        commands = [
            ("python -c pass", [sys.executable, "-c", "pass"], None),
            ("mdp --help", [str(MDP), "--help"], 0.3),
            ("mdp bars of one row", bar, 1.5),
        ]
        rows = [
            {"command": name, "seconds": _wall(command, times), "target": target}
            for name, command, target in commands
        ]
    return {"measure": "starting", "title": "Wall time of commands, warm cache", "commands": rows}
