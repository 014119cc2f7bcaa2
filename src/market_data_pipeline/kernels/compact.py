"""Take rows out of columns, without a branch for each row."""

from __future__ import annotations

__all__ = ("copy_between", "copy_masked", "kept_watermarks", "raise_highest", "rows_left_out")

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.copy_items import copy_items

_MASK = numba.types.Array(numba.boolean, 1, "C", readonly=True)
_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)
# Rows of a mask that are looked at together.
_STRETCH = 32
_ITEMS = (numba.int64, numba.int32, numba.uint8)


def _signature(item: Any) -> Any:
    return numba.void(
        _MASK, numba.types.Array(item, 1, "C", readonly=True), numba.types.Array(item, 1, "C")
    )


@kernel([_signature(item) for item in _ITEMS])
def copy_masked(
    keep: npt.NDArray[np.bool_], column: npt.NDArray[Any], out: npt.NDArray[Any]
) -> None:
    """Copy the rows of a column where a mask is true. As fast for any mask.

    Args:
        keep: (n,) bool.
        column: (n,) int64, int32 or uint8; other types are viewed as these.
        out: (m + 1,) of the column's type, written; m is the number of true values. The
            last value is of no meaning.
    """
    # Every row is written, and stays only if the next one is not written over it: no
    # branch that could be guessed wrong.
    j = 0
    for i in range(column.size):
        out[j] = column[i]
        j += keep[i]


@kernel(numba.void(_MASK, _INT64S, numba.int64, numba.int64, numba.int64[::1]))
def kept_watermarks(
    keep: npt.NDArray[np.bool_],
    times: npt.NDArray[np.int64],
    highest: int,
    bound: int,
    out: npt.NDArray[np.int64],
) -> None:
    """Write the watermark after each row where a mask is true.

    Args:
        keep: (n,) bool.
        times: (n,) int64 event times, nanoseconds, of all rows.
        highest: The watermark before the first row, plus `bound`.
        bound: Nanoseconds between the running maximum of times and the watermark.
        out: (m + 1,) int64, written; m is the number of true values. The last value is
            of no meaning.
    """
    j = 0
    for i in range(times.size):
        highest = max(highest, times[i])
        out[j] = highest - bound
        j += keep[i]


@kernel(numba.int64(_MASK, numba.int32[::1]))
def rows_left_out(keep: npt.NDArray[np.bool_], out: npt.NDArray[np.int32]) -> int:
    """List the rows where a mask is false.

    Args:
        keep: (n,) bool.
        out: (m + 1,) int32, written in order; m is the number of false values. The last
            value is of no meaning.

    Returns:
        m.
    """
    count = 0
    for begin in range(0, keep.size, _STRETCH):
        stretch = keep[begin : begin + _STRETCH]
        kept = 0
        for value in stretch:
            kept += value
        if kept == stretch.size:
            continue
        for i in range(begin, begin + stretch.size):
            out[count] = i
            count += not keep[i]
    return count


def _runs_signature(item: Any) -> Any:
    return numba.void(
        _INT32S, numba.types.Array(item, 1, "C", readonly=True), numba.types.Array(item, 1, "C")
    )


@kernel([_runs_signature(item) for item in _ITEMS])
def copy_between(
    left_out: npt.NDArray[np.int32], column: npt.NDArray[Any], out: npt.NDArray[Any]
) -> None:
    """Copy the rows of a column that are not left out, run by run. Faster where few are.

    Args:
        left_out: (k,) int32 rows, rising.
        column: (n,) int64, int32 or uint8; other types are viewed as these.
        out: (n - k,) or longer, of the column's type, written.
    """
    to: Any = 0
    begin: Any = 0
    for i in range(left_out.size):
        row = np.int64(left_out[i])
        copy_items(out, to, column, begin, row - begin)
        to += row - begin
        begin = row + 1
    copy_items(out, to, column, begin, column.size - begin)


@kernel(numba.boolean(_INT32S, _INT64S, numba.int64))
def raise_highest(
    left_out: npt.NDArray[np.int32], times: npt.NDArray[np.int64], highest: int
) -> bool:
    """Tell whether one of the rows that are left out raises the running maximum of times.

    Args:
        left_out: (k,) int32 rows, rising.
        times: (n,) int64 event times, nanoseconds, of all rows.
        highest: The running maximum before the first row.
    """
    begin: Any = 0
    for i in range(left_out.size):
        row = np.int64(left_out[i])
        for time in times[begin:row]:
            highest = max(highest, time)
        if times[row] > highest:
            return True
        begin = row + 1
    return False
