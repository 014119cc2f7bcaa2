"""The ticks and the questions of the table of kinds of bars.

The ticks of `benchmarks.ticks` by event time, without duplicates: NautilusTrader's
aggregators take what comes in the order in which it comes.
"""

from __future__ import annotations

__all__ = ("KINDS", "Kind", "ordered")

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ticks import Ticks, TickSet


@dataclass(frozen=True)
class Kind:
    """A kind of bars.

    Attributes:
        name: In the tables.
        every: As we write it.
        rule: What closes a bar, for the kernels.
        number: The threshold, fixed point at 1e-9; ticks as they are; value as a float of
            fixed-point products.
        nautilus: As NautilusTrader writes it, None where version 1.221 has no aggregator for it
            that works without a clock.
    """

    name: str
    every: str
    rule: str
    number: float
    nautilus: str | None = None


KINDS = (
    Kind("time", "1s", "time", 1e9),
    Kind("tick", "100tick", "tick", 100, "100-TICK"),
    Kind("volume", "50000vol", "volume", 50_000e9, "50000-VOLUME"),
    Kind("value", "1e7val", "value", 1e7 * 1e18, "10000000-VALUE"),
    Kind("tick imbalance", "20tick_imbalance", "tick_imbalance", 20),
    Kind("volume imbalance", "10000vol_imbalance", "volume_imbalance", 10_000e9),
    Kind("tick runs", "50tick_run", "tick_runs", 50),
    Kind("volume runs", "25000vol_run", "volume_runs", 25_000e9),
    Kind("range", "0.1range", "range", 0.1e9),
    Kind("renko", "0.1renko", "renko", 0.1e9, "10-RENKO"),
)
"""Ten kinds, each with a bar for some hundred ticks."""


def ordered(ticks: TickSet) -> Ticks:
    """Return the ticks by event time, each once, with plain arrays."""
    given = ticks.load()
    _, first = np.unique(given.code.astype(np.int64) << 40 | given.trade_id, return_index=True)
    first = first[np.argsort(given.ts_event[first], kind="stable")]
    columns: list[Any] = [
        np.ascontiguousarray(column[first])
        for column in (given.ts_event, given.code, given.price, given.size, given.trade_id)
    ]
    return Ticks(*columns)
