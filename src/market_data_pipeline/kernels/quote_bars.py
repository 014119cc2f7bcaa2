"""Quotes into bars of bid and ask on tumbling windows of event time."""

from __future__ import annotations

__all__ = ("OUT", "close_quote_bars", "quote_bars")

import numpy as np
from numba import boolean, int32, int64, njit, types

from market_data_pipeline.kernels.windows import (
    ALL_TAKEN,
    IS_FULL,
    IS_LATE,
    META_BOUND,
    META_CURRENT_ROW,
    META_CURRENT_START,
    META_FREE_SLOT,
    META_HIGHEST,
    META_KEYS,
    META_OUT,
    META_TRIGGER,
    META_WIDTH,
    NEEDS_OUT,
    NEEDS_SLOTS,
    NEEDS_WINDOWS,
    NEVER,
    SLOT,
    SLOT_KEY,
    SLOT_NEXT,
    TABLE_FIRST,
    TABLE_START,
    drop_window,
    earliest_window,
    live_span,
    new_slot,
    set_trigger,
    turn_to_window,
    watermark_of,
)

# Words of a slot: six for each side, then the count. A side without a quote yet has its
# first time after its last.
_BID = 0
_ASK = 6
_FIRST_TIME = 0
_LAST_TIME = 1
_OPEN = 2
_HIGH = 3
_LOW = 4
_CLOSE = 5
_COUNT = 12

OUT = 11
"""Rows of `out`: key, start, then open, high, low, close of bid and of ask, count."""

_IN_64 = types.Array(int64, 1, "C", readonly=True)
_IN_32 = types.Array(int32, 1, "C", readonly=True)
_STATE = (
    types.Array(int64, 1, "C"),  # meta
    types.Array(int64, 2, "C"),  # table
    types.Array(int32, 1, "C"),  # places
    types.Array(int32, 1, "C"),  # index
    types.Array(int64, 1, "C"),  # slots
    types.Array(int64, 2, "C"),  # out
)


@njit(boolean(int64, *_STATE), cache=True, nogil=True)
def close_quote_bars(watermark, meta, table, places, index, slots, out):
    """Move the bars of all windows that end at or before a watermark to `out`.

    Args:
        watermark: int64 nanoseconds; the largest int64 closes every window.
        meta: See `kernels.windows`, as are `table`, `places`, `index` and `slots`.
        table: Open windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots.
        out: (OUT, O) int64, filled from column `meta[META_OUT]`.

    Returns:
        True if done, False if `out` is full.
    """
    keys = meta[META_KEYS]
    width = meta[META_WIDTH]
    while True:
        row = earliest_window(table)
        if row < 0:
            break
        start = table[row, TABLE_START]
        if watermark < NEVER and (start > NEVER - width or start + width > watermark):
            break
        while table[row, TABLE_FIRST] >= 0:
            at = meta[META_OUT]
            if at == out.shape[1]:
                return False
            slot = table[row, TABLE_FIRST]
            base = slot * SLOT
            code = slots[base + SLOT_KEY]
            out[0, at] = code
            out[1, at] = start
            for word in range(4):
                out[2 + word, at] = slots[base + _BID + _OPEN + word]
                out[6 + word, at] = slots[base + _ASK + _OPEN + word]
            out[10, at] = slots[base + _COUNT]
            meta[META_OUT] = at + 1
            index[row * keys + code] = -1
            table[row, TABLE_FIRST] = slots[base + SLOT_NEXT]
            slots[base + SLOT_NEXT] = meta[META_FREE_SLOT]
            meta[META_FREE_SLOT] = slot
        drop_window(row, meta, table, places)
    set_trigger(meta, table)
    return True


@njit(inline="always")
def _take_side(base, time, price, slots):
    """Take the price of one side into its six words; an undefined price is no quote."""
    if price == NEVER:
        return
    if slots[base + np.uint64(_FIRST_TIME)] > slots[base + np.uint64(_LAST_TIME)]:
        slots[base + np.uint64(_FIRST_TIME)] = time
        slots[base + np.uint64(_LAST_TIME)] = time
        for word in range(_OPEN, _CLOSE + 1):
            slots[base + np.uint64(word)] = price
        return
    if time >= slots[base + np.uint64(_LAST_TIME)]:
        slots[base + np.uint64(_LAST_TIME)] = time
        slots[base + np.uint64(_CLOSE)] = price
    elif time < slots[base + np.uint64(_FIRST_TIME)]:
        slots[base + np.uint64(_FIRST_TIME)] = time
        slots[base + np.uint64(_OPEN)] = price
    slots[base + np.uint64(_HIGH)] = max(slots[base + np.uint64(_HIGH)], price)
    slots[base + np.uint64(_LOW)] = min(slots[base + np.uint64(_LOW)], price)


