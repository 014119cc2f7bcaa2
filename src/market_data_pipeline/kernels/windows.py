"""The table of open tumbling windows and the pool of their slots.

A *window* is an interval of event time; a *slot* is the state of one key in one window.
Both live in flat int64 arrays so that a kernel can run over them without Python:

- `meta`, (META,): the fields `META_*` below.
- `table`, (W, 4): open windows: start, first slot, last slot, number of slots; a free
  row has -1 slots. Rows do not move.
- `places`, (P,) int32: hash table from window start to row of `table`, -1 free; P is a
  power of two and at least 2 * W.
- `index`, (W * K,) int32: slot of each (window row, key code), -1 none.
- `slots`, (S * SLOT,): the slots, SLOT words each; what they hold is the kernel's
  business except the words `SLOT_KEY` and `SLOT_NEXT`.
- `out`, (OUT, O): closed slots, a column each, in the order of their windows' starts, then of the
  first row of each key.

A kernel that runs out of room stops before the row at hand and says why; the caller
makes room and lets it go on from that row.
"""

from __future__ import annotations

__all__ = (
    "ALL_TAKEN",
    "IS_FULL",
    "IS_LATE",
    "META",
    "META_BOUND",
    "META_CURRENT_ROW",
    "META_CURRENT_START",
    "META_FREE_SLOT",
    "META_HIGHEST",
    "META_KEYS",
    "META_LATE",
    "META_ORIGIN",
    "META_OUT",
    "META_OVERFLOW",
    "META_SLOTS_USED",
    "META_TRIGGER",
    "META_WIDTH",
    "META_WINDOWS",
    "NEEDS_OUT",
    "NEEDS_SLOTS",
    "NEEDS_WINDOWS",
    "NEVER",
    "SLOT",
    "SLOT_KEY",
    "SLOT_NEXT",
    "TABLE_COUNT",
    "TABLE_FIRST",
    "TABLE_LAST",
    "TABLE_START",
    "drop_window",
    "earliest_window",
    "live_span",
    "new_slot",
    "place_of",
    "set_trigger",
    "turn_to_window",
    "watermark_of",
)

import numpy as np
from numba import njit

META = 16
META_TRIGGER = 0  # running maximum of event time at which some window closes
META_CURRENT_START = 1  # start of the window that most rows fall into
META_CURRENT_ROW = 2  # its row in the table, -1 none
META_FREE_SLOT = 3  # head of the chain of freed slots, -1 none
META_SLOTS_USED = 4  # slots ever used; those beyond are fresh
META_WINDOWS = 5  # open windows
META_OUT = 6  # columns of `out` that are filled
META_LATE = 7  # rows in `late`
META_OVERFLOW = 8  # 1 if a sum left its range
META_WIDTH = 9
META_ORIGIN = 10
META_BOUND = 11
META_HIGHEST = 12  # running maximum of event time
META_KEYS = 13

TABLE_START = 0
TABLE_FIRST = 1
TABLE_LAST = 2
TABLE_COUNT = 3

SLOT = 16  # 128 bytes: two cache lines, and the offset is a shift
SLOT_KEY = 14
SLOT_NEXT = 15

ALL_TAKEN = 0
NEEDS_WINDOWS = 1
NEEDS_SLOTS = 2
NEEDS_OUT = 3

IS_FULL = -1
IS_LATE = -2

NEVER = np.iinfo(np.int64).max
_LOWEST = np.iinfo(np.int64).min


@njit(inline="always")
def watermark_of(highest, bound):
    """Return the watermark for a running maximum of event time, without wrapping round."""
    return max(highest, _LOWEST + bound) - bound


@njit(inline="always")
def _window_start(time, origin, width):
    """Return the start of the window that holds a time; floors, also before the origin.

    `0 <= origin < width`, so `time - origin` can only wrap below the lowest window.
    """
    if time < _LOWEST + width + origin:
        # The window that holds the lowest times is cut short rather than wrapped round.
        return _LOWEST
    offset = time - origin
    rest = offset % width
    return time - rest


@njit(inline="always")
def _hash(start, mask):
    mixed = np.uint64(start) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed >> np.uint64(33)) & np.uint64(mask))


