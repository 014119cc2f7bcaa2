"""Chain rows of one key."""

from __future__ import annotations

__all__ = ("link_rows",)

import numba

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INT32S_IN, INTS_OUT, Int32s, Int64s


@kernel(numba.void(INT32S_IN, numba.int64, numba.int64, INTS_OUT, INTS_OUT, INTS_OUT))
def link_rows(
    keys: Int32s, start: int, stop: int, following: Int64s, first: Int64s, tail: Int64s
) -> None:
    """Chain rows of each key in their order.

    Args:
        keys: (m,) int32, 0 <= key < k.
        start: The first row to chain.
        stop: The row after the last one to chain.
        following: (m,) int64, written: the next row of the same key, or -1.
        first: (k,) int64, updated: the first row of each key, or -1.
        tail: (k,) int64, updated: the last row of each key, or -1.
    """
    for row in range(start, stop):
        key = keys[row]
        following[row] = -1
        if tail[key] < 0:
            first[key] = row
        else:
            following[tail[key]] = row
        tail[key] = row
