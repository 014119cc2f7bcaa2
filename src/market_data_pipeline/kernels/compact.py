"""Take rows out of columns, without a branch for each row."""

from __future__ import annotations

__all__ = ("copy_masked", "kept_watermarks")

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

_MASK = numba.types.Array(numba.boolean, 1, "C", readonly=True)
_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_ITEMS = (numba.int64, numba.int32, numba.uint8)


def _signature(item: Any) -> Any:
    return numba.void(
        _MASK, numba.types.Array(item, 1, "C", readonly=True), numba.types.Array(item, 1, "C")
    )


@njit([_signature(item) for item in _ITEMS], cache=True, nogil=True)
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


@njit(
    numba.void(_MASK, _INT64S, numba.int64, numba.int64, numba.int64[::1]), cache=True, nogil=True
)
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
