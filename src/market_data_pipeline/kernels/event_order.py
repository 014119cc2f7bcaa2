"""Rows into the order of event time, where most of them are in order."""

from __future__ import annotations

__all__ = ("place_rows", "weave")

import numba
from numba import boolean, int32, int64, types, uint8

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT

_WOVEN = [
    types.void(
        numba.types.Array(item, 1, "C", readonly=True),
        numba.types.Array(item, 1, "C", readonly=True),
        INTS_IN,
        numba.types.Array(item, 1, "C"),
    )
    for item in (int64, int32, uint8)
]


@kernel(
    types.UniTuple(int64, 2)(
        INTS_IN,
        INTS_IN,
        int64,
        int64,
        int64,
        types.Array(boolean, 1, "C"),
        INTS_OUT,
        INTS_OUT,
    )
)
def place_rows(times, clocks, bound, highest, top, ascends, behind, late):
    """Tell rows that ascend, rows behind others, and rows below the watermark before them.

    The watermark before a row is the running maximum of `clocks` minus `bound`. That of the
    row itself may be included: a row does not raise the watermark above itself, but rows
    that were taken out before it may have.

    Args:
        times: (n,) int64 event times.
        clocks: (n,) int64: `times` itself, or the watermark after each row with bound 0.
        bound: int64 nanoseconds.
        highest: The running maximum before the first row, at least the lowest int64 + bound.
        top: Event time that a row must reach to ascend.
        ascends: (n,) bool, filled: true if no row before it is above it, nor `top`.
        behind: (n,) int64, filled with the positions of rows that neither ascend nor are late.
        late: (n,) int64, filled with the positions of late rows.

    Returns:
        How many rows are behind, and how many are late.
    """
    behind_count = 0
    late_count = 0
    for i in range(len(times)):
        time = times[i]
        highest = max(highest, clocks[i])
        rises = time >= top
        ascends[i] = rises
        if not rises:
            if time < highest - bound:
                late[late_count] = i
                late_count += 1
            else:
                behind[behind_count] = i
                behind_count += 1
        elif time < highest - bound:
            ascends[i] = False
            late[late_count] = i
            late_count += 1
        else:
            top = time
    return behind_count, late_count


@kernel(_WOVEN)
def weave(column, other, before, out):
    """Put the values of one column between those of another.

    Args:
        column: (n,) int64, int32 or uint8; other types are viewed as these.
        other: (m,) of the column's type.
        before: (m,) int64 ascending: how many values of `column` stand before each of `other`.
        out: (n + m,) of the column's type, filled.
    """
    at = 0
    for j in range(len(other)):
        stop = before[j]
        for i in range(at, stop):
            out[i + j] = column[i]
        out[stop + j] = other[j]
        at = stop
    for i in range(at, len(column)):
        out[i + len(other)] = column[i]
