"""Trades or quotes into bars on windows of event time."""

from __future__ import annotations

__all__ = ("time_bars",)

import numpy as np
from numba import int32, int64, types, uint8

from market_data_pipeline.kernels.bar_closing import QUOTES, STATE, close_windows
from market_data_pipeline.kernels.bar_revising import open_slot, was_taken
from market_data_pipeline.kernels.compiling import called, kernel
from market_data_pipeline.kernels.quote_slot import begin_quotes, take_quote
from market_data_pipeline.kernels.seldom import seldom
from market_data_pipeline.kernels.trade_slot import (
    UPDATES_ALL,
    open_trades,
    take_trade,
    take_trade_where,
)
from market_data_pipeline.kernels.windows import (
    ALL_TAKEN,
    IS_FULL,
    IS_NOT_TAKEN,
    META_BOUND,
    META_CURRENT_ROW,
    META_CURRENT_START,
    META_HIGHEST,
    META_KEYS,
    META_KIND,
    META_LIVE,
    META_OVERFLOW,
    META_PICKED,
    META_TRIGGER,
    NEEDS_OUT,
    NEEDS_SESSIONS,
    NEEDS_SLOTS,
    NEEDS_WINDOWS,
    SLOT,
    SLOT_MISSING,
    TABLE_FIRED,
    new_slot,
    turn_to_window,
    watermark_of,
)

_IN_64 = types.Array(int64, 1, "C", readonly=True)
_IN_32 = types.Array(int32, 1, "C", readonly=True)


@called
def _take_one(
    i, row, watermark, times, codes, a, b, missing, updates, meta, table, index, slots, out
):
    """Take a row into a window, whatever the row and the window are like; say what is needed."""
    slot = open_slot(row, codes[i], watermark, meta, table, index, slots, out)
    if slot < 0:
        return -slot
    base = slot * SLOT
    if meta[META_KIND] == QUOTES:
        take_quote(np.uint64(base), times[i], a[i], b[i], slots)
    else:
        counts = updates[i] if len(updates) else UPDATES_ALL
        take_trade_where(base, times[i], a[i], b[i], counts, meta, slots)
    if len(missing):
        slots[base + SLOT_MISSING] += missing[i]
    was_taken(slot, row, watermark, meta, table, slots, out)
    return ALL_TAKEN


