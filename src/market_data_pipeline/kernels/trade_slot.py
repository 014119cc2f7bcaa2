"""What a slot knows of the trades of one key in one window, and how it learns of one more.

Words 0 to 7 are one cache line: what nearly every trade touches. A group that no trade
was eligible for is told by its order: the first time after the last, or the low above
the high.
"""

from __future__ import annotations

__all__ = (
    "CLOSE",
    "COUNT",
    "HIGH",
    "LAST_TIME",
    "LOW",
    "UPDATES_ALL",
    "UPDATES_LAST",
    "UPDATES_RANGE",
    "UPDATES_VOLUME",
    "VALUES",
    "begin_trades",
    "open_trades",
    "take_trade",
    "take_trade_bar",
    "take_trade_where",
    "write_trades",
)

import numpy as np

from market_data_pipeline.kernels.compiling import called, inlined
from market_data_pipeline.kernels.int128 import add_product, add_wide, divide_half_even
from market_data_pipeline.kernels.windows import META_OVERFLOW, NEVER, OUT_COUNT, OUT_VALUES

LAST_TIME = 0
HIGH = 1
LOW = 2
CLOSE = 3
_VOLUME = 4
_TURNOVER_LOW = 5
_TURNOVER_HIGH = 6
COUNT = 7
_FIRST_TIME = 11
_OPEN = 12

VALUES = 8
"""open, high, low, close, volume, vwap; low and high word of the turnover."""

UPDATES_VOLUME = 1
UPDATES_RANGE = 2
UPDATES_LAST = 4
UPDATES_ALL = 7
"""What a trade may change: the volume, average and count; high and low; open and close."""


@inlined
def begin_trades(base, slots):
    """Make a slot one that has seen no trade."""
    slots[base + LAST_TIME] = -NEVER
    slots[base + HIGH] = -NEVER - 1
    slots[base + LOW] = NEVER
    slots[base + CLOSE] = NEVER
    slots[base + _VOLUME] = 0
    slots[base + _TURNOVER_LOW] = 0
    slots[base + _TURNOVER_HIGH] = 0
    slots[base + COUNT] = 0
    slots[base + _FIRST_TIME] = NEVER
    slots[base + _OPEN] = NEVER


@inlined
def open_trades(base, time, price, slots):
    """Make a slot ready for its first trade, which counts for everything."""
    begin_trades(base, slots)
    slots[base + _FIRST_TIME] = time
    slots[base + _OPEN] = price


@inlined
def take_trade(base, time, price, size, slots):
    """Take a trade into a slot that is open, or has had one that counted for everything.

    Returns:
        A number that is negative if the size is, or once the volume has left its range.
    """
    if time >= slots[base + np.uint64(LAST_TIME)]:
        slots[base + np.uint64(LAST_TIME)] = time
        slots[base + np.uint64(CLOSE)] = price
    elif time < slots[base + np.uint64(_FIRST_TIME)]:
        slots[base + np.uint64(_FIRST_TIME)] = time
        slots[base + np.uint64(_OPEN)] = price
    slots[base + np.uint64(HIGH)] = max(slots[base + np.uint64(HIGH)], price)
    slots[base + np.uint64(LOW)] = min(slots[base + np.uint64(LOW)], price)
    volume = slots[base + np.uint64(_VOLUME)] + size
    slots[base + np.uint64(_VOLUME)] = volume
    low, high = add_product(
        slots[base + np.uint64(_TURNOVER_LOW)],
        slots[base + np.uint64(_TURNOVER_HIGH)],
        price,
        size,
    )
    slots[base + np.uint64(_TURNOVER_LOW)] = low
    slots[base + np.uint64(_TURNOVER_HIGH)] = high
    slots[base + np.uint64(COUNT)] += 1
    return volume | size


