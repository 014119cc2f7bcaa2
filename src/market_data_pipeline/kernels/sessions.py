"""The trading interval of each time."""

from __future__ import annotations

__all__ = ("find_sessions",)

from numba import int64

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT, Int64s


@kernel(int64(INTS_IN, INTS_IN, INTS_IN, INTS_OUT))
def find_sessions(opens: Int64s, closes: Int64s, times: Int64s, positions: Int64s) -> int:
    """Find for each time the interval `[open, close)` that holds it.

    Times of a stream are close to each other, so the interval found last is looked at
    first; where it does not fit, all are searched by halving.

    Args:
        opens: (m,) int64 nanoseconds, ascending.
        closes: (m,) int64 nanoseconds, ascending, each between its open and the next.
        times: (n,) int64 nanoseconds.
        positions: (n,) int64, written: the interval's position, -1 for none.

    Returns:
        How many times are in no interval.
    """
    count = opens.shape[0]
    outside = 0
    # The last interval that opened no later than the time, and what bounds such times.
    at = -1
    begin = end = 0
    known = False
    for i in range(times.shape[0]):
        time = times[i]
        if not known or time < begin or time >= end:
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if opens[middle] <= time:
                    low = middle + 1
                else:
                    high = middle
            at = low - 1
            # The ends of int64 stand for "no bound"; the last nanosecond is searched anew.
            begin = opens[at] if at >= 0 else -9223372036854775808
            end = opens[low] if low < count else 9223372036854775807
            known = True
        if at >= 0 and time < closes[at]:
            positions[i] = at
        else:
            positions[i] = -1
            outside += 1
    return outside