def place_of(start: int, mask: int) -> int:
    """Return where the search for a window begins in `places`, for use outside kernels."""
    return ((start * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 33) & mask


@njit(inline="never")
def _enter_window(start, meta, table, places):
    """Return the row of the window with a start, opening it; -1 if the table is full."""
    mask = len(places) - 1
    at = _hash(start, mask)
    while places[at] >= 0:
        row = places[at]
        if table[row, TABLE_START] == start:
            return row
        at = (at + 1) & mask
    if meta[META_WINDOWS] == len(table):
        return -1
    row = 0
    while table[row, TABLE_COUNT] >= 0:
        row += 1
    places[at] = row
    table[row, TABLE_START] = start
    table[row, TABLE_FIRST] = -1
    table[row, TABLE_LAST] = -1
    table[row, TABLE_COUNT] = 0
    meta[META_WINDOWS] += 1
    return row


@njit(inline="never")
def turn_to_window(time, highest, position, meta, table, places, late):
    """Make the window of a row the current one.

    Args:
        time: Event time of the row.
        highest: Running maximum of event time, this row included.
        position: Where the row stands in its batch.
        meta: See above, as are `table` and `places`.
        table: Open windows.
        places: Rows of `table` by window start.
        late: Positions of late rows, filled from `meta[META_LATE]`.

    Returns:
        Row of the window; `IS_LATE` if the row is late and was noted in `late`, `IS_FULL`
        if the window is not open and no other can be opened.
    """
    width = meta[META_WIDTH]
    bound = meta[META_BOUND]
    start = _window_start(time, meta[META_ORIGIN], width)
    if start <= NEVER - width and start + width <= watermark_of(highest, bound):
        late[meta[META_LATE]] = position
        meta[META_LATE] += 1
        return IS_LATE
    row = _enter_window(start, meta, table, places)
    if row >= 0:
        meta[META_CURRENT_START] = start
        meta[META_CURRENT_ROW] = row
        if start <= NEVER - width - bound:
            meta[META_TRIGGER] = min(meta[META_TRIGGER], start + width + bound)
    return row


@njit(inline="always")
def live_span(start, width):
    """Return how far from its start the times of a window go, uint64; cut at the last time."""
    return min(np.uint64(width), np.uint64(NEVER - start) + np.uint64(1))


@njit(inline="never")
def drop_window(row, meta, table, places):
    """Free the row of a window all of whose slots are gone."""
    mask = len(places) - 1
    at = _hash(table[row, TABLE_START], mask)
    while places[at] != row:
        at = (at + 1) & mask
    # Close the gap, so that a later look-up does not stop short of what was behind it.
    free = at
    while True:
        at = (at + 1) & mask
        if places[at] < 0:
            break
        home = _hash(table[places[at], TABLE_START], mask)
        if ((at - home) & mask) >= ((at - free) & mask):
            places[free] = places[at]
            free = at
    places[free] = -1
    table[row, TABLE_COUNT] = -1
    meta[META_WINDOWS] -= 1
    if meta[META_CURRENT_ROW] == row:
        meta[META_CURRENT_ROW] = -1


@njit(inline="never")
def earliest_window(table):
    """Return the row of the open window that starts first, -1 if none is open."""
    best = -1
    for row in range(len(table)):
        if table[row, TABLE_COUNT] >= 0 and (
            best < 0 or table[row, TABLE_START] < table[best, TABLE_START]
        ):
            best = row
    return best


@njit(inline="never")
def set_trigger(meta, table):
    """Work out the running maximum of event time at which the next window closes."""
    row = earliest_window(table)
    meta[META_TRIGGER] = NEVER
    if row >= 0:
        start = table[row, TABLE_START]
        wait = meta[META_WIDTH] + meta[META_BOUND]
        if start <= NEVER - wait:
            meta[META_TRIGGER] = start + wait


@njit(inline="always")
def new_slot(row, code, meta, table, index, slots):
    """Return a slot for a key in a window, chained to its others; -1 if the pool is empty."""
    slot = meta[META_FREE_SLOT]
    if slot >= 0:
        meta[META_FREE_SLOT] = slots[slot * SLOT + SLOT_NEXT]
    else:
        slot = meta[META_SLOTS_USED]
        if (slot + 1) * SLOT > len(slots):
            return -1
        meta[META_SLOTS_USED] = slot + 1
    index[row * meta[META_KEYS] + code] = slot
    base = slot * SLOT
    slots[base + SLOT_KEY] = code
    slots[base + SLOT_NEXT] = -1
    last = table[row, TABLE_LAST]
    if last < 0:
        table[row, TABLE_FIRST] = slot
    else:
        slots[last * SLOT + SLOT_NEXT] = slot
    table[row, TABLE_LAST] = slot
    table[row, TABLE_COUNT] += 1
    return slot
