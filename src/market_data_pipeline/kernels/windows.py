"""The table of open windows of event time and the pool of their slots.

A *window* is an interval of event time; a *slot* is the state of one key in one window.
Both live in flat int64 arrays so that a kernel can run over them without Python:

- `meta`, (META,): the fields `META_*` below.
- `table`, (W, TABLE): open windows, the fields `TABLE_*`; a free row has -1 slots. Rows do
  not move.
- `places`, (P,) int32: hash table from window start to row of `table`, -1 free; P is a
  power of two and at least 2 * W.
- `index`, (W * K,) int32: slot of each (window row, key code), -1 none.
- `slots`, (S * SLOT,): the slots, SLOT words each, aligned to cache lines. The first eight
  words are those that nearly every row touches; what they hold is the kernel's business.
  A kernel that needs more words gives each key `META_STEP` slots in a row.
- `sessions`, (SESSION, I): where time is divided by a calendar: the intervals of trading.
  Without a calendar I is 0.
- `out`, (OUT, O): bars given out, a column each.
- `late`, (n,): positions of rows that were not taken: `i` if row i came late, `~i` if it
  lies outside the sessions.

A window is *open* until the watermark reaches its end, then *revisable* for `lateness`
longer. Each of the two ends is an event; events are worked off in the order of their
times, those of one time in the order of the windows' starts. A kernel that runs out of
room stops before the row at hand and says why; the caller makes room and lets it go on
from that row.
"""

from __future__ import annotations

__all__ = (
    "ALL_TAKEN",
    "AS_FILLED",
    "AS_FINAL",
    "AS_RETRACTION",
    "IS_FULL",
    "IS_NOT_TAKEN",
    "IS_UNCOVERED",
    "LIES_IN_TWO",
    "META",
    "META_BOUND",
    "META_CALENDAR",
    "META_COVERED_FROM",
    "META_COVERED_TO",
    "META_CURRENT_ROW",
    "META_CURRENT_START",
    "META_FREE_SLOT",
    "META_HIGHEST",
    "META_KEYS",
    "META_LATE",
    "META_LATENESS",
    "META_LIVE",
    "META_MODE",
    "META_ORIGIN",
    "META_OUT",
    "META_OVERFLOW",
    "META_PICKED",
    "META_KIND",
    "META_RESUME",
    "META_SESSION",
    "META_SLOTS_USED",
    "META_STEP",
    "META_TRIGGER",
    "META_WIDTH",
    "META_WINDOWS",
    "MODE_FINAL",
    "MODE_RETRACT",
    "MODE_UPSERT",
    "NEEDS_OUT",
    "NEEDS_SESSIONS",
    "NEEDS_SLOTS",
    "NEEDS_WINDOWS",
    "NEVER",
    "OUT",
    "OUT_COUNT",
    "OUT_END",
    "OUT_FLAGS",
    "OUT_GAP",
    "OUT_KEY",
    "OUT_LATE",
    "OUT_MARK",
    "OUT_MISSING",
    "OUT_RANK",
    "OUT_REVISION",
    "OUT_ROWS",
    "OUT_SESSION",
    "OUT_START",
    "OUT_VALUES",
    "SESSION",
    "SESSION_CLOSE",
    "SESSION_END",
    "SESSION_OPEN",
    "SESSION_START",
    "SLOT",
    "SLOT_LATE",
    "SLOT_LINK",
    "SLOT_MISSING",
    "TABLE",
    "TABLE_COUNT",
    "TABLE_END",
    "TABLE_FIRED",
    "TABLE_FIRST",
    "TABLE_LAST",
    "TABLE_START",
    "drop_window",
    "find_window",
    "free_slot",
    "key_of",
    "new_slot",
    "next_event",
    "next_of",
    "place_of",
    "set_trigger",
    "turn_to_window",
    "watermark_of",
)

import numpy as np

from market_data_pipeline.kernels.compiling import called, inlined

META = 32
META_TRIGGER = 0  # running maximum of event time at which the next event is due
META_CURRENT_START = 1  # first time of the stretch that most rows fall into
META_CURRENT_ROW = 2  # row of the table of its window, -1 none
META_LIVE = 3  # length of the stretch
META_FREE_SLOT = 4  # head of the chain of freed slots, -1 none
META_SLOTS_USED = 5  # slots ever used; those beyond are fresh
META_WINDOWS = 6  # windows in the table
META_OUT = 7  # columns of `out` that are filled
META_LATE = 8  # rows in `late`
META_OVERFLOW = 9  # 1 if a sum left its range
META_WIDTH = 10
META_ORIGIN = 11
META_BOUND = 12
META_HIGHEST = 13  # running maximum of event time
META_KEYS = 14
META_LATENESS = 15
META_MODE = 16
META_KIND = 17  # what a slot holds; the kernel's business
META_RESUME = 18  # slot to go on with in a window that is being given out, -1 none
META_CALENDAR = 19  # 1 if `sessions` divide time
META_COVERED_FROM = 20  # times for which `sessions` are known
META_COVERED_TO = 21
META_SESSION = 22  # the interval found last
META_PICKED = 23  # rows looked at, those of others left out
META_STEP = 24  # slots in a row that a key takes

