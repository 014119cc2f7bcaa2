"""Pair rows in time order with the rows of the same key in an interval around them."""

from __future__ import annotations

__all__ = ("fill_pairs", "find_pairs")

import numba
import numpy as np

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INT32S_IN, INTS_IN, INTS_OUT, Int32s, Int64s

_MIN = int(np.iinfo(np.int64).min)
_MAX = int(np.iinfo(np.int64).max)


@kernel(numba.int64(numba.int64, numba.int64))
def _moved(time, by):
    if by >= 0:
        return time + by if time <= _MAX - by else _MAX
    return time + by if time >= _MIN - by else _MIN


@kernel(
    numba.int64(
        *(INTS_IN, INTS_IN, INTS_IN, INTS_OUT),
        *(INTS_IN, INT32S_IN, numba.int64, numba.int64, INTS_OUT, INTS_OUT),
    )
)
def find_pairs(
    times: Int64s,
    following: Int64s,
    first: Int64s,
    passed: Int64s,
    left_times: Int64s,
    left_keys: Int32s,
    lower: int,
    upper: int,
    starts: Int64s,
    counts: Int64s,
) -> int:
    """Find for each left row the first right row in its interval, and how many there are.

    Args:
        times: (m,) int64, never falling: times of the right rows, nanoseconds.
        following: (m,) int64: the next right row of the same key, or -1.
        first: (k,) int64: the first right row of each key, or -1.
        passed: (k,) int64, updated: the last row passed of each key, or -1.
        left_times: (n,) int64, never falling, across calls too.
        left_keys: (n,) int32; a key that is not in [0, k) has no right rows.
        lower: Nanoseconds from the left row's time to where the interval begins.
        upper: Nanoseconds to where it ends; both ends count.
        starts: (n,) int64, written: the first right row.
        counts: (n,) int64, written: how many there are, along `following`.

    Returns:
        Pairs, a left row without right rows counted as one.
    """
    total = 0
    for row in range(left_times.size):
        key = left_keys[row]
        counts[row] = 0
        starts[row] = -1
        if 0 <= key < first.size:
            begin = _moved(left_times[row], lower)
            end = _moved(left_times[row], upper)
            before = passed[key]
            after = first[key] if before < 0 else following[before]
            while after >= 0 and times[after] < begin:
                before = after
                after = following[before]
            passed[key] = before
            starts[row] = after
            count = 0
            while after >= 0 and times[after] <= end:
                count += 1
                after = following[after]
            counts[row] = count
        total += max(counts[row], 1)
    return total


@kernel(numba.void(INTS_IN, INTS_IN, INTS_IN, INTS_OUT, INTS_OUT))
def fill_pairs(
    following: Int64s, starts: Int64s, counts: Int64s, of_left: Int64s, of_right: Int64s
) -> None:
    """Write down the pairs, in the order of the left rows, then of the right.

    Args:
        following: (m,) int64: the next right row of the same key, or -1.
        starts: (n,) int64: the first right row of each left row.
        counts: (n,) int64: how many right rows it has.
        of_left: (p,) int64, written: positions of left rows, each at least once.
        of_right: (p,) int64, written: right rows, -1 for a left row that has none.
    """
    at = 0
    for row in range(starts.size):
        right = starts[row]
        if counts[row] == 0:
            of_left[at] = row
            of_right[at] = -1
            at += 1
        for _ in range(counts[row]):
            of_left[at] = row
            of_right[at] = right
            right = following[right]
            at += 1
