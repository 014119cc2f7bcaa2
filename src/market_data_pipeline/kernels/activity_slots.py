"""The bar under way of each key, in one packed row, for bars that activity closes.

A slot is `WORDS` or `WIDE_WORDS` words of int64; slot k belongs to the key with code k. A
slot with count 0 has no bar under way. Kernels read rows in the order of event time, so
the first row opens a bar and the last one closes it.

All kernels of this family share their arguments:

- `first` is the row to begin with; `times` (n,) int64, `codes` (n,) int32 symbol codes,
  `prices` and `sizes` (n,) int64 fixed point, the largest int64 where there is none;
  `sides` (n,) uint8 or (0,) if unknown, `missing` (n,) int64 or (0,) likewise;
- `meta` (META,) int64, the words named below; `slots` (keys * words,) int64;
- `out` (OUT, O) int64, filled from column `meta[META_OUT]`, O > meta[META_OUT].

They return the first row not taken and True if all are taken, False if `out` is full.
"""

from __future__ import annotations

__all__ = (
    "ARGUMENTS",
    "CLOSE",
    "COUNT",
    "FIRST_TIME",
    "HIGH",
    "LAST_TIME",
    "LOW",
    "META",
    "META_FAULT",
    "META_OUT",
    "META_RESTING",
    "META_SIZED",
    "META_SPLITS",
    "META_SUMS_GAPS",
    "META_THRESHOLD_HIGH",
    "META_THRESHOLD_LOW",
    "META_UNDEFINED",
    "META_WHAT",
    "MISSING",
    "MOST_BARS_OF_A_ROW",
    "NEVER",
    "OPEN",
    "OUT",
    "OWN",
    "RESULT",
    "TOO_FAR",
    "TOO_LARGE",
    "VOLUME",
    "WHAT_TICKS",
    "WHAT_VALUE",
    "WHAT_VOLUME",
    "WIDE_WORDS",
    "WORDS",
    "give_bar",
    "give_bars",
    "is_at_least",
    "take_row",
)

from typing import Final

import numpy as np
from numba import boolean, int32, int64, types, uint8

from market_data_pipeline.kernels.compiling import called, inlined, kernel
from market_data_pipeline.kernels.int128 import add_product, divide_half_even

NEVER: Final = 9223372036854775807

# Words of a slot; those from OWN on belong to the kind of bar.
FIRST_TIME: Final = 0
LAST_TIME: Final = 1
OPEN: Final = 2
HIGH: Final = 3
LOW: Final = 4
CLOSE: Final = 5
VOLUME: Final = 6
_TURNOVER_LOW: Final = 7
_TURNOVER_HIGH: Final = 8
COUNT: Final = 9
MISSING: Final = 10
OWN: Final = 11
WORDS: Final = 16
WIDE_WORDS: Final = 24

# Words of `meta`.
META_OUT: Final = 0
META_FAULT: Final = 1
META_UNDEFINED: Final = 2
"""Rows without a price, or without the size that is measured; they are in no bar."""
META_SIZED: Final = 3
"""1 if a row without a size is in no bar."""
META_SUMS_GAPS: Final = 4
META_WHAT: Final = 5
META_THRESHOLD_LOW: Final = 6
META_THRESHOLD_HIGH: Final = 7
META_RESTING: Final = 8
"""1 if the row at hand is taken, and has more bars to give."""
META_SPLITS: Final = 9
"""What is left of the size of the row at hand."""
META: Final = 20

WHAT_TICKS: Final = 0
WHAT_VOLUME: Final = 1
WHAT_VALUE: Final = 2

TOO_LARGE: Final = 1
TOO_FAR: Final = 2
MOST_BARS_OF_A_ROW: Final = 1_000_000

OUT: Final = 12
"""Rows of `out`: key, ts_open, ts_close, open, high, low, close, volume, vwap, count, missing,
and how many rows of the input end in this bar."""

_IN_64 = types.Array(int64, 1, "C", readonly=True)
ARGUMENTS: Final = (
    int64,  # first
    _IN_64,  # times
    types.Array(int32, 1, "C", readonly=True),  # codes
    _IN_64,  # prices
    _IN_64,  # sizes
    types.Array(uint8, 1, "C", readonly=True),  # sides
    _IN_64,  # missing
    types.Array(int64, 1, "C"),  # meta
    types.Array(int64, 1, "C"),  # slots
    types.Array(int64, 2, "C"),  # out
)
RESULT: Final = types.Tuple((int64, boolean))


