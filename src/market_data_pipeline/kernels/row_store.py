"""Rows of each key in order of event time, and when something of a key is due.

Kernels of windows share these arrays:

- `meta`, (META,) int64: the fields `META_*` below.
- `slots`, (S, SLOT) int64: a slot per key that has rows; see `SLOT_*`.
- `arena`, (A, W) int64: the rows. A row is `W` words: event time, a mark of the kernel's
  own, then the columns that aggregates read; floats by their bits. The rows of a slot
  stand together at `[SLOT_HEAD, SLOT_TAIL)`, ascending by (event time, arrival).
- `heap`, (H, 3) int64: a binary heap of (due, birth of the slot, slot * 2 + kind). An
  entry counts only if the slot still has this due time for this kind; others are left
  behind where a due time moved, and dropped when they come up.

A kernel that runs out of room stops before the row or event at hand and says why; the
caller makes room and lets it go on.
"""

from __future__ import annotations

__all__ = (
    "ALL_TAKEN",
    "FINAL",
    "FIRE",
    "LOWEST",
    "META",
    "META_ARENA",
    "META_DEAD",
    "META_DROPPED",
    "META_GATHERED",
    "META_HEAP",
    "META_INCOMPLETE",
    "META_LATE",
    "META_OUT",
    "META_OUTSIDE",
    "META_OVERFLOW",
    "META_ROWS_SEEN",
    "META_WANTED",
    "META_WATERMARK",
    "NEEDS_ARENA",
    "NEEDS_GATHER",
    "NEEDS_HEAP",
    "NEEDS_OUT",
    "NEVER",
    "ROW_MARK",
    "ROW_TIME",
    "ROW_VALUES",
    "SLOT",
    "SLOT_BASE",
    "SLOT_BIRTH",
    "SLOT_CAPACITY",
    "SLOT_DUE",
    "SLOT_FIRST",
    "SLOT_HEAD",
    "SLOT_SECOND",
    "SLOT_START",
    "SLOT_TAIL",
    "SLOT_USED",
    "add_capped",
    "drop_rows",
    "insert_row",
    "load_rows",
    "is_current",
    "lower_bound",
    "pop_due",
    "push_due",
    "prune_due",
    "repack",
    "room_for_row",
    "room_needed",
    "subtract_capped",
)

import numpy as np
from numba import int64, types

from market_data_pipeline.kernels.compiling import called, inlined, kernel
from market_data_pipeline.kernels.copy_items import move_rows

META = 16
META_WATERMARK = 0
META_ARENA = 1  # rows of the arena in use, garbage included
META_ROWS_SEEN = 2  # rows taken so far; gives births
META_HEAP = 3  # entries in the heap
META_OUT = 4  # rows of `out` that are filled
META_GATHERED = 5  # rows copied out for functions of the user
META_LATE = 6
META_OUTSIDE = 7
META_DROPPED = 8  # rows that were in their last window
META_OVERFLOW = 9  # 1 + the first aggregate that left its range
META_DEAD = 10  # 1 if a slot has lost its last row
META_WANTED = 11  # room that was missing
META_INCOMPLETE = 12  # rows given up without a window

SLOT = 12
SLOT_BASE = 0
SLOT_HEAD = 1
SLOT_TAIL = 2
SLOT_CAPACITY = 3
SLOT_BIRTH = 4  # number of the row that made the key have rows; -1 if it has none
SLOT_DUE = 5  # two words: when a window fires, and when one is final
SLOT_START = 7  # two words: which window that is; NEVER if there is none
SLOT_USED = 9
SLOT_FIRST = 10  # the key
SLOT_SECOND = 11

FIRE = 0
FINAL = 1

ROW_TIME = 0
ROW_MARK = 1
ROW_VALUES = 2

ALL_TAKEN = 0
NEEDS_ARENA = 1
NEEDS_HEAP = 2
NEEDS_OUT = 3
NEEDS_GATHER = 4

NEVER = np.iinfo(np.int64).max
LOWEST = np.iinfo(np.int64).min

