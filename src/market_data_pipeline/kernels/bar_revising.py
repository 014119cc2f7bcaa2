"""Bars of windows that have ended, changed by a row that comes late or by a correction."""

from __future__ import annotations

__all__ = ("open_slot", "revise_bar", "was_taken")

import numpy as np
from numba import boolean, int64, types

from market_data_pipeline.kernels.bar_closing import (
    OF_BARS,
    QUOTES,
    STATE,
    is_empty_bar,
    write_bar,
)
from market_data_pipeline.kernels.bar_slot import begin_carried
from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.quote_slot import begin_quotes
from market_data_pipeline.kernels.trade_slot import UPDATES_ALL, begin_trades, take_trade_where
from market_data_pipeline.kernels.windows import (
    AS_RETRACTION,
    META_KEYS,
    META_KIND,
    META_MODE,
    META_OUT,
    MODE_FINAL,
    MODE_RETRACT,
    MODE_UPSERT,
    NEEDS_OUT,
    NEEDS_SLOTS,
    SLOT,
    SLOT_LATE,
    SLOT_MISSING,
    TABLE_FIRED,
    find_window,
    new_slot,
)

_IN_64 = types.Array(int64, 1, "C", readonly=True)


@inlined
def open_slot(row, code, watermark, meta, table, index, slots, out):
    """Return the slot of a key in a window for one more row; negative what is needed.

    If the window has ended, room is made in `out` for what the row changes, and what was
    given out before is taken back.
    """
    slot = np.int64(index[row * meta[META_KEYS] + code])
    gives = table[row, TABLE_FIRED] != 0
    given = gives and meta[META_MODE] != MODE_FINAL
    if given and meta[META_OUT] + 2 > out.shape[1]:
        return np.int64(-NEEDS_OUT)
    if slot >= 0:
        is_empty = is_empty_bar(slot, meta, slots)
        if given and meta[META_MODE] == MODE_RETRACT and not is_empty:
            write_bar(slot, row, watermark, AS_RETRACTION, meta, table, slots, out)
        # What was empty before its window ended was never given out.
        if gives and not (is_empty and slots[slot * SLOT + SLOT_LATE] >> 32 == 0):
            slots[slot * SLOT + SLOT_LATE] += 1 << 32
        return slot
    slot = new_slot(row, code, meta, table, index, slots)
    if slot < 0:
        return np.int64(-NEEDS_SLOTS)
    if meta[META_KIND] & QUOTES:
        begin_quotes(slot * SLOT, slots)
    else:
        begin_trades(slot * SLOT, slots)
    if meta[META_KIND] & OF_BARS:
        begin_carried(slot * SLOT, slots)
    return slot


@inlined
def was_taken(slot, row, watermark, meta, table, slots, out):
    """Count a row that came after its window had ended, and give the bar out anew."""
    if table[row, TABLE_FIRED]:
        slots[slot * SLOT + SLOT_LATE] += 1
        if meta[META_MODE] != MODE_FINAL:
            write_bar(slot, row, watermark, 0, meta, table, slots, out)


@kernel(boolean(int64, int64, int64, *(_IN_64,) * 5, *STATE))
def revise_bar(
    code,
    start,
    watermark,
    times,
    prices,
    sizes,
    missing,
    updates,
    meta,
    table,
    places,
    index,
    slots,
    out,
):
    """Make the bar of a key anew from its trades; give it out if it was given out before.

    Args:
        code: The key.
        start: Start of a window.
        watermark: Where event time stands.
        times: (k,) int64 event times of its trades, in the order of arrival.
        prices: (k,) int64 fixed point.
        sizes: (k,) int64 fixed point.
        missing: (m,) int64 rows missing before these and others that are no trades any
            more, or never were, or (0,).
        updates: (k,) int64 masks of what each counts for, or (0,).
        meta: See `kernels.windows`, as are `table`, `places`, `index` and `slots`.
        table: Windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots.
        out: (OUT, O) int64 with room for two columns.

    Returns:
        False if the key has no slot in the window, or the window is gone.
    """
    row = find_window(start, table, places)
    if row < 0:
        return False
    slot = np.int64(index[row * meta[META_KEYS] + code])
    if slot < 0:
        return False
    base = slot * SLOT
    was_empty = is_empty_bar(slot, meta, slots)
    fired = table[row, TABLE_FIRED] != 0 and not (was_empty and len(times) == 0)
    given = fired and meta[META_MODE] != MODE_FINAL
    if given and meta[META_MODE] == MODE_RETRACT and not was_empty:
        write_bar(slot, row, watermark, AS_RETRACTION, meta, table, slots, out)
    if fired:
        slots[base + SLOT_LATE] += 1 << 32
    begin_trades(base, slots)
    slots[base + SLOT_MISSING] = 0
    for i in range(len(times)):
        counts = updates[i] if len(updates) else UPDATES_ALL
        take_trade_where(base, times[i], prices[i], sizes[i], counts, meta, slots)
    for i in range(len(missing)):
        slots[base + SLOT_MISSING] += missing[i]
    if given and (meta[META_MODE] == MODE_UPSERT or not is_empty_bar(slot, meta, slots)):
        write_bar(slot, row, watermark, 0, meta, table, slots, out)
    return True
