"""What a soak shows: do memory, handles, threads and tasks stay where they were?"""

from __future__ import annotations

__all__ = ("Verdict", "soak", "verdict")

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """The medians of a stretch after the start, and of the last one.

    Attributes:
        early: From 20 to 30 % of the time.
        last: The last 10 %.
        samples: How many seconds were looked at.
        rows: Rows that were read.
        worst_lag_s: The longest that the event loop was held up, but for the worst percent.
        checkpoints: How many were taken.
        failures: How many did not come about.
        slowest_checkpoint_s: The slowest but for the worst percent.
    """

    early: dict[str, float]
    last: dict[str, float]
    samples: int
    rows: int
    worst_lag_s: float
    checkpoints: int
    failures: int
    slowest_checkpoint_s: float

    def complaints(self) -> list[str]:
        """Return what has grown."""
        told = []
        for name in ("rss", "arrow"):
            grown = self.last[name] - self.early[name]
            if grown > max(16 * MEBIBYTE, 0.02 * self.early[name]):
                told.append(f"{name} grew by {grown / MEBIBYTE:.0f} MiB")
        told += [
            f"{name} went from {self.early[name]:.0f} to {self.last[name]:.0f}"
            for name in ("handles", "threads", "tasks")
            if abs(self.last[name] - self.early[name]) > 2
        ]
        if self.failures:
            told.append(f"{self.failures} checkpoints did not come about")
        return told


def soak(folder: Path, seconds: int, rate: float) -> Verdict:
    """Run the process and judge what it wrote about itself.

    Raises:
        AssertionError: If it failed, or lost a row.
    """
    command = [sys.executable, "-m", "soak.process", str(folder), str(seconds), str(rate)]
    tests = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    end = lines.pop()
    assert end["balanced"], "rows are missing"
    return verdict(lines)


def verdict(samples: Sequence[dict[str, Any]]) -> Verdict:
    """Judge samples, one a second."""
    count = len(samples)
    early = samples[count * 2 // 10 : count * 3 // 10]
    last = samples[count * 9 // 10 :]
    names = ("rss", "arrow", "handles", "threads", "tasks", "held")
    taken = [s["checkpoint_s"] for s in samples if s["checkpoint_s"] is not None]
    return Verdict(
        {name: statistics.median(s[name] for s in early) for name in names},
        {name: statistics.median(s[name] for s in last) for name in names},
        count,
        samples[-1]["rows"],
        _worst(s["loop_lag"] for s in samples),
        samples[-1]["epoch"] or 0,
        samples[-1]["failures"],
        _worst(taken),
    )


def _worst(values: Any) -> float:
    ordered = sorted(values)
    return float(ordered[int(len(ordered) * 0.99)]) if ordered else 0.0