@njit(
    types.UniTuple(int64, 2)(
        int64, _IN_64, _IN_64, _IN_32, _IN_64, _IN_64, *_STATE, types.Array(int64, 1, "C")
    ),
    cache=True,
    nogil=True,
)
def quote_bars(
    first,
    clocks,
    times,
    codes,
    bids,
    asks,
    meta,
    table,
    places,
    index,
    slots,
    out,
    late,
):
    """Take quotes into their windows; close windows as the watermark passes their ends.

    The watermark after a row is the running maximum of `clocks` up to it, minus
    `meta[META_BOUND]`. A row is late, and not taken, if its window ends at or before it.

    Args:
        first: Row to begin with.
        clocks: (n,) int64: `times` itself, or the watermark after each row with bound 0.
        times: (n,) int64 event times.
        codes: (n,) int32 symbol codes, `0 <= code < meta[META_KEYS]`.
        bids: (n,) int64 fixed point, the largest int64 where there is no bid.
        asks: (n,) int64 fixed point, likewise.
        meta: See `kernels.windows`, as are `table`, `places`, `index` and `slots`.
        table: Open windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots.
        out: (OUT, O) int64, filled from column `meta[META_OUT]`.
        late: (n,) int64, filled with the positions of late rows from `meta[META_LATE]`.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    keys = np.uint64(meta[META_KEYS])
    width = meta[META_WIDTH]
    bound = meta[META_BOUND]
    highest = meta[META_HIGHEST]
    start = meta[META_CURRENT_START]
    row = meta[META_CURRENT_ROW]
    # With no current window no time may seem to fall into it.
    live = live_span(start, width) if row >= 0 else np.uint64(0)
    windows_base = np.uint64(max(row, 0)) * keys
    trigger = meta[META_TRIGGER]
    reason = ALL_TAKEN
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while i < stop:
        time = times[i]
        highest = max(highest, clocks[i])
        if highest >= trigger:
            watermark = watermark_of(highest, bound)
            if not close_quote_bars(watermark, meta, table, places, index, slots, out):
                reason = NEEDS_OUT
                break
            trigger = meta[META_TRIGGER]
            if meta[META_CURRENT_ROW] < 0:
                live = np.uint64(0)
        if np.uint64(time - start) >= live:
            row = turn_to_window(time, highest, np.int64(i), meta, table, places, late)
            if row == IS_LATE:
                i += np.uint64(1)
                continue
            if row == IS_FULL:
                reason = NEEDS_WINDOWS
                break
            start = meta[META_CURRENT_START]
            trigger = meta[META_TRIGGER]
            live = live_span(start, width)
            windows_base = np.uint64(row) * keys
        code = codes[i]
        slot = index[windows_base + np.uint64(code)]
        if slot < 0:
            fresh = new_slot(meta[META_CURRENT_ROW], code, meta, table, index, slots)
            if fresh < 0:
                reason = NEEDS_SLOTS
                break
            slot = np.int32(fresh)
            base = np.uint64(fresh) * np.uint64(SLOT)
            for word in range(_COUNT):
                slots[base + np.uint64(word)] = NEVER
            slots[base + np.uint64(_BID + _LAST_TIME)] = -NEVER
            slots[base + np.uint64(_ASK + _LAST_TIME)] = -NEVER
            slots[base + np.uint64(_COUNT)] = 0
        base = np.uint64(slot) * np.uint64(SLOT)
        _take_side(base + np.uint64(_BID), time, bids[i], slots)
        _take_side(base + np.uint64(_ASK), time, asks[i], slots)
        slots[base + np.uint64(_COUNT)] += 1
        i += np.uint64(1)
    meta[META_HIGHEST] = highest
    return np.int64(i), np.int64(reason)
