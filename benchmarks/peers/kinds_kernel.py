"""Bare kernels in numba, one for each kind of bars: arrays in, bars out.

State is packed in one row per symbol. There is no watermark, no check of ranges, no order
but that of the arrays; averages and values are computed with floats. This is what is left
of the work when all that makes an engine is taken away.
"""

from __future__ import annotations

__all__ = ("TASKS", "bare_bars")

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

from benchmarks.answers import Difference
from benchmarks.kinds import KINDS, Kind, ordered
from benchmarks.tasks import Task

OUT_COLUMNS = 9
SLOT = 16

_FIRST, _LAST, _OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TURNOVER, _COUNT = (
    np.uint64(word) for word in range(9)
)
_BOUGHT, _SOLD, _SIGN, _PREVIOUS, _KNOWN = (np.uint64(word) for word in range(9, 14))


@numba.njit(inline="always")
def _take(base: Any, time: Any, price: Any, size: Any, slots: Any, floats: Any) -> None:
    if slots[base + _COUNT] == 0:
        slots[base + _FIRST] = time
        slots[base + _OPEN] = price
        slots[base + _HIGH] = price
        slots[base + _LOW] = price
        slots[base + _VOLUME] = size
        floats[base + _TURNOVER] = np.float64(price) * np.float64(size)
        slots[base + _COUNT] = 1
    else:
        slots[base + _HIGH] = max(slots[base + _HIGH], price)
        slots[base + _LOW] = min(slots[base + _LOW], price)
        slots[base + _VOLUME] += size
        floats[base + _TURNOVER] += np.float64(price) * np.float64(size)
        slots[base + _COUNT] += 1
    slots[base + _LAST] = time
    slots[base + _CLOSE] = price


@numba.njit(inline="always")
def _give(code: Any, base: Any, slots: Any, floats: Any, out: Any, averages: Any, at: Any) -> Any:
    out[at, 0] = code
    out[at, 1] = slots[base + _FIRST]
    out[at, 2] = slots[base + _OPEN]
    out[at, 3] = slots[base + _HIGH]
    out[at, 4] = slots[base + _LOW]
    out[at, 5] = slots[base + _CLOSE]
    out[at, 6] = slots[base + _VOLUME]
    out[at, 7] = slots[base + _COUNT]
    out[at, 8] = slots[base + _LAST]
    if slots[base + _VOLUME] > 0:
        averages[at] = floats[base + _TURNOVER] / slots[base + _VOLUME]
    slots[base + _COUNT] = 0
    return at + 1


@numba.njit(inline="always")
def _signed(base: Any, price: Any, weight: Any, slots: Any) -> None:
    if slots[base + _KNOWN]:
        if price > slots[base + _PREVIOUS]:
            slots[base + _SIGN] = 1
        elif price < slots[base + _PREVIOUS]:
            slots[base + _SIGN] = -1
    slots[base + _KNOWN] = 1
    slots[base + _PREVIOUS] = price
    if slots[base + _SIGN] > 0:
        slots[base + _BOUGHT] += weight
    elif slots[base + _SIGN] < 0:
        slots[base + _SOLD] += weight


