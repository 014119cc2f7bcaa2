"""Bars given out when their windows end, and when they are final."""

from __future__ import annotations

__all__ = ("OF_BARS", "QUOTES", "STATE", "TRADES", "close_windows", "is_empty_bar", "write_bar")

from numba import boolean, int32, int64, types

from market_data_pipeline.kernels.bar_slot import write_carried
from market_data_pipeline.kernels.compiling import called, inlined, kernel
from market_data_pipeline.kernels.quote_slot import write_quotes
from market_data_pipeline.kernels.trade_slot import COUNT, write_trades
from market_data_pipeline.kernels.windows import (
    AS_FINAL,
    AS_RETRACTION,
    META_CURRENT_ROW,
    META_KIND,
    META_LATENESS,
    META_MODE,
    META_OUT,
    META_RESUME,
    MODE_FINAL,
    MODE_RETRACT,
    MODE_UPSERT,
    NEVER,
    OUT_END,
    OUT_FLAGS,
    OUT_KEY,
    OUT_LATE,
    OUT_MARK,
    OUT_MISSING,
    OUT_REVISION,
    OUT_START,
    SLOT,
    SLOT_LATE,
    SLOT_LINK,
    SLOT_MISSING,
    TABLE_END,
    TABLE_FIRED,
    TABLE_FIRST,
    TABLE_START,
    drop_window,
    free_slot,
    key_of,
    next_event,
    next_of,
    set_trigger,
)

TRADES = 0
QUOTES = 1
OF_BARS = 2
"""What rows are, in `META_KIND`: trades or quotes, or bars of them."""

STATE = (
    types.Array(int64, 1, "C"),  # meta
    types.Array(int64, 2, "C"),  # table
    types.Array(int32, 1, "C"),  # places
    types.Array(int32, 1, "C"),  # index
    types.Array(int64, 1, "C"),  # slots
    types.Array(int64, 2, "C"),  # out
)


@inlined
def _write_here(slot, row, mark, flags, meta, table, slots, out):
    at = meta[META_OUT]
    base = slot * SLOT
    if meta[META_KIND] & QUOTES:
        write_quotes(base, at, slots, out)
    else:
        write_trades(base, at, meta, slots, out)
    if meta[META_KIND] & OF_BARS:
        write_carried(base, at, slots, out)
    out[OUT_KEY, at] = key_of(slots[base + SLOT_LINK])
    out[OUT_START, at] = table[row, TABLE_START]
    out[OUT_END, at] = table[row, TABLE_END]
    out[OUT_MARK, at] = mark
    out[OUT_REVISION, at] = slots[base + SLOT_LATE] >> 32
    out[OUT_LATE, at] = slots[base + SLOT_LATE] & 0xFFFFFFFF
    out[OUT_MISSING, at] = slots[base + SLOT_MISSING]
    out[OUT_FLAGS, at] = flags
    meta[META_OUT] = at + 1


@called
def write_bar(slot, row, mark, flags, meta, table, slots, out):
    """Give a bar out as it stands."""
    _write_here(slot, row, mark, flags, meta, table, slots, out)


@inlined
def is_empty_bar(slot, meta, slots):
    """Tell whether every trade of a bar was cancelled."""
    return meta[META_KIND] == TRADES and slots[slot * SLOT + COUNT] == 0


@called
def _give_first(row, mark, meta, table, slots, out):
    """Give out the bars of a window that may yet change; False if `out` is full."""
    if meta[META_MODE] != MODE_FINAL:
        slot = meta[META_RESUME]
        if slot < 0:
            slot = table[row, TABLE_FIRST]
        while slot >= 0:
            if meta[META_OUT] == out.shape[1]:
                meta[META_RESUME] = slot
                return False
            if not is_empty_bar(slot, meta, slots):
                write_bar(slot, row, mark, 0, meta, table, slots, out)
            slot = next_of(slots[slot * SLOT + SLOT_LINK])
        meta[META_RESUME] = -1
    table[row, TABLE_FIRED] = 1
    if meta[META_CURRENT_ROW] == row:
        meta[META_CURRENT_ROW] = -1
    return True


@called
def _give_last(row, mark, meta, table, index, slots, out):
    """Give out the bars of a window for good, and free them; False if `out` is full."""
    takes_back = meta[META_MODE] == MODE_RETRACT and table[row, TABLE_FIRED]
    while table[row, TABLE_FIRST] >= 0:
        if meta[META_OUT] + 1 + takes_back > out.shape[1]:
            return False
        slot = table[row, TABLE_FIRST]
        if not is_empty_bar(slot, meta, slots):
            if takes_back:
                write_bar(slot, row, mark, AS_RETRACTION, meta, table, slots, out)
            _write_here(slot, row, mark, AS_FINAL, meta, table, slots, out)
        elif meta[META_MODE] == MODE_UPSERT and slots[slot * SLOT + SLOT_LATE] >> 32:
            # It was given out before, so it must be told that nothing is left of it.
            write_bar(slot, row, mark, AS_FINAL, meta, table, slots, out)
        free_slot(row, meta, table, index, slots)
    return True


@kernel(boolean(int64, *STATE))
def close_windows(watermark, meta, table, places, index, slots, out):
    """Work off what is due for windows at a watermark.

    Args:
        watermark: int64 nanoseconds; the largest int64 closes every window for good.
        meta: See `kernels.windows`, as are `table`, `places`, `index` and `slots`.
        table: Windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots.
        out: (OUT, O) int64, filled from column `meta[META_OUT]`.

    Returns:
        True if done, False if `out` is full.
    """
    while True:
        row, due = next_event(meta, table)
        if row < 0 or due > watermark:
            break
        mark = due - 1
        if table[row, TABLE_FIRED] or meta[META_LATENESS] == 0 or watermark == NEVER:
            if not _give_last(row, mark, meta, table, index, slots, out):
                return False
            drop_window(row, meta, table, places)
        elif not _give_first(row, mark, meta, table, slots, out):
            return False
    set_trigger(meta, table)
    return True
