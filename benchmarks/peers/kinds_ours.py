"""This project: every kind of bars, a whole graph each."""

from __future__ import annotations

__all__ = ("TASKS",)

from typing import Any

import numpy as np

import market_data_pipeline as mdp
from benchmarks.answers import Difference
from benchmarks.kinds import KINDS, Kind, ordered
from benchmarks.peers.kinds_kernel import bare_bars
from benchmarks.tasks import Task
from benchmarks.ticks import symbol_names

BATCH_ROWS = 65_536
_COLUMNS = ("ts_event", "symbol", "price", "size")


class KindInMemory(Task):
    """Batches in memory -> bars -> memory."""

    kind: Kind

    def prepare(self) -> None:
        """Cut the arrays into batches, which are views of them."""
        self.given = ordered(self.ticks)
        given = self.given
        symbols = mdp.SymbolTable(symbol_names(self.ticks.symbols))
        arrays = (given.ts_event, given.code, given.price, given.size)
        self.batches = [
            mdp.Batch(
                mdp.TRADE.only(_COLUMNS),
                {
                    name: array[at : at + BATCH_ROWS]
                    for name, array in zip(_COLUMNS, arrays, strict=True)
                },
                symbols,
            )
            for at in range(0, len(given), BATCH_ROWS)
        ]

    def run(self) -> Any:
        """Run the graph."""
        dag = mdp.Dag("bars")
        ticks = dag.source(mdp.MemorySource(self.batches, out_of_order="0s"))
        ticks.bars(self.kind.every).collect(name="store")
        mdp.run(dag)
        return dag

    def bars(self, answer: Any) -> Any:
        """Return nothing: there is no answer in DuckDB to compare with."""
        del answer

    def check(self, answer: Any) -> Difference:
        """Compare number and volume with those of the bare kernel."""
        batches = answer.nodes["store"].component._rows().batches
        volume = sum(int(np.sum(batch["volume"] // 10**9)) for batch in batches)
        return same_bars(sum(map(len, batches)), volume, self)


def same_bars(count: int, volume: int, task: Any) -> Difference:
    """Compare the number of bars and the volume in them with the bare kernel's."""
    out = bare_bars(task.kind, task.given, task.ticks.symbols)
    right = (len(out), int(np.sum(out[:, 6] // 10**9)))
    wrong = "" if (count, volume) == right else f"bars and volume {(count, volume)}, not {right}"
    return Difference(wrong, ())


TASKS = {kind.name: type(f"Ours{kind.rule}", (KindInMemory,), {"kind": kind}) for kind in KINDS}
