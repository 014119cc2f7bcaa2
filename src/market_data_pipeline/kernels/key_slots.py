"""Give each key a small number: one open-addressing table, probed once a row."""

from __future__ import annotations

__all__ = ("find_slots", "insert_slots")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = np.uint64(0xFF51AFD7ED558CCD)


@kernel(numba.int64(numba.int64, numba.int64, numba.int64))
def _home(first: int, second: int, mask: int) -> Any:
    h = (np.uint64(first) * _GOLDEN) ^ (np.uint64(second) * _MIX)
    h ^= h >> np.uint64(32)
    h *= _GOLDEN
    return np.int64((h ^ (h >> np.uint64(29))) & np.uint64(mask))


def _signature(keys: Any) -> Any:
    return numba.int64(
        *(numba.int32[::1], numba.int64[:, ::1], numba.int64),
        *(keys, _INT64S, numba.int64[::1]),
    )


@kernel([_signature(_INT32S), _signature(_INT64S)])
def find_slots(
    places: npt.NDArray[np.int32],
    keys: npt.NDArray[np.int64],
    used: int,
    first: npt.NDArray[Any],
    second: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> int:
    """Write the slot of each row's key; keys not seen yet get the next free ones.

    Args:
        places: (s,) int32, updated: the slot whose key hashes here, -1 for none; s is a
            power of two, more than twice `used + n`.
        keys: (k, 2) int64, updated: the key of each slot; k is `used + n` or more.
        used: Slots in use.
        first: (n,) int32 or int64, first half of the key.
        second: (n,) int64, second half of the key.
        out: (n,) int64, written.

    Returns:
        The slots in use now.
    """
    mask = places.size - 1
    for row in range(second.size):
        a: Any = np.int64(first[row])
        b: Any = second[row]
        place = _home(a, b, mask)
        while places[place] >= 0 and (keys[places[place], 0] != a or keys[places[place], 1] != b):
            place = (place + 1) & mask
        if places[place] < 0:
            places[place] = used
            keys[used, 0] = a
            keys[used, 1] = b
            used += 1
        out[row] = places[place]
    return used


@kernel(numba.void(numba.int32[::1], numba.int64[:, ::1], numba.int64))
def insert_slots(places: npt.NDArray[np.int32], keys: npt.NDArray[np.int64], used: int) -> None:
    """Put the keys of the first slots into an empty table.

    Args:
        places: (s,) int32 as in `find_slots`, all -1 before, written.
        keys: (k, 2) int64, the key of each slot; all different.
        used: How many slots.
    """
    mask = places.size - 1
    for slot in range(used):
        place = _home(keys[slot, 0], keys[slot, 1], mask)
        while places[place] >= 0:
            place = (place + 1) & mask
        places[place] = slot
