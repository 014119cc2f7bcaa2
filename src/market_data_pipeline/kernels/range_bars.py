"""Bars that close once high and low are far enough apart."""

from __future__ import annotations

__all__ = ("range_bars",)

import numpy as np

from market_data_pipeline.kernels.activity_slots import (
    ARGUMENTS,
    COUNT,
    HIGH,
    LOW,
    META_FAULT,
    META_OUT,
    META_THRESHOLD_LOW,
    META_UNDEFINED,
    MISSING,
    NEVER,
    RESULT,
    TOO_LARGE,
    WORDS,
    give_bar,
    take_row,
)
from market_data_pipeline.kernels.compiling import kernel


@kernel(RESULT(*ARGUMENTS))
def range_bars(first, times, codes, prices, sizes, sides, missing, meta, slots, out):  # noqa: ARG001
    """Take rows; close a bar with the row that brings high minus low to the threshold.

    For the arguments see `kernels.activity_slots`.
    """
    threshold = np.uint64(meta[META_THRESHOLD_LOW])
    gaps = len(missing) > 0
    room = out.shape[1]
    overflow = np.int64(0)
    undefined = 0
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while i < stop:
        price = prices[i]
        if price == NEVER:
            undefined += 1
            i += np.uint64(1)
            continue
        size = sizes[i]
        if size == NEVER:
            size = np.int64(0)
        base = np.uint64(codes[i]) * np.uint64(WORDS)
        overflow |= take_row(base, times[i], price, size, slots)
        if gaps:
            slots[base + np.uint64(MISSING)] += missing[i]
        # The difference of two int64 is right as a uint64, whatever they are.
        width = np.uint64(slots[base + np.uint64(HIGH)]) - np.uint64(slots[base + np.uint64(LOW)])
        if width >= threshold:
            give_bar(base, codes[i], slots[base + np.uint64(COUNT)], slots, meta, out)
            if meta[META_OUT] == room:
                i += np.uint64(1)
                break
        i += np.uint64(1)
    meta[META_UNDEFINED] += undefined
    if overflow < 0:
        meta[META_FAULT] = TOO_LARGE
    return np.int64(i), i >= stop