@called
def take_trade_where(base, time, price, size, updates, meta, slots):
    """Take a trade into a slot as far as it counts, `updates` being a mask of `UPDATES_*`."""
    if price == NEVER or size < 0:
        meta[META_OVERFLOW] = 1
    if updates & UPDATES_LAST:
        if time >= slots[base + LAST_TIME]:
            slots[base + LAST_TIME] = time
            slots[base + CLOSE] = price
        if time < slots[base + _FIRST_TIME]:
            slots[base + _FIRST_TIME] = time
            slots[base + _OPEN] = price
    if updates & UPDATES_RANGE:
        slots[base + HIGH] = max(slots[base + HIGH], price)
        slots[base + LOW] = min(slots[base + LOW], price)
    if updates & UPDATES_VOLUME:
        volume = slots[base + _VOLUME] + size
        if volume < 0:
            meta[META_OVERFLOW] = 1
        slots[base + _VOLUME] = volume
        low, high = add_product(
            slots[base + _TURNOVER_LOW], slots[base + _TURNOVER_HIGH], price, size
        )
        slots[base + _TURNOVER_LOW] = low
        slots[base + _TURNOVER_HIGH] = high
    slots[base + COUNT] += 1


@called
def take_trade_bar(base, time, i, at, values, meta, slots):
    """Take bar `i` of trades into a slot.

    Its values from `values[at]` on: open, high, low, close, volume, count, low and high
    word of the turnover, and 0; or vwap where the turnover is not known and 0. An
    undefined price is none.
    """
    opened = values[at, i]
    high = values[at + 1, i]
    low = values[at + 2, i]
    closed = values[at + 3, i]
    if opened != NEVER and time < slots[base + _FIRST_TIME]:
        slots[base + _FIRST_TIME] = time
        slots[base + _OPEN] = opened
    if closed != NEVER and time >= slots[base + LAST_TIME]:
        slots[base + LAST_TIME] = time
        slots[base + CLOSE] = closed
    if high != NEVER:
        slots[base + HIGH] = max(slots[base + HIGH], high)
    slots[base + LOW] = min(slots[base + LOW], low)
    volume = slots[base + _VOLUME] + values[at + 4, i]
    if volume < 0:
        meta[META_OVERFLOW] = 1
    slots[base + _VOLUME] = volume
    slots[base + COUNT] += values[at + 5, i]
    wide = add_wide(
        slots[base + _TURNOVER_LOW],
        slots[base + _TURNOVER_HIGH],
        values[at + 6, i],
        values[at + 7, i],
    )
    wide = add_product(wide[0], wide[1], values[at + 8, i], values[at + 4, i])
    slots[base + _TURNOVER_LOW] = wide[0]
    slots[base + _TURNOVER_HIGH] = wide[1]


@inlined
def write_trades(base, at, meta, slots, out):
    """Write the values and the count of a slot to a column of `out`."""
    ranged = slots[base + LOW] <= slots[base + HIGH]
    volume = slots[base + _VOLUME]
    vwap = NEVER
    if volume == NEVER or (ranged and slots[base + HIGH] == NEVER):
        # A price or size that is none was taken for a number.
        meta[META_OVERFLOW] = 1
    if volume > 0:
        vwap, fits = divide_half_even(
            slots[base + _TURNOVER_LOW], slots[base + _TURNOVER_HIGH], volume
        )
        if not fits:
            meta[META_OVERFLOW] = 1
    out[OUT_VALUES, at] = slots[base + _OPEN]
    out[OUT_VALUES + 1, at] = slots[base + HIGH] if ranged else NEVER
    out[OUT_VALUES + 2, at] = slots[base + LOW]
    out[OUT_VALUES + 3, at] = slots[base + CLOSE]
    out[OUT_VALUES + 4, at] = volume
    out[OUT_VALUES + 5, at] = vwap
    out[OUT_VALUES + 6, at] = slots[base + _TURNOVER_LOW]
    out[OUT_VALUES + 7, at] = slots[base + _TURNOVER_HIGH]
    out[OUT_COUNT, at] = slots[base + COUNT]
