"""`mdp run --metrics` as a process of its own, and what it serves."""

from __future__ import annotations

__all__ = ("LIVE", "metrics_of", "running")

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LIVE = """\
name: live
nodes:
  ticks: {source: synthetic, rows: 100000000, speed: 20, rate: 1000, batch_rows: 200}
  bars:  {operator: bars, from: ticks, every: 1s, lateness: 1s}
  store: {sink: jsonl, from: bars, path: bars.jsonl}
"""
"""Twenty thousand rows a second, for longer than any test."""

_ADDRESS = re.compile(r"metrics: (http://\S+)/metrics")


@contextmanager
def running(
    folder: Path, pipeline: str = LIVE, *, host: str = "127.0.0.1", token: str | None = None
) -> Iterator[str]:
    """Run a pipeline while the context lasts; give the address it serves metrics on.

    Args:
        folder: Where to run it.
        pipeline: The pipeline file.
        host: Where it serves its metrics.
        token: What clients must bring.
    """
    (folder / "pipeline.yaml").write_text(pipeline)
    known = {} if token is None else {"MDP_METRICS_TOKEN": token}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "market_data_pipeline.cli.main"),
            *("run", "pipeline.yaml", "--metrics", f"{host}:0"),
        ],
        cwd=folder,
        env={**os.environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = _ADDRESS.search(said)
        assert found is not None, said + process.stderr.read()
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def metrics_of(address: str, headers: Mapping[str, str] | None = None) -> str:
    """Return what an address serves as metrics."""
    request = urllib.request.Request(f"{address}/metrics", headers=dict(headers or {}))  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - it is loopback
        text: str = answer.read().decode()
        return text
