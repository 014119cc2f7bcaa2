"""Bricks of one height: a bar for each that the price has moved."""

from __future__ import annotations

__all__ = ("renko_bars",)

import numpy as np

from market_data_pipeline.kernels.activity_slots import (
    ARGUMENTS,
    CLOSE,
    COUNT,
    HIGH,
    LOW,
    META_FAULT,
    META_OUT,
    META_RESTING,
    META_THRESHOLD_LOW,
    META_UNDEFINED,
    MISSING,
    MOST_BARS_OF_A_ROW,
    NEVER,
    OPEN,
    OWN,
    RESULT,
    TOO_FAR,
    TOO_LARGE,
    WORDS,
    give_bar,
    take_row,
)
from market_data_pipeline.kernels.compiling import kernel

_TOP = OWN
_BOTTOM = OWN + 1
_STARTED = OWN + 2


@kernel(RESULT(*ARGUMENTS))
def renko_bars(first, times, codes, prices, sizes, sides, missing, meta, slots, out):  # noqa: ARG001
    """Take rows; give a brick for each height that the price is beyond the brick before.

    A slot's own words are top and bottom of the last brick, equal to the first price
    before there is one, and 1 once there is a price. All rows since the brick before are
    in the first brick of a move; the others have no rows. For the arguments see
    `kernels.activity_slots`.
    """
    brick = meta[META_THRESHOLD_LOW]
    height = np.uint64(brick)
    gaps = len(missing) > 0
    room = out.shape[1]
    overflow = np.int64(0)
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while i < stop:
        price = prices[i]
        if price == NEVER:
            meta[META_UNDEFINED] += 1
            i += np.uint64(1)
            continue
        base = np.uint64(codes[i]) * np.uint64(WORDS)
        resting = meta[META_RESTING] != 0
        meta[META_RESTING] = 0
        if not resting:
            size = sizes[i]
            if size == NEVER:
                size = np.int64(0)
            overflow |= take_row(base, times[i], price, size, slots)
            if gaps:
                slots[base + np.uint64(MISSING)] += missing[i]
            if slots[base + np.uint64(_STARTED)] == 0:
                slots[base + np.uint64(_STARTED)] = 1
                slots[base + np.uint64(_TOP)] = price
                slots[base + np.uint64(_BOTTOM)] = price
        top = slots[base + np.uint64(_TOP)]
        bottom = slots[base + np.uint64(_BOTTOM)]
        rises = price > top
        # The difference of two int64 is right as a uint64, whatever they are.
        beyond = np.uint64(0)
        if rises:
            beyond = np.uint64(price) - np.uint64(top)
        elif price < bottom:
            beyond = np.uint64(bottom) - np.uint64(price)
        if beyond // height > np.uint64(MOST_BARS_OF_A_ROW) and not resting:
            meta[META_FAULT] = TOO_FAR
            return np.int64(i), True
        while beyond >= height:
            edge = top if rises else bottom
            new_edge = edge + brick if rises else edge - brick
            if slots[base + np.uint64(COUNT)] == 0:
                # Nothing but more of the same move: the brick has no rows.
                take_row(base, times[i], price, np.int64(0), slots)
                slots[base + np.uint64(COUNT)] = 0
            slots[base + np.uint64(OPEN)] = edge
            slots[base + np.uint64(CLOSE)] = new_edge
            slots[base + np.uint64(HIGH)] = max(edge, new_edge)
            slots[base + np.uint64(LOW)] = min(edge, new_edge)
            rows = slots[base + np.uint64(COUNT)]
            give_bar(base, codes[i], rows, slots, meta, out)
            top = max(edge, new_edge)
            bottom = min(edge, new_edge)
            slots[base + np.uint64(_TOP)] = top
            slots[base + np.uint64(_BOTTOM)] = bottom
            beyond -= height
            if meta[META_OUT] == room:
                if beyond >= height:
                    meta[META_RESTING] = 1
                    return np.int64(i), False
                if overflow < 0:
                    meta[META_FAULT] = TOO_LARGE
                return np.int64(i) + 1, i + np.uint64(1) >= stop
        i += np.uint64(1)
    if overflow < 0:
        meta[META_FAULT] = TOO_LARGE
    return np.int64(i), True
