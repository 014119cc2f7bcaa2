"""What a slot knows of the quotes of one key in one window, and how it learns of one more.

A side without a quote yet has its first time after its last.
"""

from __future__ import annotations

__all__ = ("COUNT", "VALUES", "begin_quotes", "take_quote", "take_quote_bar", "write_quotes")

import numpy as np

from market_data_pipeline.kernels.compiling import inlined
from market_data_pipeline.kernels.windows import NEVER, OUT_COUNT, OUT_VALUES

# Words of a side, from `_BID` or `_ASK`, and of what seldom changes, from `.._FIRST`.
_BID = 0
_ASK = 4
_LAST_TIME = 0
_HIGH = 1
_LOW = 2
_CLOSE = 3
_BID_FIRST = 11
_ASK_FIRST = 13
_FIRST_TIME = 0
_OPEN = 1
COUNT = 15

VALUES = 8
"""open, high, low, close of the bid, then of the ask."""


@inlined
def begin_quotes(base, slots):
    """Make a slot one that has seen no quote."""
    for word in range(8):
        slots[base + word] = NEVER
    for word in range(_BID_FIRST, COUNT):
        slots[base + word] = NEVER
    slots[base + _BID + _LAST_TIME] = -NEVER
    slots[base + _ASK + _LAST_TIME] = -NEVER
    slots[base + COUNT] = 0


@inlined
def _take_side(side, first, time, price, slots):
    """Take the price of one side; an undefined price is no quote."""
    if price == NEVER:
        return
    if slots[first + np.uint64(_FIRST_TIME)] > slots[side + np.uint64(_LAST_TIME)]:
        slots[first + np.uint64(_FIRST_TIME)] = time
        slots[first + np.uint64(_OPEN)] = price
        slots[side + np.uint64(_LAST_TIME)] = time
        for word in range(_HIGH, _CLOSE + 1):
            slots[side + np.uint64(word)] = price
        return
    if time >= slots[side + np.uint64(_LAST_TIME)]:
        slots[side + np.uint64(_LAST_TIME)] = time
        slots[side + np.uint64(_CLOSE)] = price
    elif time < slots[first + np.uint64(_FIRST_TIME)]:
        slots[first + np.uint64(_FIRST_TIME)] = time
        slots[first + np.uint64(_OPEN)] = price
    slots[side + np.uint64(_HIGH)] = max(slots[side + np.uint64(_HIGH)], price)
    slots[side + np.uint64(_LOW)] = min(slots[side + np.uint64(_LOW)], price)


@inlined
def _take_side_bar(side, first, time, i, at, values, slots):
    """Take open, high, low and close of one side, values from `at` on; undefined is none."""
    if values[at, i] == NEVER:
        return
    if time < slots[first + _FIRST_TIME]:
        slots[first + _FIRST_TIME] = time
        slots[first + _OPEN] = values[at, i]
    if slots[side + _LAST_TIME] == -NEVER:
        slots[side + _HIGH] = values[at + 1, i]
        slots[side + _LOW] = values[at + 2, i]
    slots[side + _HIGH] = max(slots[side + _HIGH], values[at + 1, i])
    slots[side + _LOW] = min(slots[side + _LOW], values[at + 2, i])
    if time >= slots[side + _LAST_TIME]:
        slots[side + _LAST_TIME] = time
        slots[side + _CLOSE] = values[at + 3, i]


@inlined
def take_quote_bar(base, time, i, at, values, slots):
    """Take bar `i` of quotes into a slot: eight prices from `values[at]` on, then the count."""
    _take_side_bar(base + _BID, base + _BID_FIRST, time, i, at, values, slots)
    _take_side_bar(base + _ASK, base + _ASK_FIRST, time, i, at + 4, values, slots)
    slots[base + COUNT] += values[at + 8, i]


@inlined
def take_quote(base, time, bid, ask, slots):
    """Take a quote into a slot; `base` is a uint64."""
    _take_side(base + np.uint64(_BID), base + np.uint64(_BID_FIRST), time, bid, slots)
    _take_side(base + np.uint64(_ASK), base + np.uint64(_ASK_FIRST), time, ask, slots)
    slots[base + np.uint64(COUNT)] += 1


@inlined
def write_quotes(base, at, slots, out):
    """Write the prices of both sides and the count of a slot to a column of `out`."""
    out[OUT_VALUES, at] = slots[base + _BID_FIRST + _OPEN]
    out[OUT_VALUES + 4, at] = slots[base + _ASK_FIRST + _OPEN]
    for word in range(3):
        out[OUT_VALUES + 1 + word, at] = slots[base + _BID + _HIGH + word]
        out[OUT_VALUES + 5 + word, at] = slots[base + _ASK + _HIGH + word]
    out[OUT_COUNT, at] = slots[base + COUNT]