def _made(rule: str) -> Callable[..., Any]:
    """Return the kernel of a rule; what it does not need is left out when it is compiled."""
    is_time, is_tick, is_volume = rule == "time", rule == "tick", rule == "volume"
    is_value, is_range, is_renko = rule == "value", rule == "range", rule == "renko"
    is_imbalance, is_runs = rule.endswith("imbalance"), rule.endswith("runs")
    of_ticks = rule.startswith("tick")

    @numba.njit(nogil=True, _nrt=False)
    def bars(
        times: Any,
        codes: Any,
        prices: Any,
        sizes: Any,
        number: Any,
        whole: Any,
        slots: Any,
        floats: Any,
        out: Any,
        averages: Any,
    ) -> Any:
        at = 0
        for position in range(len(times)):
            i = np.uint64(position)
            base = np.uint64(codes[i]) * np.uint64(SLOT)
            price = prices[i]
            if is_time and slots[base + _COUNT] > 0 and times[i] >= slots[base + _BOUGHT]:
                at = _give(codes[i], base, slots, floats, out, averages, at)
            if is_time and slots[base + _COUNT] == 0:
                slots[base + _BOUGHT] = (times[i] // whole + 1) * whole
            _take(base, times[i], price, sizes[i], slots, floats)
            if is_imbalance or is_runs:
                _signed(base, price, np.int64(1) if of_ticks else sizes[i], slots)
            if is_renko:
                if not slots[base + _KNOWN]:
                    slots[base + _KNOWN] = 1
                    slots[base + _BOUGHT] = price
                    slots[base + _SOLD] = price
                top, bottom = slots[base + _BOUGHT], slots[base + _SOLD]
                while price >= top + whole or price <= bottom - whole:
                    if price >= top + whole:
                        slots[base + _OPEN] = top
                        bottom, top = top, top + whole
                        slots[base + _CLOSE] = top
                    else:
                        slots[base + _OPEN] = bottom
                        bottom, top = bottom - whole, bottom
                        slots[base + _CLOSE] = bottom
                    slots[base + _HIGH], slots[base + _LOW] = top, bottom
                    at = _give(codes[i], base, slots, floats, out, averages, at)
                    slots[base + _VOLUME] = 0
                    slots[base + _FIRST] = times[i]
                slots[base + _BOUGHT], slots[base + _SOLD] = top, bottom
                continue
            closes = False
            if is_tick:
                closes = slots[base + _COUNT] >= whole
            if is_volume:
                closes = slots[base + _VOLUME] >= whole
            if is_value:
                closes = floats[base + _TURNOVER] >= number
            if is_range:
                closes = slots[base + _HIGH] - slots[base + _LOW] >= whole
            if is_imbalance:
                closes = abs(slots[base + _BOUGHT] - slots[base + _SOLD]) >= whole
            if is_runs:
                closes = max(slots[base + _BOUGHT], slots[base + _SOLD]) >= whole
            if closes:
                at = _give(codes[i], base, slots, floats, out, averages, at)
                slots[base + _BOUGHT] = 0
                slots[base + _SOLD] = 0
        if is_time:
            for code in range(len(slots) // SLOT):
                base = np.uint64(code) * np.uint64(SLOT)
                if slots[base + _COUNT] > 0:
                    at = _give(code, base, slots, floats, out, averages, at)
        return at

    return bars


_kernel = cache(_made)


def bare_bars(kind: Kind, given: Any, symbols: int, room: Any = None) -> Any:
    """Return the rows that the kernel of a kind writes."""
    out, averages = room if room is not None else room_for(given)
    slots = np.zeros(symbols * SLOT, np.int64)
    count = _kernel(kind.rule)(
        *(given.ts_event, given.code, given.price, given.size),
        *(kind.number, int(min(kind.number, 2**62)), slots, slots.view(np.float64), out, averages),
    )
    return out[:count]


def room_for(given: Any) -> Any:
    """Return arrays for as many bars as there can be."""
    return np.zeros((len(given), OUT_COLUMNS), np.int64), np.zeros(len(given))


class KindInMemory(Task):
    """Arrays in memory -> bars as arrays."""

    kind: Kind

    def prepare(self) -> None:
        """Load the arrays and make room for the bars."""
        self.given = ordered(self.ticks)
        self.room = room_for(self.given)

    def run(self) -> Any:
        """Call the kernel once, over all ticks."""
        return bare_bars(self.kind, self.given, self.ticks.symbols, self.room)

    def bars(self, answer: Any) -> Any:
        """Return nothing: what we give is compared with this."""
        del answer

    def check(self, answer: Any) -> Difference:
        """Take it as it is: others are compared with it."""
        del answer
        return Difference("", ())


TASKS = {kind.name: type(f"Kernel{kind.rule}", (KindInMemory,), {"kind": kind}) for kind in KINDS}
