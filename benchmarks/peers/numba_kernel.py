"""The best bare kernel in numba: arrays in, bars out.

State is packed in one row of 128 bytes per symbol and window, two windows per symbol: no
row is later than half a second, so nobody needs a third. There is no watermark, no check
of ranges, and the average is computed with floats. This is what is left of the work when
all that makes an engine is taken away.
"""

from __future__ import annotations

__all__ = ("TASKS",)

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.answers import Bars
from benchmarks.tasks import Task
from benchmarks.ticks import SECOND_NS

OUT_COLUMNS = 8
SLOT = 16

_START, _FIRST, _LAST, _OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TURNOVER, _COUNT = (
    np.uint64(word) for word in range(10)
)
_SIGNATURE = "int64(i8[::1], i4[::1], i8[::1], i8[::1], i8[::1], f8[::1], i8[:,::1], f8[::1], i8)"


@numba.njit(inline="always")
def _flush(code: Any, base: Any, slots: Any, floats: Any, out: Any, averages: Any, at: int) -> int:
    out[at, 0] = code
    out[at, 1] = slots[base + _START]
    out[at, 2] = slots[base + _OPEN]
    out[at, 3] = slots[base + _HIGH]
    out[at, 4] = slots[base + _LOW]
    out[at, 5] = slots[base + _CLOSE]
    out[at, 6] = slots[base + _VOLUME]
    out[at, 7] = slots[base + _COUNT]
    averages[at] = floats[base + _TURNOVER] / slots[base + _VOLUME] / 1e9
    return at + 1


@numba.njit(_SIGNATURE, cache=True, nogil=True)
def second_bars(
    times: Any,
    codes: Any,
    prices: Any,
    sizes: Any,
    slots: Any,
    floats: Any,
    out: Any,
    averages: Any,
    keys: int,
) -> int:
    """Write the bars of all ticks; return how many.

    Args:
        times: (n,) nanoseconds.
        codes: (n,) codes, below `keys`.
        prices: (n,) fixed point.
        sizes: (n,) fixed point.
        slots: (keys * 2 * SLOT,) zeros.
        floats: The same memory as floats.
        out: (m, OUT_COLUMNS) for the bars.
        averages: (m,) for their averages.
        keys: How many symbols there are.
    """
    width = np.uint64(SECOND_NS)
    start = np.int64(0)
    half = np.uint64(0)
    at = 0
    for i in range(len(times)):
        time = times[i]
        if np.uint64(time - start) >= width:
            second = np.uint64(time) // width
            start = np.int64(second * width)
            half = second & np.uint64(1)
        base = (np.uint64(codes[i]) * np.uint64(2) + half) * np.uint64(SLOT)
        price = prices[i]
        size = sizes[i]
        if slots[base + _START] != start:
            if slots[base + _COUNT] > 0:
                at = _flush(codes[i], base, slots, floats, out, averages, at)
            slots[base + _START] = start
            slots[base + _FIRST] = time
            slots[base + _LAST] = time
            slots[base + _OPEN] = price
            slots[base + _HIGH] = price
            slots[base + _LOW] = price
            slots[base + _CLOSE] = price
            slots[base + _VOLUME] = size
            floats[base + _TURNOVER] = np.float64(price) * np.float64(size)
            slots[base + _COUNT] = 1
            continue
        if time >= slots[base + _LAST]:
            slots[base + _LAST] = time
            slots[base + _CLOSE] = price
        elif time < slots[base + _FIRST]:
            slots[base + _FIRST] = time
            slots[base + _OPEN] = price
        slots[base + _HIGH] = max(slots[base + _HIGH], price)
        slots[base + _LOW] = min(slots[base + _LOW], price)
        slots[base + _VOLUME] += size
        floats[base + _TURNOVER] += np.float64(price) * np.float64(size)
        slots[base + _COUNT] += 1
    for slot in range(keys * 2):
        base = np.uint64(slot) * np.uint64(SLOT)
        if slots[base + _COUNT] > 0:
            at = _flush(slot // 2, base, slots, floats, out, averages, at)
    return at


class BarsInMemory(Task):
    """Arrays in memory -> bars as arrays."""

    def prepare(self) -> None:
        """Load the arrays and make room for the bars."""
        self.given = self.ticks.load()
        seconds = int(np.ptp(self.given.ts_event)) // SECOND_NS + 2
        room = min(len(self.given), seconds * self.ticks.symbols)
        self.out = np.zeros((room, OUT_COLUMNS), np.int64)
        self.averages = np.zeros(room, np.float64)

    def run(self) -> Any:
        """Call the kernel once, over all ticks."""
        slots = np.zeros(self.ticks.symbols * 2 * SLOT, np.int64)
        given = self.given
        return second_bars(
            given.ts_event,
            given.code,
            given.price,
            given.size,
            slots,
            slots.view(np.float64),
            self.out,
            self.averages,
            self.ticks.symbols,
        )

    def bars(self, answer: Any) -> Bars:
        """Return the rows of `out`."""
        return bars_of_rows(self.out[:answer], self.averages[:answer])


def bars_of_rows(out: npt.NDArray[np.int64], averages: npt.NDArray[np.float64]) -> Bars:
    """Return the bars a kernel wrote."""
    code, ts_open, first, high, low, close, volume, count = out.T
    return Bars(code, ts_open, first, high, low, close, volume, averages, count)


TASKS = {"bars_memory": BarsInMemory}
