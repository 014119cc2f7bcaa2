"""Integers since the UNIX epoch, in a unit told by their magnitude, to nanoseconds."""

from __future__ import annotations

__all__ = ("epochs_to_ns",)

from numba import int64

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT, Int64s


@kernel(int64(INTS_IN, INTS_OUT))
def epochs_to_ns(values: Int64s, out: Int64s) -> int:
    """Convert times in s, ms, us or ns, each row by its own magnitude.

    Below 1e11 a value is seconds (to the year 5138), below 1e14 milliseconds and below
    1e17 microseconds (from 1973 on), and nanoseconds from there.

    Args:
        values: (n,) int64.
        out: (n,) int64, written; undefined where seconds or the like leave the range.

    Returns:
        How many rows leave the range of int64 nanoseconds; those hold int64's maximum.
    """
    bad = 0
    for i in range(values.shape[0]):
        x = values[i]
        size = abs(x)
        if size >= 100_000_000_000_000_000 or size < 0:
            unit = 1
        elif size >= 100_000_000_000_000:
            unit = 1_000
        elif size >= 100_000_000_000:
            unit = 1_000_000
        else:
            unit = 1_000_000_000
        if size > 9223372036854775806 // unit or size < 0:
            out[i] = 9223372036854775807
            bad += 1
        else:
            out[i] = x * unit
    return bad
