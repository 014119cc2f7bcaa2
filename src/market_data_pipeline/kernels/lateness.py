"""Tell which rows are late, and whether rows are in order."""

from __future__ import annotations

__all__ = ("find_late",)

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

from market_data_pipeline.kernels.signatures import INTS_IN, Int64s

_UNDEFINED: Final = int(np.iinfo(np.int64).max)


@njit(
    numba.types.UniTuple(numba.int64, 2)(
        INTS_IN, INTS_IN, INTS_IN, numba.int64, numba.int64, numba.int64, numba.boolean[::1]
    ),
    cache=True,
    nogil=True,
)
def find_late(
    order: Int64s,
    times: Int64s,
    watermarks: Int64s,
    highest: int,
    bound: int,
    floor: int,
    late: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """Mark rows whose time is below the watermark before them, or is undefined.

    Args:
        order: (n,) int64: the time that decides, nanoseconds.
        times: (n,) int64: the event times, from which the watermark follows.
        watermarks: (n,) int64, the watermark after each row; (0,) if it is the running
            maximum of `times` minus `bound`.
        highest: The watermark before the first row, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        floor: The watermark is never less than this.
        late: (n,) bool, written.

    Returns:
        How many rows are late, and 1 if `order` never falls over the others, else 0.
    """
    count = 0
    ordered = 1
    explicit = watermarks.size > 0
    started = False
    before = 0
    for row in range(order.size):
        time = order[row]
        watermark = max(highest - bound, floor)
        highest = watermarks[row] if explicit else max(highest, times[row])
        late[row] = time < watermark or time == _UNDEFINED
        if late[row]:
            count += 1
            continue
        if started and time < before:
            ordered = 0
        before = time
        started = True
    return count, ordered
