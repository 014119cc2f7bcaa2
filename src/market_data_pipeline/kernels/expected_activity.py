"""What imbalance and run bars are measured by: signed ticks, and what is expected of them.

Lopez de Prado, "Advances in Financial Machine Learning" (2018), section 2.3.2, in integers.

Words of `meta` beside those of `kernels.activity_slots`: `META_SPAN` is the span of the
moving averages or 0 where the threshold is fixed; `META_UNIT` is how many units of the sums
one unit of an average is; `META_LEAST` and `META_MOST` bound the expected ticks of a bar, in
millionths. Words of a slot: two 128-bit sums (imbalance; or bought and sold), the sign and
the price of the last row, whether there was one, the threshold (128 bits), and the moving
averages: expected ticks, and what a tick is expected to add to each sum.
"""

from __future__ import annotations

__all__ = (
    "AVERAGE_A",
    "AVERAGE_B",
    "META_LEAST",
    "META_MOST",
    "META_SIDED",
    "META_SPAN",
    "META_UNIT",
    "PREVIOUS",
    "SIGN",
    "STARTED",
    "SUM_A",
    "SUM_B",
    "THRESHOLD",
    "TICKS",
    "TICK_WEIGHT",
    "add_tick",
    "expect",
    "next_sign",
)

from typing import Final

import numpy as np

from market_data_pipeline.kernels.activity_slots import (
    COUNT,
    META_FAULT,
    OWN,
    TOO_LARGE,
    WHAT_TICKS,
    WHAT_VOLUME,
)
from market_data_pipeline.kernels.compiling import called, inlined
from market_data_pipeline.kernels.int128 import add_product, divide_half_even

META_SPAN: Final = 10
META_UNIT: Final = 11
META_LEAST: Final = 12
META_MOST: Final = 13
META_SIDED: Final = 14

SUM_A: Final = OWN
SUM_B: Final = OWN + 2
SIGN: Final = OWN + 4
PREVIOUS: Final = OWN + 5
STARTED: Final = OWN + 6
THRESHOLD: Final = OWN + 7
TICKS: Final = OWN + 9
AVERAGE_A: Final = OWN + 10
AVERAGE_B: Final = OWN + 11

TICK_WEIGHT: Final = 1_000_000_000
"""What one tick adds to a sum of ticks."""
_MILLION: Final = 1_000_000
_BOUGHT: Final = 66
_SOLD: Final = 65


@inlined
def next_sign(base, price, side, slots):
    """Return +1 for a buy, -1 for a sale, 0 before that is known; remember it.

    The side decides if it is known, else the tick rule: the sign of the last change of
    price (Lopez de Prado, section 2.3.2.1).
    """
    # Sums of comparisons and no branches: which way the price goes cannot be guessed.
    previous = slots[base + np.uint64(PREVIOUS)]
    change = np.int64(price > previous) - np.int64(price < previous)
    change *= slots[base + np.uint64(STARTED)]
    sign = slots[base + np.uint64(SIGN)]
    sign = change if change != 0 else sign
    known = np.int64(side == _BOUGHT) - np.int64(side == _SOLD)
    sign = known if known != 0 else sign
    slots[base + np.uint64(SIGN)] = sign
    slots[base + np.uint64(PREVIOUS)] = price
    slots[base + np.uint64(STARTED)] = 1
    return sign


@inlined
def add_tick(word, what, sign, price, size, slots):
    """Add a tick, its size or its absolute value, with a sign, to the sum at a word."""
    if what == WHAT_TICKS:
        a, b = sign, np.int64(TICK_WEIGHT)
    elif what == WHAT_VOLUME:
        a, b = sign, size
    else:
        a, b = price, (size if price >= 0 else -size) * sign
    low, high = add_product(slots[word], slots[word + np.uint64(1)], a, b)
    slots[word] = low
    slots[word + np.uint64(1)] = high
    return low, high


@called
def _moved(average, value, span, meta):
    """Return `average + 2 / (span + 1) * (value - average)`, rounded half to even."""
    low, high = add_product(np.int64(0), np.int64(0), average, span - 1)
    low, high = add_product(low, high, np.int64(2), value)
    moved, fits = divide_half_even(low, high, span + 1)
    if not fits:
        meta[META_FAULT] = TOO_LARGE
    return moved


@called
def _mean(word, divisor, slots, meta):
    mean, fits = divide_half_even(slots[word], slots[word + np.uint64(1)], divisor)
    if not fits:
        meta[META_FAULT] = TOO_LARGE
    return mean


@called
def expect(base, sums, slots, meta):
    """Move the averages on by the bar of a slot, and set the threshold of the next one.

    Args:
        base: First word of the slot; its bar is not given yet.
        sums: 1 for an imbalance, 2 for bought and sold.
        slots: The slots.
        meta: See above.
    """
    span = meta[META_SPAN]
    count = slots[base + np.uint64(COUNT)]
    ticks = _moved(slots[base + np.uint64(TICKS)], count * _MILLION, span, meta)
    ticks = min(max(ticks, meta[META_LEAST]), meta[META_MOST])
    slots[base + np.uint64(TICKS)] = ticks
    divisor = count * meta[META_UNIT]
    mean = _mean(base + np.uint64(SUM_A), divisor, slots, meta)
    average = _moved(slots[base + np.uint64(AVERAGE_A)], mean, span, meta)
    slots[base + np.uint64(AVERAGE_A)] = average
    largest = abs(average)
    if sums == 2:
        mean = _mean(base + np.uint64(SUM_B), divisor, slots, meta)
        average = _moved(slots[base + np.uint64(AVERAGE_B)], mean, span, meta)
        slots[base + np.uint64(AVERAGE_B)] = average
        largest = max(largest, abs(average))
    low, high = add_product(np.int64(0), np.int64(0), ticks, largest)
    expected, fits = divide_half_even(low, high, np.int64(_MILLION))
    if not fits:
        meta[META_FAULT] = TOO_LARGE
    low, high = add_product(np.int64(0), np.int64(0), expected, meta[META_UNIT])
    slots[base + np.uint64(THRESHOLD)] = low
    slots[base + np.uint64(THRESHOLD + 1)] = high
