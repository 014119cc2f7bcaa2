"""Trades into OHLCV bars on tumbling windows of event time."""

from __future__ import annotations

__all__ = ("OUT", "close_trade_bars", "trade_bars")

import numpy as np
from numba import boolean, int32, int64, njit, types

from market_data_pipeline.kernels.int128 import add_product, divide_half_even
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
    META_OVERFLOW,
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

# Words of a slot.
_FIRST_TIME = 0
_LAST_TIME = 1
_OPEN = 2
_HIGH = 3
_LOW = 4
_CLOSE = 5
_VOLUME = 6
_TURNOVER_LOW = 7
_TURNOVER_HIGH = 8
_COUNT = 9

OUT = 9
"""Rows of `out`: key, start, open, high, low, close, volume, vwap, count."""

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
def close_trade_bars(watermark, meta, table, places, index, slots, out):
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
            volume = slots[base + _VOLUME]
            vwap = NEVER
            if volume > 0:
                vwap, fits = divide_half_even(
                    slots[base + _TURNOVER_LOW], slots[base + _TURNOVER_HIGH], volume
                )
                if not fits:
                    meta[META_OVERFLOW] = 1
            code = slots[base + SLOT_KEY]
            out[0, at] = code
            out[1, at] = start
            out[2, at] = slots[base + _OPEN]
            out[3, at] = slots[base + _HIGH]
            out[4, at] = slots[base + _LOW]
            out[5, at] = slots[base + _CLOSE]
            out[6, at] = volume
            out[7, at] = vwap
            out[8, at] = slots[base + _COUNT]
            meta[META_OUT] = at + 1
            index[row * keys + code] = -1
            table[row, TABLE_FIRST] = slots[base + SLOT_NEXT]
            slots[base + SLOT_NEXT] = meta[META_FREE_SLOT]
            meta[META_FREE_SLOT] = slot
        drop_window(row, meta, table, places)
    set_trigger(meta, table)
    return True


@njit(inline="always")
def _take_trade(base, time, price, size, slots):
    """Take a trade into a slot that has one; return the volume."""
    if time >= slots[base + np.uint64(_LAST_TIME)]:
        slots[base + np.uint64(_LAST_TIME)] = time
        slots[base + np.uint64(_CLOSE)] = price
    elif time < slots[base + np.uint64(_FIRST_TIME)]:
        slots[base + np.uint64(_FIRST_TIME)] = time
        slots[base + np.uint64(_OPEN)] = price
    slots[base + np.uint64(_HIGH)] = max(slots[base + np.uint64(_HIGH)], price)
    slots[base + np.uint64(_LOW)] = min(slots[base + np.uint64(_LOW)], price)
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
    slots[base + np.uint64(_COUNT)] += 1
    return volume


@njit(inline="always")
def _take_first_trade(base, time, price, size, slots):
    """Take a trade into a fresh slot."""
    slots[base + np.uint64(_FIRST_TIME)] = time
    slots[base + np.uint64(_LAST_TIME)] = time
    slots[base + np.uint64(_OPEN)] = price
    slots[base + np.uint64(_HIGH)] = price
    slots[base + np.uint64(_LOW)] = price
    slots[base + np.uint64(_CLOSE)] = price
    slots[base + np.uint64(_VOLUME)] = size
    low, high = add_product(np.int64(0), np.int64(0), price, size)
    slots[base + np.uint64(_TURNOVER_LOW)] = low
    slots[base + np.uint64(_TURNOVER_HIGH)] = high
    slots[base + np.uint64(_COUNT)] = 1


@njit(
    types.UniTuple(int64, 2)(
        int64, _IN_64, _IN_64, _IN_32, _IN_64, _IN_64, *_STATE, types.Array(int64, 1, "C")
    ),
    cache=True,
    nogil=True,
)
def trade_bars(
    first,
    clocks,
    times,
    codes,
    prices,
    sizes,
    meta,
    table,
    places,
    index,
    slots,
    out,
    late,
):
    """Take trades into their windows; close windows as the watermark passes their ends.

    The watermark after a row is the running maximum of `clocks` up to it, minus
    `meta[META_BOUND]`. A row is late, and not taken, if its window ends at or before it.

    Args:
        first: Row to begin with.
        clocks: (n,) int64: `times` itself, or the watermark after each row with bound 0.
        times: (n,) int64 event times.
        codes: (n,) int32 symbol codes, `0 <= code < meta[META_KEYS]`.
        prices: (n,) int64 fixed point.
        sizes: (n,) int64 fixed point, >= 0.
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
    # The window before it, to which rows that come late turn back now and then.
    other_start = start
    other_row = row
    other_live = np.uint64(0)
    trigger = meta[META_TRIGGER]
    overflow = np.int64(0)
    reason = ALL_TAKEN
    stop = np.uint64(len(times))
    i = np.uint64(first)
    while True:
        # Rows for open slots of the current window. Nothing is called in here, so what
        # the loop needs stays in registers.
        while i < stop:
            time = times[i]
            reached = max(highest, clocks[i])
            if reached >= trigger or np.uint64(time - start) >= live:
                break
            slot = index[windows_base + np.uint64(codes[i])]
            if slot < 0:
                break
            highest = reached
            base = np.uint64(slot) * np.uint64(SLOT)
            overflow |= _take_trade(base, time, prices[i], sizes[i], slots)
            i += np.uint64(1)
        if i >= stop:
            break
        # A row that closes windows, is for another window, or is the first of its key.
        time = times[i]
        highest = max(highest, clocks[i])
        if highest >= trigger:
            watermark = watermark_of(highest, bound)
            if not close_trade_bars(watermark, meta, table, places, index, slots, out):
                reason = NEEDS_OUT
                break
            trigger = meta[META_TRIGGER]
            other_live = np.uint64(0)
            if meta[META_CURRENT_ROW] < 0:
                live = np.uint64(0)
        if np.uint64(time - start) >= live:
            was_start, was_row, was_live = start, row, live
            if np.uint64(time - other_start) < other_live:
                # It is open, so the row is not late for it.
                meta[META_CURRENT_START] = other_start
                meta[META_CURRENT_ROW] = other_row
            else:
                turned = turn_to_window(time, highest, np.int64(i), meta, table, places, late)
                if turned == IS_LATE:
                    i += np.uint64(1)
                    continue
                if turned == IS_FULL:
                    reason = NEEDS_WINDOWS
                    break
            start = meta[META_CURRENT_START]
            row = meta[META_CURRENT_ROW]
            trigger = meta[META_TRIGGER]
            live = live_span(start, width)
            windows_base = np.uint64(row) * keys
            other_start, other_row, other_live = was_start, was_row, was_live
        slot = index[windows_base + np.uint64(codes[i])]
        if slot >= 0:
            base = np.uint64(slot) * np.uint64(SLOT)
            overflow |= _take_trade(base, time, prices[i], sizes[i], slots)
        else:
            fresh = new_slot(row, codes[i], meta, table, index, slots)
            if fresh < 0:
                reason = NEEDS_SLOTS
                break
            base = np.uint64(fresh) * np.uint64(SLOT)
            _take_first_trade(base, time, prices[i], sizes[i], slots)
        i += np.uint64(1)
    meta[META_HIGHEST] = highest
    if overflow < 0:
        meta[META_OVERFLOW] = 1
    return np.int64(i), np.int64(reason)
