"""Bars of exactly so much volume: a row that is too large is split."""

from __future__ import annotations

__all__ = ("split_volume_bars",)

import numpy as np

from market_data_pipeline.kernels.activity_slots import (
    ARGUMENTS,
    COUNT,
    META_FAULT,
    META_OUT,
    META_RESTING,
    META_SPLITS,
    META_THRESHOLD_LOW,
    META_UNDEFINED,
    MISSING,
    MOST_BARS_OF_A_ROW,
    NEVER,
    OWN,
    RESULT,
    TOO_FAR,
    VOLUME,
    WORDS,
    give_bar,
    take_row,
)
from market_data_pipeline.kernels.compiling import kernel


@kernel(RESULT(*ARGUMENTS))
def split_volume_bars(first, times, codes, prices, sizes, sides, missing, meta, slots, out):  # noqa: ARG001
    """Take rows; a row fills the bar under way, then whole bars, and begins another.

    Its parts count in each of these bars; it ends in the first. The first of a slot's own
    words is the number of rows that end in the bar. For the arguments see
    `kernels.activity_slots`.
    """
    threshold = meta[META_THRESHOLD_LOW]
    gaps = len(missing) > 0
    room = out.shape[1]
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while i < stop:
        price = prices[i]
        rest = sizes[i]
        if price == NEVER or rest == NEVER:  # noqa: PLR1714
            meta[META_UNDEFINED] += 1
            i += np.uint64(1)
            continue
        base = np.uint64(codes[i]) * np.uint64(WORDS)
        ends = np.int64(1)
        if meta[META_RESTING]:
            meta[META_RESTING] = 0
            rest = meta[META_SPLITS]
            ends = np.int64(0)
        elif rest // threshold > MOST_BARS_OF_A_ROW:
            meta[META_FAULT] = TOO_FAR
            return np.int64(i), True
        while True:
            so_far = np.int64(0)
            if slots[base + np.uint64(COUNT)] == 0:
                slots[base + np.uint64(OWN)] = 0
            else:
                so_far = slots[base + np.uint64(VOLUME)]
            part = min(rest, threshold - so_far)
            volume = take_row(base, times[i], price, part, slots)
            slots[base + np.uint64(OWN)] += ends
            if gaps and ends:
                slots[base + np.uint64(MISSING)] += missing[i]
            ends = np.int64(0)
            rest -= part
            if volume >= threshold:
                give_bar(base, codes[i], slots[base + np.uint64(OWN)], slots, meta, out)
                if meta[META_OUT] == room:
                    if rest > 0:
                        meta[META_RESTING] = 1
                        meta[META_SPLITS] = rest
                        return np.int64(i), False
                    return np.int64(i) + 1, i + np.uint64(1) >= stop
            if rest == 0:
                break
        i += np.uint64(1)
    return np.int64(i), True
