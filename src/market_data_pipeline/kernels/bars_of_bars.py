"""Bars into bars on longer windows of event time."""

from __future__ import annotations

__all__ = ("bars_of_bars",)

import numpy as np
from numba import int32, int64, types, uint8

from market_data_pipeline.kernels.bar_closing import QUOTES, STATE, close_windows
from market_data_pipeline.kernels.bar_revising import open_slot, was_taken
from market_data_pipeline.kernels.bar_slot import CARRIED, carry
from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.quote_slot import take_quote_bar
from market_data_pipeline.kernels.trade_slot import take_trade_bar
from market_data_pipeline.kernels.windows import (
    ALL_TAKEN,
    IS_FULL,
    IS_NOT_TAKEN,
    LIES_IN_TWO,
    META_BOUND,
    META_CURRENT_ROW,
    META_CURRENT_START,
    META_HIGHEST,
    META_KIND,
    META_LIVE,
    META_PICKED,
    META_TRIGGER,
    NEEDS_OUT,
    NEEDS_SESSIONS,
    NEEDS_WINDOWS,
    SLOT,
    TABLE_END,
    turn_to_window,
    watermark_of,
)

_IN = types.Array(int64, 1, "C", readonly=True)
_TABLE = types.Array(int64, 2, "C", readonly=True)


@kernel(
    types.UniTuple(int64, 2)(
        int64,
        _IN,
        _IN,
        types.Array(int32, 1, "C", readonly=True),
        _IN,
        _TABLE,
        types.Array(uint8, 1, "C", readonly=True),
        types.Array(int32, 1, "C", readonly=True),
        _TABLE,
        *STATE,
        types.Array(int64, 1, "C"),
        types.Array(int64, 2, "C"),
    )
)
def bars_of_bars(
    first,
    clocks,
    times,
    codes,
    closes,
    values,
    owned,
    _left_out,
    sessions,
    meta,
    table,
    places,
    index,
    slots,
    out,
    late,
    _picked,
):
    """Take bars into windows, and give their bars out as the watermark moves on.

    As `time_bars`, but a row is a bar: it has a length, which must lie in one window, and
    a certificate.

    Args:
        first: Row to begin with.
        clocks: (n,) int64 watermark after each row, with bound 0; or (0,).
        times: (n,) int64 starts.
        codes: (n,) int32 symbol codes, `0 <= code < meta[META_KEYS]`.
        closes: (n,) int64 ends.
        values: (v, n) int64: the certificate as `bar_slot.carry` has it, then what
            `take_trade_bar` or `take_quote_bar` takes.
        owned: (K,) uint8, 1 for the codes whose rows are to be taken, or (0,) for all; the
            others' rows move the watermark.
        _left_out: (0,) int32, not used.
        sessions: See `kernels.windows`, as are `meta`, `table`, `places`, `index`, `slots`.
        meta: Scalars.
        table: Windows.
        places: Rows of `table` by window start.
        index: Slots by window row and key.
        slots: The pool of slots, two for each key.
        out: (OUT, O) int64, filled from column `meta[META_OUT]`.
        late: (n,) int64, filled with rows that are not taken from `meta[META_LATE]`.
        _picked: (2, b) int64, not used.

    Returns:
        The first row not taken, and why: `ALL_TAKEN`, what it needs, or `LIES_IN_TWO`.
    """
    implicit = len(clocks) == 0
    i = first
    while i < len(times):
        time = times[i]
        highest = max(meta[META_HIGHEST], time if implicit else clocks[i])
        meta[META_HIGHEST] = highest
        watermark = watermark_of(highest, meta[META_BOUND])
        if highest >= meta[META_TRIGGER] and not close_windows(
            watermark, meta, table, places, index, slots, out
        ):
            return i, np.int64(NEEDS_OUT)
        if len(owned) and not owned[codes[i]]:
            i += 1
            continue
        row = meta[META_CURRENT_ROW]
        if row < 0 or np.uint64(time - meta[META_CURRENT_START]) >= np.uint64(meta[META_LIVE]):
            row = turn_to_window(time, highest, i, meta, table, places, sessions, late)
            if row == IS_NOT_TAKEN:
                meta[META_PICKED] += 1
                i += 1
                continue
            if row < 0:
                return i, np.int64(NEEDS_WINDOWS if row == IS_FULL else NEEDS_SESSIONS)
        if closes[i] > table[row, TABLE_END]:
            return i, np.int64(LIES_IN_TWO)
        slot = open_slot(row, codes[i], watermark, meta, table, index, slots, out)
        if slot < 0:
            return i, -slot
        if meta[META_KIND] & QUOTES:
            take_quote_bar(slot * SLOT, time, i, CARRIED, values, slots)
        else:
            take_trade_bar(slot * SLOT, time, i, CARRIED, values, meta, slots)
        carry(slot * SLOT, i, values, meta, slots)
        was_taken(slot, row, watermark, meta, table, slots, out)
        meta[META_PICKED] += 1
        i += 1
    return i, np.int64(ALL_TAKEN)
