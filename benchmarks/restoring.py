"""How long a run takes to go on from a checkpoint with much state; see `restoring`.

`python -m benchmarks.restoring FOLDER save|load` is one half of it, in a process of its own:
`save` reads trades of different numbers into a dedupe that forgets none of them, and stops;
`load` goes on, is given some of them again, and is dropped once they are known as duplicates.
"""

from __future__ import annotations

__all__ = ("restoring",)

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, ClassVar, Final

import numpy as np

import market_data_pipeline as mdp
from benchmarks.pairs import Say
from benchmarks.processes import ROOT
from benchmarks.ticks import SECOND_NS
from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.records import Schema

_KEYS: Final = 30_000_000
_KEYS_FEW: Final = 300_000
_BATCH_ROWS: Final = 65_536
_SYMBOLS: Final = 100
_SCHEMA: Final = mdp.TRADE.only(["ts_event", "symbol", "price", "size", "trade_id"])
_TARGET_S: Final = 10.0
_TARGET_BYTES: Final = 2**30


@component("numbered")
class Numbered:
    """Give trades of different numbers, then wait; gone on from, the first of them again.

    Attributes:
        rows: How many.
    """

    rows: int

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        """Return the columns."""
        return _SCHEMA

    async def open(self, context: NodeContext) -> _NumberedReader:
        """Begin at the beginning, or with rows that were there before."""
        return _NumberedReader(self.rows, context)


class _NumberedReader:
    def __init__(self, rows: int, context: NodeContext) -> None:
        self.schema = _SCHEMA
        self._rows = rows
        self._context = context
        # Numbers begin again; times, which follow from how many rows there were, go on.
        self._before = 0 if context.position is None else int(context.position["at"])
        self._at = 0
        context.symbols.encode(f"S{k:04}" for k in range(_SYMBOLS))

    async def read(self) -> Sequence[tuple[str, Batch]] | None:
        count = min(_BATCH_ROWS, self._rows - self._at)
        if not count or (self._before and self._at):
            await asyncio.get_running_loop().create_future()
        numbers = np.arange(self._at, self._at + count)
        columns: dict[str, Any] = {
            "ts_event": (self._before + numbers) * 1_000,
            "symbol": (numbers % _SYMBOLS).astype(np.int32),
            "price": np.full(count, SECOND_NS),
            "size": np.full(count, SECOND_NS),
            "trade_id": numbers,
        }
        self._at += count
        self._context.account.rows_in += count
        progress = Progress(int(columns["ts_event"][0]), 0, int(columns["ts_event"][-1]))
        return (("out", Batch(_SCHEMA, columns, self._context.symbols, progress)),)

    def position(self) -> dict[str, int]:
        return {"at": self._before + self._at}

    def fraction(self) -> None:
        return None

    async def close(self) -> None:
        pass


def _graph(folder: str, rows: int) -> Run:
    dag = mdp.Dag("numbers")
    numbers = dag.source(Numbered(rows), name="numbers")
    seen = numbers.dedupe(["symbol", "trade_id"], ttl="30d", name="known")
    # A filter by column, so that what is measured is state and not the writing of rows.
    seen.filter("price < 0").sink(mdp.ParquetSink(f"{folder}/out/"), name="store")
    return Run(dag, checkpoint=mdp.Checkpoint(f"{folder}/checkpoints", interval=None))


async def _until(run: Run, condition: Callable[[], bool]) -> None:
    while run.phase != "running" or not condition():  # noqa: ASYNC110  a run has no such event
        await asyncio.sleep(0.01)


async def _save(run: Run, rows: int) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(run.run())
        await _until(run, lambda: run.ledger()["numbers"].rows_in == rows)
        run.stop()
    told = run.checkpoints()
    assert told is not None, "the run has checkpoints"
    return told.last_bytes


async def _load(run: Run, began: float) -> float:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        await _until(run, lambda: "duplicate" in run.ledger()["known"].reasons)
        seconds = time.perf_counter() - began
        task.cancel()
    return seconds


def restoring(times: int, say: Say, *, quick: bool = False) -> dict[str, Any]:
    """Measure how long it takes to go on from a checkpoint of more than 1 GiB of state."""
    rows = _KEYS_FEW if quick else _KEYS
    say(f"restoring: {rows:,} keys")
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as folder:
        saved = _half(folder, "save", rows)
        runs = [_half(folder, "load", rows)["seconds"] for _ in range(times)]
    return {
        "measure": "restoring",
        "title": "Going on from a checkpoint: keys of a dedupe, from the call to the first rows",
        "keys": rows,
        "bytes": saved["bytes"],
        "seconds": {"median": median(runs), "min": min(runs), "max": max(runs)},
        "target": _TARGET_S if saved["bytes"] >= _TARGET_BYTES else None,
    }


def _half(folder: str, which: str, rows: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.restoring", folder, which, str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    """Run one half, and say what it measured as JSON."""
    folder, which, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run = _graph(folder, rows)
    if which == "save":
        said: dict[str, Any] = {"bytes": asyncio.run(_save(run, rows))}
    else:
        said = {"seconds": asyncio.run(_load(run, time.perf_counter()))}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