@inlined
def take_row(base, time, price, size, slots):
    """Take a row into the bar of a slot, opening one if there is none; return the volume."""
    if slots[base + np.uint64(COUNT)] == 0:
        slots[base + np.uint64(FIRST_TIME)] = time
        slots[base + np.uint64(LAST_TIME)] = time
        slots[base + np.uint64(OPEN)] = price
        slots[base + np.uint64(HIGH)] = price
        slots[base + np.uint64(LOW)] = price
        slots[base + np.uint64(CLOSE)] = price
        slots[base + np.uint64(VOLUME)] = size
        low, high = add_product(np.int64(0), np.int64(0), price, size)
        slots[base + np.uint64(_TURNOVER_LOW)] = low
        slots[base + np.uint64(_TURNOVER_HIGH)] = high
        slots[base + np.uint64(COUNT)] = 1
        slots[base + np.uint64(MISSING)] = 0
        return size
    slots[base + np.uint64(LAST_TIME)] = time
    slots[base + np.uint64(CLOSE)] = price
    slots[base + np.uint64(HIGH)] = max(slots[base + np.uint64(HIGH)], price)
    slots[base + np.uint64(LOW)] = min(slots[base + np.uint64(LOW)], price)
    volume = slots[base + np.uint64(VOLUME)] + size
    slots[base + np.uint64(VOLUME)] = volume
    low, high = add_product(
        slots[base + np.uint64(_TURNOVER_LOW)],
        slots[base + np.uint64(_TURNOVER_HIGH)],
        price,
        size,
    )
    slots[base + np.uint64(_TURNOVER_LOW)] = low
    slots[base + np.uint64(_TURNOVER_HIGH)] = high
    slots[base + np.uint64(COUNT)] += 1
    return volume


@inlined
def is_at_least(low, high, other_low, other_high):
    """Tell if the 128-bit number `(high, low)` is not less than another."""
    return high > other_high or (high == other_high and np.uint64(low) >= np.uint64(other_low))


@called
def give_bar(base, code, rows, slots, meta, out):
    """Write the bar of a slot, in which `rows` rows end, to `out`; leave the slot without."""
    at = meta[META_OUT]
    volume = slots[base + np.uint64(VOLUME)]
    vwap = np.int64(NEVER)
    if volume > 0:
        vwap, fits = divide_half_even(
            slots[base + np.uint64(_TURNOVER_LOW)], slots[base + np.uint64(_TURNOVER_HIGH)], volume
        )
        if not fits:
            meta[META_FAULT] = TOO_LARGE
    elif volume < 0:
        meta[META_FAULT] = TOO_LARGE
    out[0, at] = code
    out[1, at] = slots[base + np.uint64(FIRST_TIME)]
    out[2, at] = slots[base + np.uint64(LAST_TIME)]
    out[3, at] = slots[base + np.uint64(OPEN)]
    out[4, at] = slots[base + np.uint64(HIGH)]
    out[5, at] = slots[base + np.uint64(LOW)]
    out[6, at] = slots[base + np.uint64(CLOSE)]
    out[7, at] = volume
    out[8, at] = vwap
    out[9, at] = slots[base + np.uint64(COUNT)]
    out[10, at] = slots[base + np.uint64(MISSING)] if meta[META_SUMS_GAPS] else NEVER
    out[11, at] = rows
    slots[base + np.uint64(COUNT)] = 0
    meta[META_OUT] = at + 1


@kernel(
    types.void(
        _IN_64,
        int64,
        int64,
        types.Array(int64, 1, "C"),
        types.Array(int64, 1, "C"),
        types.Array(int64, 2, "C"),
    )
)
def give_bars(codes, words, ending, slots, meta, out):
    """Write the bars under way of some keys to `out`, unfinished as they are.

    Args:
        codes: (n,) int64 symbol codes, each with a bar under way.
        words: Words of a slot.
        ending: The word that holds how many rows end in the bar.
        slots: See above.
        meta: See above.
        out: (OUT, O) int64, with room for n bars.
    """
    for i in range(len(codes)):
        base = np.uint64(codes[i] * words)
        rows = slots[base + np.uint64(ending)]
        give_bar(base, codes[i], rows, slots, meta, out)