_LEAST_CAPACITY = 4
_TABLE = types.Array(int64, 2, "C")
_INTS_IN = types.Array(int64, 1, "C", readonly=True)
_ROWS_IN = types.Array(int64, 2, "C", readonly=True)


@inlined
def add_capped(time, length):
    """Return `time + length`, at most `NEVER`; `length` >= 0."""
    return time + length if time <= NEVER - length else NEVER


@inlined
def subtract_capped(time, length):
    """Return `time - length`, at least `LOWEST`; `length` >= 0."""
    return time - length if time >= LOWEST + length else LOWEST


@called
def lower_bound(arena, low, high, time):
    """Return the first row of `[low, high)` at or after a time; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if arena[middle, ROW_TIME] < time:
            low = middle + 1
        else:
            high = middle
    return low


@called
def _place_behind(arena, low, high, time):
    """Return the first row of `[low, high)` behind a time; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if arena[middle, ROW_TIME] <= time:
            low = middle + 1
        else:
            high = middle
    return low


@called
def room_for_row(slot, meta, slots, arena):
    """Make room for one more row of a slot; return False if the arena is full."""
    base = slots[slot, SLOT_BASE]
    head = slots[slot, SLOT_HEAD]
    tail = slots[slot, SLOT_TAIL]
    capacity = slots[slot, SLOT_CAPACITY]
    if tail < base + capacity:
        return True
    rows = tail - head
    if head > base and head - base >= capacity >> 1:
        to = base
    else:
        capacity = max(2 * capacity, _LEAST_CAPACITY)
        to = meta[META_ARENA]
        if to + capacity > len(arena):
            return False
        meta[META_ARENA] = to + capacity
        slots[slot, SLOT_BASE] = to
        slots[slot, SLOT_CAPACITY] = capacity
    move_rows(arena, to, head, rows)
    slots[slot, SLOT_HEAD] = to
    slots[slot, SLOT_TAIL] = to + rows
    return True


@inlined
def insert_row(slot, time, slots, arena):
    """Open a place for a row behind those of its time; return where. There must be room."""
    tail = place = slots[slot, SLOT_TAIL]
    slots[slot, SLOT_TAIL] = tail + 1
    if tail > slots[slot, SLOT_HEAD] and arena[tail - 1, ROW_TIME] > time:
        place = _place_behind(arena, slots[slot, SLOT_HEAD], tail, time)
        move_rows(arena, place + 1, place, tail - place)
    arena[place, ROW_TIME] = time
    return place


@inlined
def drop_rows(slot, head, meta, slots):
    """Let go of the rows of a slot before a position."""
    meta[META_DROPPED] += head - slots[slot, SLOT_HEAD]
    slots[slot, SLOT_HEAD] = head
    if head == slots[slot, SLOT_TAIL]:
        slots[slot, SLOT_BIRTH] = -1
        meta[META_DEAD] = 1


@inlined
def _is_before(heap, a, b):
    for word in range(3):
        if heap[a, word] != heap[b, word]:
            return heap[a, word] < heap[b, word]
    return False


@inlined
def _swap(heap, a, b):
    for word in range(3):
        heap[a, word], heap[b, word] = heap[b, word], heap[a, word]


@called
def push_due(slot, kind, due, start, meta, slots, heap):
    """Note when something of a slot is due; there must be room in the heap."""
    slots[slot, SLOT_DUE + kind] = due
    slots[slot, SLOT_START + kind] = start
    at = meta[META_HEAP]
    meta[META_HEAP] = at + 1
    heap[at, 0] = due
    heap[at, 1] = slots[slot, SLOT_BIRTH]
    heap[at, 2] = slot * 2 + kind
    while at > 0:
        parent = (at - 1) >> 1
        if not _is_before(heap, at, parent):
            break
        _swap(heap, at, parent)
        at = parent


@called
def pop_due(meta, heap):
    """Take the first entry off the heap."""
    last = meta[META_HEAP] - 1
    meta[META_HEAP] = last
    for word in range(3):
        heap[0, word] = heap[last, word]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            return
        if child + 1 < last and _is_before(heap, child + 1, child):
            child += 1
        if not _is_before(heap, child, at):
            return
        _swap(heap, at, child)
        at = child


