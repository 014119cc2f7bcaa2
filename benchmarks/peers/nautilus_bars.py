"""NautilusTrader: its own aggregators of ticks, fed with its own trade ticks.

It wants a pandas that we cannot live with, so it runs in an environment of its own:
`MDP_NAUTILUS_PYTHON` names its Python. It has no watermark and takes rows as they come; they
are sorted by event time beforehand. Volume bars are split, renko turns after one brick.
"""

from __future__ import annotations

__all__ = ("TASKS",)

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VARIABLE = "MDP_NAUTILUS_PYTHON"


def serve(folder: str, spec: str) -> None:
    """Make ticks of the arrays in a folder; aggregate them whenever a line comes in."""
    import numpy as np
    from nautilus_trader.data import aggregation
    from nautilus_trader.model.data import BarType, TradeTick
    from nautilus_trader.model.enums import AggressorSide
    from nautilus_trader.model.identifiers import InstrumentId, TradeId
    from nautilus_trader.model.objects import Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    times, codes, prices, sizes = (
        np.load(Path(folder) / f"{name}.npy").tolist()
        for name in ("time", "code", "price", "size")
    )
    symbols = max(codes) + 1
    instruments = [TestInstrumentProvider.equity(f"S{code:04d}", "SIM") for code in range(symbols)]
    ids = [InstrumentId.from_str(f"S{code:04d}.SIM") for code in range(symbols)]
    trade_id, unknown = TradeId("1"), AggressorSide.NO_AGGRESSOR
    ticks = [
        TradeTick(
            ids[code],
            Price(price / 1e9, 2),
            Quantity(size // 10**9, 0),
            unknown,
            trade_id,
            at,
            at,
        )
        for at, code, price, size in zip(times, codes, prices, sizes, strict=True)
    ]
    rule = spec.rsplit("-", 1)[1].title()
    make = getattr(aggregation, f"{rule}BarAggregator")
    print("ready", flush=True)
    for _ in sys.stdin:
        bars: list[Any] = []
        handlers = [
            make(
                instrument,
                BarType.from_str(f"{instrument.id}-{spec}-LAST-INTERNAL"),
                bars.append,
            ).handle_trade_tick
            for instrument in instruments
        ]
        began = time.perf_counter()
        for code, tick in zip(codes, ticks, strict=True):
            handlers[code](tick)
        print(time.perf_counter() - began, len(bars), flush=True)


def _tasks() -> dict[str, Any]:
    import numpy as np

    from benchmarks.answers import Difference
    from benchmarks.kinds import KINDS, Kind, ordered
    from benchmarks.tasks import Missing, Task

    class KindInMemory(Task):
        """Ticks in memory -> bars in memory."""

        kind: Kind

        def prepare(self) -> None:
            """Start the other Python and let it make its ticks."""
            python = os.environ.get(VARIABLE)
            if python is None:
                msg = f"set {VARIABLE} to a Python that has nautilus_trader"
                raise Missing(msg)
            given = ordered(self.ticks)
            self.rows = len(given)
            arrays = {"time": given.ts_event, "code": given.code}
            arrays |= {"price": given.price, "size": given.size}
            with tempfile.TemporaryDirectory() as folder:
                for name, array in arrays.items():
                    np.save(Path(folder) / f"{name}.npy", array)
                self.process = subprocess.Popen(
                    [python, __file__, folder, str(self.kind.nautilus)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                assert self.process.stdout is not None
                said = self.process.stdout.readline().strip()
            if said != "ready":
                msg = f"{python} has no nautilus_trader that can do this"
                raise Missing(msg)

        def run(self) -> Any:
            """Let it aggregate all ticks; a line each way is all that is added to its time."""
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().split()

        def bars(self, answer: Any) -> Any:
            """Return nothing: its bars stay where they are."""
            del answer

        def check(self, answer: Any) -> Difference:
            """Say that nothing but the number of tick bars can be compared."""
            _, count = answer
            if self.kind.rule == "tick":
                codes = ordered(self.ticks).code
                right = int(np.sum(np.bincount(codes) // int(self.kind.number)))
                if int(count) != right:
                    return Difference(f"{count} bars, not {right}", ())
            return Difference("", ("vwap", "watermark"))

    return {
        kind.name: type(f"Nautilus{kind.rule}", (KindInMemory,), {"kind": kind})
        for kind in KINDS
        if kind.nautilus is not None
    }


if __name__ == "__main__":
    serve(*sys.argv[1:3])
    TASKS: dict[str, Any] = {}
else:
    TASKS = _tasks()
