"""Give keys of two integers small numbers: one open-addressing table."""

from __future__ import annotations

__all__ = ("find_ids",)

from typing import Final

import numba
import numpy as np

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import (
    INT32S_OUT,
    INTS_IN,
    INTS_OUT,
    Int32s,
    Int64s,
)

# As in the multiplier of the murmur finaliser, and 2**64 over the golden ratio.
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


@kernel(
    numba.int64(
        *(INT32S_OUT, INTS_OUT, INTS_OUT, numba.int64),
        *(INTS_IN, INTS_IN, numba.int64, INT32S_OUT),
    )
)
def find_ids(
    slots: Int32s,
    known_first: Int64s,
    known_second: Int64s,
    count: int,
    first: Int64s,
    second: Int64s,
    adding: int,
    out: Int32s,
) -> int:
    """Look up the numbers of keys; a key that is not known gets the next one, or -1.

    Args:
        slots: (s,) int32, updated: the key in each slot, -1 if it is free; s is a power
            of two, more than the keys there can be after the call.
        known_first: (k,) int64, updated: first half of each key by its number.
        known_second: (k,) int64, updated: second half.
        count: Keys known.
        first: (n,) int64, first half of the keys asked for.
        second: (n,) int64, second half.
        adding: 1 if unknown keys are added, for all of which `known_first` has room; 0 if not.
        out: (n,) int32, written: their numbers.

    Returns:
        Keys known afterwards.
    """
    mask = slots.size - 1
    for row in range(first.size):
        a = first[row]
        b = second[row]
        h = (np.uint64(a) * _GOLDEN) ^ (np.uint64(b) * _MIX)
        h ^= h >> np.uint64(32)
        h *= _GOLDEN
        slot = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(0x7FFFFFFFFFFFFFFF)) & mask
        number = slots[slot]
        while number >= 0 and (known_first[number] != a or known_second[number] != b):
            slot = (slot + 1) & mask
            number = slots[slot]
        if number < 0 and adding:
            number = np.int32(count)
            slots[slot] = number
            known_first[count] = a
            known_second[count] = b
            count += 1
        out[row] = number
    return count