TABLE = 6
TABLE_START = 0
TABLE_FIRST = 1
TABLE_LAST = 2
TABLE_COUNT = 3
TABLE_END = 4
TABLE_FIRED = 5  # 1 once the watermark has reached the end

SLOT = 16  # 128 bytes: two cache lines, and the offset is a shift
SLOT_LINK = 8  # key, and the slot that follows in the window
SLOT_LATE = 9  # revisions, and rows that came late
SLOT_MISSING = 10

SESSION = 4
SESSION_OPEN = 0
SESSION_CLOSE = 1
SESSION_START = 2  # what the windows in it are anchored to
SESSION_END = 3  # where they are cut

OUT = 21
OUT_KEY = 0
OUT_START = 1
OUT_END = 2
OUT_MARK = 3  # watermark of the rows after which it was given out
OUT_COUNT = 4
OUT_REVISION = 5
OUT_LATE = 6
OUT_MISSING = 7
OUT_FLAGS = 8
OUT_VALUES = 9  # the first of up to eight
OUT_ROWS = 17  # these four of bars that are made of bars
OUT_GAP = 18
OUT_RANK = 19
OUT_SESSION = 20

AS_FINAL = 1
AS_RETRACTION = 2
AS_FILLED = 4

MODE_UPSERT = 0
MODE_RETRACT = 1
MODE_FINAL = 2

ALL_TAKEN = 0
NEEDS_WINDOWS = 1
NEEDS_SLOTS = 2
NEEDS_OUT = 3
NEEDS_SESSIONS = 4
LIES_IN_TWO = 5  # nothing helps: the row at hand lies in two windows

IS_FULL = -1
IS_NOT_TAKEN = -2
IS_UNCOVERED = -3

NEVER = np.iinfo(np.int64).max
_LOWEST = np.iinfo(np.int64).min


@inlined
def watermark_of(highest, bound):
    """Return the watermark for a running maximum of event time, without wrapping round."""
    return max(highest, _LOWEST + bound) - bound


@inlined
def _later(time, span):
    """Return `time + span`, cut at the largest time; `span >= 0`."""
    return time + span if time <= NEVER - span else NEVER


@inlined
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


@inlined
def _hash(start, mask):
    mixed = np.uint64(start) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed >> np.uint64(33)) & np.uint64(mask))


