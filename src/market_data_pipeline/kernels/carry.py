"""Carry values forward where rows have none."""

from __future__ import annotations

__all__ = ("carry_forward",)

import numba
import numpy as np

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INT32S_IN, INTS_OUT, Int32s, Int64s

_UNDEFINED = int(np.iinfo(np.int64).max)


@kernel(numba.void(INT32S_IN, numba.int64, numba.int64, INTS_OUT, INTS_OUT))
def carry_forward(keys: Int32s, start: int, stop: int, values: Int64s, carried: Int64s) -> None:
    """Give rows without a value the last one of their key.

    Args:
        keys: (m,) int32, 0 <= key < k.
        start: The first row to look at.
        stop: The row after the last one to look at.
        values: (m,) int64, updated from `start` to `stop`; the highest int64 is no value.
        carried: (k,) int64, updated: the last value of each key, or the highest int64.
    """
    for row in range(start, stop):
        key = keys[row]
        if values[row] == _UNDEFINED:
            values[row] = carried[key]
        else:
            carried[key] = values[row]
