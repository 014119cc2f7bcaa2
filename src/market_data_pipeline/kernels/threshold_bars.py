"""Bars that close once enough ticks, volume or value is in them."""

from __future__ import annotations

__all__ = ("threshold_bars",)

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
    OWN,
    RESULT,
    TOO_LARGE,
    WHAT_TICKS,
    WHAT_VOLUME,
    WORDS,
    give_bar,
    is_at_least,
    take_row,
)
from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.int128 import add_product


@kernel(RESULT(*ARGUMENTS))
def threshold_bars(first, times, codes, prices, sizes, sides, missing, meta, slots, out):  # noqa: ARG001
    """Take rows; close a bar with the row that brings it to the threshold.

    The first two of a slot's own words are the value so far: the sum of size times
    absolute price, 128 bits. For the arguments see `kernels.activity_slots`.
    """
    what = meta[META_WHAT]
    threshold = meta[META_THRESHOLD_LOW]
    threshold_high = meta[META_THRESHOLD_HIGH]
    sized = meta[META_SIZED] != 0
    gaps = len(missing) > 0
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
        base = np.uint64(codes[i]) * np.uint64(WORDS)
        opens = slots[base + np.uint64(COUNT)] == 0
        volume = take_row(base, times[i], price, size, slots)
        overflow |= volume
        if gaps:
            slots[base + np.uint64(MISSING)] += missing[i]
        if what == WHAT_TICKS:
            reached = slots[base + np.uint64(COUNT)] >= threshold
        elif what == WHAT_VOLUME:
            reached = volume >= threshold
        else:
            if opens:
                slots[base + np.uint64(OWN)] = 0
                slots[base + np.uint64(OWN + 1)] = 0
            low, high = add_product(
                slots[base + np.uint64(OWN)],
                slots[base + np.uint64(OWN + 1)],
                price,
                size if price >= 0 else -size,
            )
            slots[base + np.uint64(OWN)] = low
            slots[base + np.uint64(OWN + 1)] = high
            reached = is_at_least(low, high, threshold, threshold_high)
        if reached:
            give_bar(base, codes[i], slots[base + np.uint64(COUNT)], slots, meta, out)
            if meta[META_OUT] == room:
                i += np.uint64(1)
                break
        i += np.uint64(1)
    meta[META_UNDEFINED] += undefined
    if overflow < 0:
        meta[META_FAULT] = TOO_LARGE
    return np.int64(i), i >= stop