@inlined
def is_current(slots, heap):
    """Tell whether the first entry of the heap still counts."""
    slot = heap[0, 2] >> 1
    kind = heap[0, 2] & 1
    return (
        slots[slot, SLOT_BIRTH] == heap[0, 1]
        and slots[slot, SLOT_START + kind] != NEVER
        and slots[slot, SLOT_DUE + kind] == heap[0, 0]
    )


@inlined
def _packed_capacity(rows):
    return max(rows + (rows >> 1), _LEAST_CAPACITY)


@kernel(int64(_TABLE))
def room_needed(slots):
    """Return the rows of an arena into which `repack` can put all slots.

    Args:
        slots: (S, SLOT) the slots.
    """
    needed = 0
    for slot in range(len(slots)):
        rows = slots[slot, SLOT_TAIL] - slots[slot, SLOT_HEAD]
        if rows:
            needed += _packed_capacity(rows)
    return needed


@kernel(int64(_TABLE, _TABLE, _TABLE))
def repack(slots, arena, packed):
    """Copy the rows of all slots to another arena, without the garbage between them.

    Args:
        slots: (S, SLOT) the slots.
        arena: (A, W) where the rows are.
        packed: (B, W) where they go, B at least `room_needed(slots)`.

    Returns:
        Rows of `packed` in use.
    """
    used = 0
    for slot in range(len(slots)):
        head = slots[slot, SLOT_HEAD]
        rows = slots[slot, SLOT_TAIL] - head
        capacity = _packed_capacity(rows) if rows else 0
        slots[slot, SLOT_BASE] = used
        slots[slot, SLOT_HEAD] = used
        slots[slot, SLOT_TAIL] = used + rows
        slots[slot, SLOT_CAPACITY] = capacity
        for row in range(rows):
            for word in range(arena.shape[1]):
                packed[used + row, word] = arena[head + row, word]
        used += capacity
    return used


@kernel(int64(types.Array(int64, 1, "C"), _TABLE, _TABLE))
def prune_due(meta, slots, heap):
    """Take entries off the heap that no longer count; return how many are left.

    Args:
        meta: The number of entries, written.
        slots: (S, SLOT) the slots.
        heap: (H, 3) the heap, written.
    """
    count = meta[META_HEAP]
    meta[META_HEAP] = 0
    for at in range(count):
        slot, kind = heap[at, 2] >> 1, heap[at, 2] & 1
        if (
            slots[slot, SLOT_BIRTH] == heap[at, 1]
            and slots[slot, SLOT_START + kind] != NEVER
            and slots[slot, SLOT_DUE + kind] == heap[at, 0]
        ):
            # No further than `at`, so nothing that is yet to be looked at is lost.
            start = slots[slot, SLOT_START + kind]
            push_due(slot, kind, heap[at, 0], start, meta, slots, heap)
    return meta[META_HEAP]


@kernel(int64(_INTS_IN, _INTS_IN, _ROWS_IN, _TABLE, _TABLE))
def load_rows(keys, births, rows, slots, arena):
    """Put restored rows into their slots.

    Args:
        keys: (n,) ascending slots.
        births: (n,) birth of each row's slot.
        rows: (n, W) rows, those of a slot in order.
        slots: (S, SLOT) the slots, without rows.
        arena: (A, W), A at least n.

    Returns:
        Rows of the arena in use.
    """
    for row in range(len(keys)):
        slot = keys[row]
        if row == 0 or keys[row - 1] != slot:
            slots[slot, SLOT_BASE] = row
            slots[slot, SLOT_HEAD] = row
            slots[slot, SLOT_CAPACITY] = 0
            slots[slot, SLOT_BIRTH] = births[row]
        slots[slot, SLOT_TAIL] = row + 1
        slots[slot, SLOT_CAPACITY] += 1
        for word in range(arena.shape[1]):
            arena[row, word] = rows[row, word]
    return len(keys)