def place_of(start: int, mask: int) -> int:
    """Return where the search for a window begins in `places`, for use outside kernels."""
    return ((start * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 33) & mask


@called
def _session_of(time, meta, sessions):
    """Return the interval of trading that holds a time, -1 if none does."""
    at = meta[META_SESSION]
    count = sessions.shape[1]
    if 0 <= at < count and sessions[SESSION_OPEN, at] <= time < sessions[SESSION_CLOSE, at]:
        return at
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if sessions[SESSION_CLOSE, middle] <= time:
            low = middle + 1
        else:
            high = middle
    if low == count or sessions[SESSION_OPEN, low] > time:
        return -1
    meta[META_SESSION] = low
    return low


@called
def find_window(start, table, places):
    """Return the row of the window with a start, -1 if it is not there."""
    mask = len(places) - 1
    at = _hash(start, mask)
    while places[at] >= 0:
        row = places[at]
        if table[row, TABLE_START] == start:
            return row
        at = (at + 1) & mask
    return -1


@called
def _enter_window(start, end, fired, meta, table, places):
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
    table[row, TABLE_END] = end
    table[row, TABLE_FIRED] = 1 if fired else 0
    meta[META_WINDOWS] += 1
    return row


@inlined
def _event_of(row, meta, table):
    """Return the watermark at which something is due for a window."""
    end = table[row, TABLE_END]
    return _later(end, meta[META_LATENESS]) if table[row, TABLE_FIRED] else end


@called
def next_event(meta, table):
    """Return the window whose event is due first, and when; (-1, never) if none is."""
    best = -1
    due = NEVER
    for row in range(len(table)):
        if table[row, TABLE_COUNT] >= 0:
            event = _event_of(row, meta, table)
            if (
                best < 0
                or event < due
                or (event == due and table[row, TABLE_START] < table[best, TABLE_START])
            ):
                best = row
                due = event
    return best, due


@called
def set_trigger(meta, table):
    """Work out the running maximum of event time at which the next event is due."""
    row, due = next_event(meta, table)
    meta[META_TRIGGER] = NEVER
    if row >= 0:
        meta[META_TRIGGER] = _later(due, meta[META_BOUND])


@called
def turn_to_window(time, highest, position, meta, table, places, sessions, late):
    """Find the window of a row, and make it the current one if it is open.

    Args:
        time: Event time of the row.
        highest: Running maximum of event time, this row included.
        position: Where the row stands in its batch.
        meta: See above, as are `table`, `places` and `sessions`.
        table: Windows.
        places: Rows of `table` by window start.
        sessions: Intervals of trading.
        late: Positions of rows that are not taken, filled from `meta[META_LATE]`.

    Returns:
        Row of the window; `IS_NOT_TAKEN` if the row was noted in `late`, `IS_FULL` if the
        window is not there and no other can be opened, `IS_UNCOVERED` if sessions around
        the time are not known.
    """
    width = meta[META_WIDTH]
    first = _LOWEST
    live = NEVER
    if meta[META_CALENDAR]:
        if time < meta[META_COVERED_FROM] or time >= meta[META_COVERED_TO]:
            return IS_UNCOVERED
        at = _session_of(time, meta, sessions)
        if at < 0:
            late[meta[META_LATE]] = ~position
            meta[META_LATE] += 1
            return IS_NOT_TAKEN
        first = sessions[SESSION_OPEN, at]
        live = sessions[SESSION_CLOSE, at]
        start = sessions[SESSION_START, at]
        start = time - (time - start) % width
        end = min(_later(start, width), sessions[SESSION_END, at])
    else:
        start = _window_start(time, meta[META_ORIGIN], width)
        end = _later(start, width)
    watermark = watermark_of(highest, meta[META_BOUND])
    if end < NEVER and _later(end, meta[META_LATENESS]) <= watermark:
        late[meta[META_LATE]] = position
        meta[META_LATE] += 1
        return IS_NOT_TAKEN
    fired = end < NEVER and end <= watermark
    row = _enter_window(start, end, fired, meta, table, places)
    if row >= 0:
        meta[META_TRIGGER] = min(
            meta[META_TRIGGER], _later(_event_of(row, meta, table), meta[META_BOUND])
        )
        if not fired:
            meta[META_CURRENT_ROW] = row
            meta[META_CURRENT_START] = max(start, first)
            live = min(end, live)
            # A stretch that ends with time itself holds its last instant too.
            meta[META_LIVE] = live - meta[META_CURRENT_START] + (1 if live == NEVER else 0)
    return row


@called
def drop_window(row, meta, table, places):
    """Free the row of a window all of whose slots are gone."""
    mask = len(places) - 1
    at = _hash(table[row, TABLE_START], mask)
    while places[at] != row:
        at = (at + 1) & mask
    # Close the gap, so that every window stays reachable from its place.
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


@inlined
def key_of(link):
    """Return the key in a `SLOT_LINK`."""
    return link >> 32


@inlined
def next_of(link):
    """Return the slot that follows, in a `SLOT_LINK`; -1 none."""
    return (link & 0xFFFFFFFF) - 1


@inlined
def _link(key, following):
    return (np.int64(key) << 32) | (following + 1)


@inlined
def new_slot(row, code, meta, table, index, slots):
    """Return a slot for a key in a window, chained to its others; -1 if the pool is empty."""
    slot = meta[META_FREE_SLOT]
    if slot >= 0:
        meta[META_FREE_SLOT] = next_of(slots[slot * SLOT + SLOT_LINK])
    else:
        slot = meta[META_SLOTS_USED]
        if (slot + meta[META_STEP]) * SLOT > len(slots):
            return -1
        meta[META_SLOTS_USED] = slot + meta[META_STEP]
    index[row * meta[META_KEYS] + code] = slot
    base = slot * SLOT
    slots[base + SLOT_LINK] = _link(code, -1)
    slots[base + SLOT_LATE] = 0
    slots[base + SLOT_MISSING] = 0
    last = table[row, TABLE_LAST]
    if last < 0:
        table[row, TABLE_FIRST] = slot
    else:
        link = slots[last * SLOT + SLOT_LINK]
        slots[last * SLOT + SLOT_LINK] = _link(key_of(link), slot)
    table[row, TABLE_LAST] = slot
    table[row, TABLE_COUNT] += 1
    return slot


@inlined
def free_slot(row, meta, table, index, slots):
    """Free the first slot of a window."""
    slot = table[row, TABLE_FIRST]
    base = slot * SLOT
    link = slots[base + SLOT_LINK]
    index[row * meta[META_KEYS] + key_of(link)] = -1
    table[row, TABLE_FIRST] = next_of(link)
    slots[base + SLOT_LINK] = _link(0, meta[META_FREE_SLOT])
    meta[META_FREE_SLOT] = slot
