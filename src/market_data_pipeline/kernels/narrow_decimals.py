"""Decimals of 128 bits to fixed point of 64."""

from __future__ import annotations

__all__ = ("narrow_decimals",)

import numpy as np
import numpy.typing as npt
from numba import int64

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.muldiv import divide_wide
from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT


@kernel(int64(INTS_IN, int64, INTS_OUT))
def narrow_decimals(words: npt.NDArray[np.int64], divisor: int, out: npt.NDArray[np.int64]) -> int:
    """Write each number divided by a divisor, rounded half to even.

    Args:
        words: (2 n,) int64, the low and the high half of n numbers in turn, as in Arrow's
            decimal128 arrays.
        divisor: A power of ten, > 0.
        out: (n,) int64, written.

    Returns:
        -1, or the first number whose result is not in range.
    """
    # The highest int64 stands for "none"; the lowest is a number like others.
    beyond = np.uint64(0x7FFFFFFFFFFFFFFF)
    lowest = np.uint64(1 << 63)
    for i in range(out.size):
        low, high = np.uint64(words[2 * i]), np.uint64(words[2 * i + 1])
        negative = words[2 * i + 1] < 0
        if negative:
            low = ~low + np.uint64(1)
            high = ~high + np.uint64(low == 0)
        wide = np.uint64(divisor)
        if high >= wide:
            return i
        quotient, rest = divide_wide(high, low, wide)
        half = wide - rest
        if rest > half or (rest == half and quotient & np.uint64(1)):
            quotient += np.uint64(1)
        if (negative and quotient > lowest) or (not negative and quotient >= beyond):
            return i
        out[i] = np.int64(np.uint64(0) - quotient) if negative else np.int64(quotient)
    return -1
