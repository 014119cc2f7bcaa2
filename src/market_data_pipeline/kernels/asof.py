"""Match rows in time order with rows of the same key before or after them."""

from __future__ import annotations

__all__ = ("asof_around", "asof_backward", "last_rows")

import numba
import numpy as np

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INT32S_IN, INTS_IN, INTS_OUT, Int32s, Int64s

_MIN = int(np.iinfo(np.int64).min)
_MAX = int(np.iinfo(np.int64).max)


@kernel(
    numba.int64(
        *(INTS_IN, INT32S_IN, numba.int64, numba.int64, INTS_OUT),
        *(INTS_IN, INT32S_IN, numba.int64, numba.int64, INTS_OUT),
    )
)
def asof_backward(
    times: Int64s,
    keys: Int32s,
    count: int,
    cursor: int,
    last: Int64s,
    left_times: Int64s,
    left_keys: Int32s,
    strict: int,
    tolerance: int,
    out: Int64s,
) -> int:
    """Find for each left row the last right row of its key at or before it.

    One pass over both sides, as a merge does. Of right rows of one time the last wins.

    Args:
        times: (m,) int64, never falling: times of the right rows, nanoseconds.
        keys: (m,) int32, their keys, 0 <= key < k.
        count: How many right rows there are, <= m.
        cursor: Right rows that were passed by earlier calls.
        last: (k,) int64, updated: the last row passed of each key, or -1.
        left_times: (n,) int64, never falling, across calls too.
        left_keys: (n,) int32; a key that is not in [0, k) matches nothing.
        strict: 1 if a right row of the same time does not count, else 0.
        tolerance: Nanoseconds a match may lie before the left row; -1 for any.
        out: (n,) int64, written: the place of the match, or -1.

    Returns:
        Right rows passed.
    """
    for row in range(left_times.size):
        time = left_times[row]
        while cursor < count and (times[cursor] < time or (times[cursor] == time and not strict)):
            last[keys[cursor]] = cursor
            cursor += 1
        key = left_keys[row]
        match = last[key] if 0 <= key < last.size else -1
        if match >= 0 and tolerance >= 0:
            oldest = time - tolerance if time >= _MIN + tolerance else _MIN
            if times[match] < oldest:
                match = -1
        out[row] = match
    return cursor


@kernel(
    numba.void(
        *(INTS_IN, INTS_IN, INTS_IN, INTS_OUT),
        *(INTS_IN, INT32S_IN, numba.int64, numba.int64, numba.int64, INTS_OUT),
    )
)
def asof_around(
    times: Int64s,
    following: Int64s,
    first: Int64s,
    passed: Int64s,
    left_times: Int64s,
    left_keys: Int32s,
    nearest: int,
    strict: int,
    tolerance: int,
    out: Int64s,
) -> None:
    """Find for each left row the first right row of its key after it, or the nearest.

    Of right rows of one time the first wins after the left row, the last at or before it;
    of two that are equally near the one before wins.

    Args:
        times: (m,) int64, never falling: times of the right rows, nanoseconds.
        following: (m,) int64: the next right row of the same key, or -1.
        first: (k,) int64: the first right row of each key, or -1.
        passed: (k,) int64, updated: the last row passed of each key, or -1.
        left_times: (n,) int64, never falling, across calls too.
        left_keys: (n,) int32; a key that is not in [0, k) matches nothing.
        nearest: 1 if rows before count too, else 0.
        strict: 1 if a right row of the same time does not count, else 0.
        tolerance: Most nanoseconds between the two, >= 0.
        out: (n,) int64, written: the place of the match, or -1.
    """
    # Rows of the left row's own time are passed where they count as rows before it.
    equal_before = nearest != strict
    for row in range(left_times.size):
        time = left_times[row]
        key = left_keys[row]
        out[row] = -1
        if not 0 <= key < first.size:
            continue
        before = passed[key]
        after = first[key] if before < 0 else following[before]
        while after >= 0 and (times[after] < time or (times[after] == time and equal_before)):
            before = after
            after = following[before]
        passed[key] = before
        if nearest and strict:
            while after >= 0 and times[after] == time:
                after = following[after]
        latest = time + tolerance if time <= _MAX - tolerance else _MAX
        oldest = time - tolerance if time >= _MIN + tolerance else _MIN
        if after >= 0 and times[after] <= latest:
            out[row] = after
        is_near = nearest and before >= 0 and times[before] >= oldest
        if is_near and (out[row] < 0 or time - times[before] <= times[after] - time):
            out[row] = before


@kernel(numba.int64(INT32S_IN, numba.int64, INTS_OUT, INTS_OUT))
def last_rows(keys: Int32s, count: int, last: Int64s, out: Int64s) -> int:
    """Find the last row of each key.

    Args:
        keys: (m,) int32, 0 <= key < k.
        count: Rows to look at, <= m.
        last: (k,) int64, written: the last row of each key, or -1.
        out: (count,) int64, written from its start: these rows, ascending.

    Returns:
        How many there are.
    """
    last[:] = -1
    for row in range(count):
        last[keys[row]] = row
    found = 0
    for row in range(count):
        if last[keys[row]] == row:
            out[found] = row
            found += 1
    return found
