"""Runs us and a peer in turns, and says how the two compare."""

from __future__ import annotations

__all__ = ("measure",)

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks.measures import Measure, Peer
from benchmarks.processes import GaveUp, PeerProcess, run_python
from benchmarks.ticks import TickSet

SECONDS_MAX = 120.0
"""A run that takes longer is given up."""

Say = Callable[[str], None]


def _set_for(peer: Peer, ticks: TickSet) -> TickSet:
    return TickSet(min(ticks.rows, peer.rows_max), ticks.symbols)


def _make(ticks: TickSet) -> None:
    if not (ticks.folder / "bars.npz").exists():
        run_python("benchmarks.ticks", str(ticks.rows), str(ticks.symbols))


@contextmanager
def _started(peer: Peer, ticks: TickSet) -> Iterator[PeerProcess]:
    """Start a peer, let it prepare and run once, which is not counted."""
    process = PeerProcess(peer.module, peer.task, ticks)
    try:
        process.ready(SECONDS_MAX)
        process.run(SECONDS_MAX)
        yield process
    finally:
        process.end()


def measure(what: Measure, ticks: TickSet, rounds: int, say: Say) -> dict[str, Any]:
    """Ask all peers one question on one set of ticks."""
    for peer in (what.ours, *what.peers):
        _make(_set_for(peer, ticks))
    mine = _set_for(what.ours, ticks)
    rows: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    with _started(what.ours, mine) as ours:
        for peer in what.peers:
            if ticks.symbols > peer.symbols_max:
                continue
            given = _set_for(peer, ticks)
            if given.rows < ticks.rows and _was_measured(what, given, ticks):
                continue
            say(f"{what.name}: {given.rows:,} rows, {given.symbols:,} symbols: {peer.name}")
            row, pairs = _against(peer, given, ours, rounds)
            runs += pairs
            row.update(_ratios(pairs, row.pop("runs"), given.rows / mine.rows))
            rows.append(row)
    return {
        "measure": what.name,
        "title": what.title,
        "rows": ticks.rows,
        "symbols": ticks.symbols,
        "peers": [_at_rates(row, what.laps) for row in (_summary(what.ours, mine, runs), *rows)],
    }


def _at_rates(row: dict[str, Any], laps: int) -> dict[str, Any]:
    if "rows_per_second" in row:
        row["rows_per_second"] *= laps
    return row


def _was_measured(what: Measure, given: TickSet, ticks: TickSet) -> bool:
    """Tell whether a peer that is given fewer rows was given as many for a smaller set."""
    smaller = [size.rows for size in what.sizes if size.symbols == ticks.symbols]
    return any(given.rows <= rows < ticks.rows for rows in smaller)


def _against(
    peer: Peer, given: TickSet, ours: PeerProcess, rounds: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    own: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    failed = ""
    try:
        with _started(peer, given) as process:
            for _ in range(rounds):
                mine = ours.run(SECONDS_MAX)
                theirs.append(process.run(SECONDS_MAX))
                own.append(mine)
    except GaveUp as err:
        failed = str(err)
    return {**_summary(peer, given, theirs), "failed": failed, "runs": theirs}, own


def _ratios(
    own: list[dict[str, Any]], theirs: list[dict[str, Any]], share: float
) -> dict[str, Any]:
    """Return how many times as much time, latency and CPU the peer took, pair by pair."""
    ratios = {}
    for name, key in (("ratio", "seconds"), ("p99_ratio", "p99_us"), ("cpu_ratio", "cpu_seconds")):
        if own and key in own[0]:
            pairs = zip(own, theirs, strict=True)
            ratios[name] = _spread([its[key] / (ours[key] * share) for ours, its in pairs])
    return ratios


def _summary(peer: Peer, given: TickSet, runs: list[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "peer": peer.name,
        "rows": given.rows,
        "target": peer.target,
        "failed": "",
        "wrong": next((run["wrong"] for run in runs if run["wrong"]), ""),
        "without": runs[0]["without"] if runs else [],
    }
    if runs:
        summary["seconds"] = _spread([run["seconds"] for run in runs])
        summary["cpu_seconds"] = _spread([run["cpu_seconds"] for run in runs])
        summary["rows_per_second"] = given.rows / summary["seconds"]["median"]
        for name in runs[0]:
            if name.endswith("_us") or name == "rows_per_batch":
                summary[name] = _spread([run[name] for run in runs])
    return summary


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}
