"""Shows results on the terminal, and writes them down."""

from __future__ import annotations

__all__ = ("show", "write")

import ast
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.processes import ROOT
from benchmarks.tables import Table, tables_of
from benchmarks.ticks import EVENT_RATE, SEED

RESULTS = Path(__file__).parent / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"

_INTRODUCTION = """# Benchmarks

Measured by `{command}`, which writes this page; `make bench` runs it on your machine.

| | |
|---|---|
| processor | {processor}, {cores} cores, {memory:.0f} GiB |
| system | {system}, load {load:.1f} before it began |
| versions | {versions} |

How it is done:

- The ticks are generated from seed {seed}: Zipf-distributed symbols, nanosecond event times,
  {rate:,} rows to a second of event time, 1 % of the rows up to 500 ms late, 1 % exact
  duplicates, prices that walk at random, whole sizes. `benchmarks/ticks.py` says the rest.
- Each peer runs in a process of its own, on what it likes best: arrays, its own table, a data
  frame, tuples, all in memory before the clock starts, or a file that the system has cached.
  It runs once uncounted; then we and it run in turns.
- Rates and seconds are medians; in brackets the least and the most. A ratio is of one of our
  runs and the peer's run that followed it: its median, and in brackets the least and most.
- Every answer is compared with DuckDB's, which is exact because prices are whole cents there.
  Ours must be equal to the last digit, averages included; averages computed with floats may
  be off by 1e-9.
- What is aimed at is a ratio of rates, so of a kernel that does nothing but the sums we want at
  least 0.7. Where the figure is missed, it is missed on this machine in this run.
- A peer that would take minutes is given fewer rows; its own row says how many.
"""

_MISSED = """
## What is missed, and why

- **Bars against a bare kernel**: the kernel does the sums in one loop over all rows. We also
  follow the watermark, tell late rows, keep a 128-bit turnover, fill eighteen columns for each
  bar and hand batches on, about 0.1 ms for each, and a run takes about 1 ms besides its rows.
  With 5,000 symbols there is a bar for every twenty rows.
- **Two threads**: bars are bound by memory. One core sums these four columns at 40 GB/s and
  two cores do no better; each thread reads every row to find its own. Operators that do
  more for a row gain from two threads: 1.6x for sessions of activity, 1.3x for quantiles of
  hopping windows, of a million rows and 5,000 symbols.
- **Parquet with few symbols**: decoding takes most of both cores, and DuckDB decodes too. With
  many symbols its grouping costs more than ours.
- **Dedupe of a million rows, or with 5,000 symbols**: two thirds of the time are the memory of
  keys, which is looked up row by row, in order, on one thread.
- **Latency**: a row passes as a batch of one or two; what a batch costs in Python is what a
  loop by hand does not pay.
"""

_PEERS = """
## The peers

{peers}
"""


def _peers() -> str:
    """Return what each peer's module says of it."""
    texts = []
    for path in sorted((Path(__file__).parent / "peers").glob("[a-z]*.py")):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        first, *rest = said.split("\n\n")
        texts.append(f"- **`{path.stem}`**: " + " ".join(" ".join([first, *rest]).split()))
    return "\n".join(texts)


def show(console: Console, results: dict[str, Any]) -> None:
    """Print the tables."""
    for table in tables_of(results):
        shown = RichTable(title=table.title, title_justify="left", title_style="bold")
        for place, head in enumerate(table.heads):
            shown.add_column(
                head, justify="left" if place in {0, len(table.heads) - 1} else "right"
            )
        for row in table.rows:
            style = "red" if any(cell.startswith(("wrong", "failed")) for cell in row) else ""
            shown.add_row(*row, style=style)
        console.print(shown)


def write(results: dict[str, Any]) -> None:
    """Write the results as JSON and as a page of the docs."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    machine = results["machine"]
    text = _INTRODUCTION.format(
        command=results["command"],
        processor=machine["processor"],
        cores=machine["cores"],
        memory=machine["memory_bytes"] / 2**30,
        system=machine["system"],
        load=machine["load"],
        versions=", ".join(f"{name} {at}" for name, at in machine["versions"].items()),
        seed=SEED,
        rate=EVENT_RATE,
    )
    tables = "\n".join(map(_markdown, tables_of(results)))
    PAGE.write_text(f"{text}\n{tables}{_MISSED}{_PEERS.format(peers=_peers())}")


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", "", _line(table.heads), _line("---" for _ in table.heads)]
    lines += map(_line, table.rows)
    return "\n".join([*lines, ""])


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