@kernel(
    types.UniTuple(int64, 2)(
        int64,
        _IN_64,
        _IN_64,
        _IN_32,
        _IN_64,
        _IN_64,
        _IN_64,
        _IN_64,
        types.Array(uint8, 1, "C", readonly=True),
        _IN_32,
        types.Array(int64, 2, "C", readonly=True),
        *STATE,
        types.Array(int64, 1, "C"),
        types.Array(int64, 2, "C"),
    )
)
def time_bars(
    first,
    clocks,
    times,
    codes,
    a,
    b,
    missing,
    updates,
    owned,
    left_out,
    sessions,
    meta,
    table,
    places,
    index,
    slots,
    out,
    late,
    picked,
):
    """Take rows into their windows, and give bars out as the watermark moves on.

    The watermark after a row is the running maximum of `clocks`, or of `times` where there
    are none, up to it, minus `meta[META_BOUND]`. A row is late, and not taken, if its
    window ended `lateness` or more before it; if its window has ended, but not so long
    ago, its bar is revised.

    Args:
        first: Row to begin with.
        clocks: (n,) int64 watermark after each row, with bound 0; or (0,).
        times: (n,) int64 event times.
        codes: (n,) int32 symbol codes, `0 <= code < meta[META_KEYS]`.
        a: (n,) int64 fixed point: the price of trades; the bid of quotes, the largest
            int64 where there is none.
        b: (n,) int64 fixed point: the size of trades, >= 0; the ask of quotes, likewise.
        missing: (n,) int64 rows missing before each row, or (0,) if unknown.
        updates: (n,) int64 masks of what each trade counts for, or (0,) if for all.
        owned: (K,) uint8, 1 for the codes whose rows are to be taken, or (0,) for all; the
            others' rows move the watermark.
        left_out: (k,) int32 rows, rising, that are not to be taken but move the watermark;
            none where `owned` is given.
        sessions: See `kernels.windows`, as are `meta`, `table`, `places`, `index`, `slots`.
        meta: Scalars.
        table: Windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots.
        out: (OUT, O) int64, filled from column `meta[META_OUT]`.
        late: (n,) int64, filled with rows that are not taken from `meta[META_LATE]`.
        picked: (2, b) int64, for the kernel's own use: rows to be taken, and the running
            maximum after each.

    Returns:
        The first row not taken, and why: `ALL_TAKEN` or what it needs.
    """
    keys = np.uint64(meta[META_KEYS])
    bound = meta[META_BOUND]
    quotes = meta[META_KIND] == QUOTES
    implicit = len(clocks) == 0
    plain = len(missing) == 0 and len(updates) == 0
    highest = meta[META_HIGHEST]
    trigger = meta[META_TRIGGER]
    row = meta[META_CURRENT_ROW]
    start = meta[META_CURRENT_START]
    # With no current window no time may seem to fall into it.
    live = np.uint64(meta[META_LIVE]) if row >= 0 else np.uint64(0)
    windows_base = np.uint64(max(row, 0)) * keys
    # The window before it, to which rows that come late turn back now and then.
    other_start = start
    other_row = row
    other_live = np.uint64(0)
    overflow = np.int64(0)
    reason = ALL_TAKEN
    end = np.uint64(len(times))
    i = np.uint64(first)
    gap = 0
    while gap < len(left_out) and np.uint64(left_out[gap]) < i:
        gap += 1
    stop = np.uint64(left_out[gap]) if gap < len(left_out) else end
    some = len(owned) > 0
    block = i  # rows before it were looked at for `owned`
    at = found = done = 0
    most = highest
    while True:
        # Rows for open slots of the current window. Nothing is called in here, so what
        # the loop needs stays in registers.
        if some:
            while True:
                if at == found:
                    if block == stop:
                        i = stop
                        break
                    following = min(block + np.uint64(picked.shape[1] - 1), stop)
                    done += at
                    at = found = 0
                    for row_at in range(block, following):
                        # Every row is written, and stays only if the next one is not
                        # written over it: a branch would be guessed wrong.
                        most = max(most, times[row_at] if implicit else clocks[row_at])
                        picked[0, found] = row_at
                        picked[1, found] = most
                        found += owned[codes[row_at]]
                    block = following
                    continue
                i = np.uint64(picked[0, at])
                reached = picked[1, at]
                time = times[i]
                if not plain or reached >= trigger or np.uint64(time - start) >= live:
                    break
                slot = index[windows_base + np.uint64(codes[i])]
                if slot < 0:
                    break
                highest = reached
                base = np.uint64(slot) * np.uint64(SLOT)
                if quotes:
                    take_quote(base, time, a[i], b[i], slots)
                else:
                    overflow |= take_trade(base, time, a[i], b[i], slots)
                at += 1
        elif plain and not quotes and implicit:
            # A time between the start and the trigger closes nothing.
            span = np.uint64(0)
            if trigger > max(start, highest):
                span = min(live, np.uint64(trigger) - np.uint64(start))
            while i < stop:
                time = times[i]
                if seldom(np.uint64(time - start) >= span):
                    break
                slot = index[windows_base + np.uint64(codes[i])]
                if seldom(slot < 0):
                    break
                highest = max(highest, time)
                base = np.uint64(slot) * np.uint64(SLOT)
                overflow |= take_trade(base, time, a[i], b[i], slots)
                i += np.uint64(1)
        elif plain and not quotes:
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
                overflow |= take_trade(base, time, a[i], b[i], slots)
                i += np.uint64(1)
        elif plain:
            while i < stop:
                time = times[i]
                reached = max(highest, time if implicit else clocks[i])
                if reached >= trigger or np.uint64(time - start) >= live:
                    break
                slot = index[windows_base + np.uint64(codes[i])]
                if slot < 0:
                    break
                highest = reached
                take_quote(np.uint64(slot) * np.uint64(SLOT), time, a[i], b[i], slots)
                i += np.uint64(1)
        if i >= stop:
            if stop == end:
                break
            highest = max(highest, times[i] if implicit else clocks[i])
            i += np.uint64(1)
            gap += 1
            stop = np.uint64(left_out[gap]) if gap < len(left_out) else end
            continue
        # A row by which something is due, or that is for another window, the first of its
        # key, or not like most.
        time = times[i]
        highest = picked[1, at] if some else max(highest, time if implicit else clocks[i])
        watermark = watermark_of(highest, bound)
        if highest >= trigger:
            if not close_windows(watermark, meta, table, places, index, slots, out):
                reason = NEEDS_OUT
                break
            trigger = meta[META_TRIGGER]
            other_live = np.uint64(0)
            if meta[META_CURRENT_ROW] < 0:
                row = -1
                live = np.uint64(0)
        home = row
        if np.uint64(time - start) >= live:
            if np.uint64(time - other_start) < other_live:
                # It is open, so the row is not late for it.
                start, other_start = other_start, start
                home, other_row = other_row, row
                live, other_live = other_live, live
                row = home
                meta[META_CURRENT_START] = start
                meta[META_CURRENT_ROW] = row
                meta[META_LIVE] = np.int64(live)
                windows_base = np.uint64(row) * keys
            else:
                home = turn_to_window(
                    time, highest, np.int64(i), meta, table, places, sessions, late
                )
                trigger = meta[META_TRIGGER]
                if home == IS_NOT_TAKEN:
                    i += np.uint64(1)
                    at += 1
                    continue
                if home < 0:
                    reason = NEEDS_WINDOWS if home == IS_FULL else NEEDS_SESSIONS
                    break
                if not table[home, TABLE_FIRED]:
                    other_start, other_row, other_live = start, row, live
                    row = home
                    start = meta[META_CURRENT_START]
                    live = np.uint64(meta[META_LIVE])
                    windows_base = np.uint64(row) * keys
        if plain and home == row:
            slot = index[windows_base + np.uint64(codes[i])]
            if slot < 0:
                fresh = new_slot(row, codes[i], meta, table, index, slots)
                if fresh < 0:
                    reason = NEEDS_SLOTS
                    break
                slot = np.int32(fresh)
                if quotes:
                    begin_quotes(fresh * SLOT, slots)
                else:
                    open_trades(fresh * SLOT, time, a[i], slots)
            base = np.uint64(slot) * np.uint64(SLOT)
            if quotes:
                take_quote(base, time, a[i], b[i], slots)
            else:
                overflow |= take_trade(base, time, a[i], b[i], slots)
            i += np.uint64(1)
            at += 1
            continue
        reason = _take_one(
            np.int64(i),
            home,
            watermark,
            times,
            codes,
            a,
            b,
            missing,
            updates,
            meta,
            table,
            index,
            slots,
            out,
        )
        if reason != ALL_TAKEN:
            break
        i += np.uint64(1)
        at += 1
    meta[META_HIGHEST] = most if some and i == stop else highest
    meta[META_PICKED] += done + at
    if overflow < 0:
        meta[META_OVERFLOW] = 1
    return np.int64(i), np.int64(reason)
