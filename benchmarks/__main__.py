"""`python -m benchmarks`: measure us and the peers side by side."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import Any

from rich.console import Console

from benchmarks import single
from benchmarks.machine import describe
from benchmarks.measures import MEASURES, MILLION, Measure
from benchmarks.pairs import measure
from benchmarks.processes import GaveUp
from benchmarks.report import show, write
from benchmarks.restoring import restoring
from benchmarks.ticks import TickSet

_QUICK_ROWS = 100_000
_LARGE_ROWS = 100 * MILLION
_OTHERS = ("latency", "memory", "restoring", "starting")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="run every peer once on little, to check that all answers are right",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*dict.fromkeys(_group(what.name) for what in MEASURES), *_OTHERS],
        help="measure only this; can be repeated; the docs are then left as they are",
    )
    parser.add_argument(
        "--rows-max", type=int, default=100 * MILLION, help="leave out larger sets"
    )
    parser.add_argument("--rounds", type=int, help="how often each pair runs")
    return parser.parse_args()


def _group(name: str) -> str:
    """Return the word for all measures of a group."""
    return name.partition(":")[0]


def _small(what: Measure) -> Measure:
    """Return a measure on one million rows, and slow peers on fewer."""
    peers = tuple(
        replace(peer, rows_max=_QUICK_ROWS if peer.rows_max <= MILLION else MILLION)
        for peer in what.peers
    )
    return replace(what, peers=peers, sizes=(TickSet(MILLION, 100),))


def _rounds(what: Measure, ticks: TickSet, *, quick: bool) -> int:
    if quick:
        return 1
    return what.rounds if ticks.rows < _LARGE_ROWS else min(what.rounds, 3)


def _wrong(found: dict[str, Any]) -> list[str]:
    """Return the answers that are wrong, and the peers that failed."""
    texts = []
    for peer in found.get("peers", ()):
        failed = peer["failed"] if peer["failed"].startswith(("failed", "did not")) else ""
        if peer["wrong"] or failed:
            texts.append(f"{found['measure']}: {peer['peer']}: {peer['wrong'] or failed}")
    texts += [f"memory: {peak['wrong']}" for peak in found.get("peaks", ()) if peak["wrong"]]
    return texts


def main() -> int:
    """Measure; return 1 if an answer is wrong, whatever the times."""
    options = _options()
    console = Console(width=max(Console().width, 130))
    machine = describe()
    found: list[dict[str, Any]] = []

    def say(text: str) -> None:
        console.print(f"[dim]{text}[/dim]", highlight=False)

    def take(result: dict[str, Any]) -> None:
        found.append(result)
        show(console, {"measures": [result]})

    def wanted(name: str) -> bool:
        return not options.only or _group(name) in options.only

    try:
        for full in MEASURES:
            what = _small(full) if options.quick else full
            for ticks in what.sizes:
                rounds = options.rounds or _rounds(what, ticks, quick=options.quick)
                if wanted(what.name) and ticks.rows <= options.rows_max:
                    take(measure(what, ticks, rounds, say))
        if wanted("latency"):
            rows, rounds = (25_000, 1) if options.quick else (200_000, 5)
            take(single.latency(rows, options.rounds or rounds, say))
        if wanted("memory") and options.rows_max >= 10 * MILLION and not options.quick:
            counts = (10, 100) if options.rows_max >= 100 * MILLION else (1, 10)
            take(single.memory(say, *counts))
        if wanted("restoring"):
            times = 1 if options.quick else 3
            take(restoring(times, say, quick=options.quick))
        if wanted("starting"):
            take(single.starting(2 if options.quick else 10, say))
    except GaveUp as err:
        console.print(f"[red]our own run {err}[/red]")
        return 1
    if not options.quick and not options.only:
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        write({"command": command, "machine": machine, "measures": found})
    wrong = [text for result in found for text in _wrong(result)]
    for text in wrong:
        console.print(f"[red]{text}[/red]", highlight=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
