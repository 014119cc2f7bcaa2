"""The slot of each row's key.

A key is two int64; see `operator.keys`. `table`, (T, 3) int64, is a hash table of (first,
second, slot), slot -1 where it is free, T a power of two. A key whose slot was given up
stays in it until the table is made anew: an entry counts if its slot still has this key.
"""

from __future__ import annotations

__all__ = ("find_slots", "fill_table", "free_slots")

import numpy as np
from numba import int64, types

from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.row_store import (
    SLOT_BIRTH,
    SLOT_FIRST,
    SLOT_HEAD,
    SLOT_SECOND,
    SLOT_TAIL,
    SLOT_USED,
)
from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT

_TABLE = types.Array(int64, 2, "C")


@inlined
def _place(first, second, mask):
    mixed = np.uint64(first) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(second)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return np.int64((mixed >> np.uint64(30)) & np.uint64(mask))


@inlined
def _is_alive(slots, slot, first, second):
    return (
        slots[slot, SLOT_USED] == 1
        and slots[slot, SLOT_FIRST] == first
        and slots[slot, SLOT_SECOND] == second
    )


@kernel(int64(int64, INTS_IN, INTS_IN, _TABLE, _TABLE, INTS_OUT, INTS_OUT, INTS_OUT))
def find_slots(begin, first, second, table, slots, free, keys, fresh):
    """Write the slot of each row's key, taking a free one for a key that has none.

    Args:
        begin: Row to begin with.
        first: (n,) first half of the keys, or (1,) if all are equal.
        second: (n,) second half of the keys.
        table: (T, 3) see above.
        slots: (S, SLOT) see `kernels.row_store`.
        free: (2 + S,) entries of the table, number of free slots, then the free slots.
        keys: (n,) written: the slots.
        fresh: (n,) written: 1 where a slot was taken, else 0.

    Returns:
        The first row without a slot: n, or earlier if `table` or `slots` are full.
    """
    mask = len(table) - 1
    step = 1 if len(first) > 1 else 0
    for row in range(begin, len(second)):
        a, b = first[row * step], second[row]
        at = _place(a, b, mask)
        while True:
            slot = table[at, 2]
            if slot < 0 or (table[at, 0] == a and table[at, 1] == b):
                break
            at = (at + 1) & mask
        fresh[row] = 0
        if slot < 0 or not _is_alive(slots, slot, a, b):
            if free[1] == 0 or (slot < 0 and 2 * free[0] >= len(table)):
                return row
            if slot < 0:
                free[0] += 1
            free[1] -= 1
            slot = free[2 + free[1]]
            table[at, 0] = a
            table[at, 1] = b
            table[at, 2] = slot
            slots[slot, SLOT_USED] = 1
            slots[slot, SLOT_FIRST] = a
            slots[slot, SLOT_SECOND] = b
            slots[slot, SLOT_BIRTH] = -1
            fresh[row] = 1
        keys[row] = slot
    return len(second)


@kernel(int64(_TABLE, _TABLE))
def fill_table(table, slots):
    """Enter the keys of all slots in use into an empty table; return how many they are."""
    mask = len(table) - 1
    used = 0
    for slot in range(len(slots)):
        if slots[slot, SLOT_USED]:
            at = _place(slots[slot, SLOT_FIRST], slots[slot, SLOT_SECOND], mask)
            while table[at, 2] >= 0:
                at = (at + 1) & mask
            table[at, 0] = slots[slot, SLOT_FIRST]
            table[at, 1] = slots[slot, SLOT_SECOND]
            table[at, 2] = slot
            used += 1
    return used


@kernel(int64(_TABLE, INTS_OUT))
def free_slots(slots, free):
    """Give up the slots that have no rows; return how many are in use.

    Args:
        slots: (S, SLOT) see `kernels.row_store`.
        free: (2 + S,) as in `find_slots`, written.
    """
    used = 0
    count = 0
    # From behind, so that the lowest come first and the table stays dense.
    for slot in range(len(slots) - 1, -1, -1):
        if slots[slot, SLOT_USED] and slots[slot, SLOT_HEAD] < slots[slot, SLOT_TAIL]:
            used += 1
            continue
        slots[slot, :] = 0
        slots[slot, SLOT_BIRTH] = -1
        free[2 + count] = slot
        count += 1
    free[1] = count
    return used
