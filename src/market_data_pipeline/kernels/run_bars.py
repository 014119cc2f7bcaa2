"""Bars that close once one side has done enough."""

from __future__ import annotations

__all__ = ("run_bars",)

import numpy as np

from market_data_pipeline.kernels.activity_slots import (
    ARGUMENTS,
    COUNT,
    META_FAULT,
    META_OUT,
    META_SIZED,
    META_THRESHOLD_HIGH,
    META_THRESHOLD_LOW,
    META_UNDEFINED,
    META_WHAT,
    MISSING,
    NEVER,
    RESULT,
    TOO_LARGE,
    WIDE_WORDS,
    give_bar,
    is_at_least,
    take_row,
)
from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.expected_activity import (
    META_SPAN,
    SUM_A,
    THRESHOLD,
    add_tick,
    expect,
    next_sign,
)


@kernel(RESULT(*ARGUMENTS))
def run_bars(first, times, codes, prices, sizes, sides, missing, meta, slots, out):
    """Take rows; close a bar with the row that brings bought or sold to the threshold.

    With `meta[META_SPAN]` the threshold moves with what is expected, see
    `kernels.expected_activity`; else it is that of `meta`. For the arguments see
    `kernels.activity_slots`.
    """
    what = meta[META_WHAT]
    adapts = meta[META_SPAN] != 0
    threshold_low = meta[META_THRESHOLD_LOW]
    threshold_high = meta[META_THRESHOLD_HIGH]
    sized = meta[META_SIZED] != 0
    gaps = len(missing) > 0
    sided = len(sides) > 0
    room = out.shape[1]
    overflow = np.int64(0)
    undefined = 0
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while i < stop:
        price = prices[i]
        size = sizes[i]
        if price == NEVER or size == NEVER:  # noqa: PLR1714
            if price == NEVER or sized:
                undefined += 1
                i += np.uint64(1)
                continue
            size = np.int64(0)
        base = np.uint64(codes[i]) * np.uint64(WIDE_WORDS)
        overflow |= take_row(base, times[i], price, size, slots)
        if gaps:
            slots[base + np.uint64(MISSING)] += missing[i]
        sign = next_sign(base, price, sides[i] if sided else np.uint8(0), slots)
        # Which side it is cannot be guessed, so it picks a word and no branch.
        word = base + np.uint64(SUM_A) + np.uint64(2) * np.uint64(sign < 0)
        low, high = add_tick(word, what, abs(sign), price, size, slots)
        if adapts:
            threshold_low = slots[base + np.uint64(THRESHOLD)]
            threshold_high = slots[base + np.uint64(THRESHOLD + 1)]
        if is_at_least(low, high, threshold_low, threshold_high):
            if adapts:
                expect(base, 2, slots, meta)
            for word in range(4):
                slots[base + np.uint64(SUM_A + word)] = 0
            give_bar(base, codes[i], slots[base + np.uint64(COUNT)], slots, meta, out)
            if meta[META_OUT] == room:
                i += np.uint64(1)
                break
        i += np.uint64(1)
    meta[META_UNDEFINED] += undefined
    if overflow < 0:
        meta[META_FAULT] = TOO_LARGE
    return np.int64(i), i >= stop
