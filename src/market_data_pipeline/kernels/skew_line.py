"""A line under points of (time, difference of two clocks): offset and drift."""

from __future__ import annotations

__all__ = ("LINE", "fit_line", "line_at", "span_minima")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

from market_data_pipeline.kernels.int128 import add_product, divide_half_even

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)

LINE: Final = 5
"""Words of a line: a time, the difference there, and its slope as a difference over a span
of time; last, how many points it was fitted to."""

_PPB: Final = 1_000_000_000
_FARTHEST: Final = 2**61
"""Differences are held within this, 73 years, so that those of two stay within 64 bits."""
_LATEST: Final = 2**62
"""A time as far as this from 1970, 146 years, is none."""
_LEAST_POINTS: Final = 6
"""Below this many a slope would be noise: the network's delay varies by more."""
_OUTLIER_MADS: Final = 6


@njit(numba.int64(numba.int64, numba.int64, numba.int64), cache=True, nogil=True)
def _share(a: int, b: int, divisor: int) -> Any:
    """Return `a * b / divisor`, rounded half to even, held within 2**61."""
    low, high = add_product(0, 0, a, b)
    quotient, fits = divide_half_even(low, high, divisor)
    if not fits:
        quotient = _FARTHEST if (a < 0) == (b < 0) else -_FARTHEST
    return max(min(quotient, _FARTHEST), -_FARTHEST)


@njit(
    numba.boolean(*(numba.int64,) * 4),
    cache=True,
    nogil=True,
)
def _steeper(dy: Any, dx: Any, dy2: Any, dx2: Any) -> Any:
    """Tell whether `dy / dx >= dy2 / dx2`; both spans are positive."""
    low, high = add_product(0, 0, dy, dx2)
    low, high = add_product(low, high, -dy2, dx)
    return high >= 0


@njit(numba.int64(_INT64S, numba.int64), cache=True, nogil=True)
def line_at(line: npt.NDArray[np.int64], time: int) -> Any:
    """Return the difference on a line at a time.

    Args:
        line: (5,) int64; see `LINE`.
        time: Nanoseconds.
    """
    return line[1] + _share(line[2], time - line[0], line[3])


@njit(numba.int64[::1](_INT64S), cache=True, nogil=True)
def _middle(values: npt.NDArray[np.int64]) -> Any:
    """Return the median and the median distance from it; of two middles the lower."""
    half = (values.size - 1) // 2
    out = np.empty(2, np.int64)
    out[0] = np.sort(values)[half]
    out[1] = np.sort(np.abs(values - out[0]))[half]
    return out


@njit(numba.void(_INT64S, _INT64S, numba.int64, numba.int64[::1]), cache=True, nogil=True)
def fit_line(
    times: npt.NDArray[np.int64],
    differences: npt.NDArray[np.int64],
    tolerance: int,
    line: npt.NDArray[np.int64],
) -> None:
    """Write the line under the points that is nearest to them all.

    Points are the least differences of some stretches of time, so that what the network
    adds is at its least. First those are left out that a robust line (the median of the
    slopes between all pairs of points, Theil 1950, Sen 1968) says are no part of it: a row
    with a wrong time makes one. Of the lines that have all others on or above them, the one
    with the least sum of distances goes through the edge of their lower convex hull that
    spans their mean time.

    Source: Paxson 1998, "On calibrating measurements of packet transit times", for minima
    over stretches and a robust slope; Moon, Skelly and Towsley 1999, "Estimation and
    removal of clock skew from network delay measurements", for the least sum under all
    points; Zhang, Liu and Xia 2002, "Clock synchronization algorithms for network
    measurements", for the convex hull.

    Args:
        times: (n,) int64 ascending, nanoseconds, n > 0.
        differences: (n,) int64, nanoseconds, within 2**61.
        tolerance: Nanoseconds by which a point may be off without being left out.
        line: (5,) int64, written; see `LINE`.
    """
    n = times.size
    slope = 0
    if n >= _LEAST_POINTS:
        slopes = np.empty(n * (n - 1) // 2, np.int64)
        count = 0
        for i in range(n):
            for j in range(i + 1, n):
                if times[j] > times[i]:
                    slopes[count] = _share(
                        differences[j] - differences[i], _PPB, times[j] - times[i]
                    )
                    count += 1
        if count > 0:
            slope = np.sort(slopes[:count])[(count - 1) // 2]
    rests = np.empty(n, np.int64)
    for i in range(n):
        rests[i] = differences[i] - _share(slope, times[i] - times[0], _PPB)
    middle = _middle(rests)
    # Of one or two points there is no saying which is wrong.
    allowed = max(tolerance, _OUTLIER_MADS * min(middle[1], _FARTHEST // _OUTLIER_MADS))
    hull = np.empty(n, np.int64)
    size, kept, lowest = 0, 0, -1
    low, high = 0, 0  # the sum of times, in 128 bits
    for i in range(n):
        if n > 2 and abs(rests[i] - middle[0]) > allowed:
            continue
        kept += 1
        low, high = add_product(low, high, times[i] - times[0], 1)
        if lowest < 0 or differences[i] < differences[lowest]:
            lowest = i
        if size > 0 and times[hull[size - 1]] == times[i]:
            if differences[hull[size - 1]] <= differences[i]:
                continue
            size -= 1
        while size > 1:
            a, b = hull[size - 2], hull[size - 1]
            if not _steeper(
                differences[b] - differences[a],
                times[b] - times[a],
                differences[i] - differences[a],
                times[i] - times[a],
            ):
                break
            size -= 1
        hull[size] = i
        size += 1
    line[0] = times[lowest]
    line[1] = differences[lowest]
    line[2] = 0
    line[3] = 1
    line[4] = kept
    if kept < _LEAST_POINTS or size < 2:
        return
    edge = 0
    while edge < size - 2:
        _, sign = add_product(low, high, -kept, times[hull[edge + 1]] - times[0])
        if sign < 0:
            break  # this edge spans the mean
        edge += 1
    a, b = hull[edge], hull[edge + 1]
    line[0] = times[a]
    line[1] = differences[a]
    line[2] = differences[b] - differences[a]
    line[3] = times[b] - times[a]


@njit(
    numba.int64(_INT64S, _INT64S, numba.int64, numba.int64[:, ::1], numba.int64[::1]),
    cache=True,
    nogil=True,
)
def span_minima(
    ts_event: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    width: int,
    out: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> int:
    """Write the least difference of each run of rows that were received in one span.

    Args:
        ts_event: (n,) int64, nanoseconds; a row with a time of 2**62 or more is passed over.
        ts_recv: (n,) int64, nanoseconds.
        width: Width of a span, nanoseconds.
        out: (m, 3) int64, m >= n, written: number of the span, the row's `ts_recv`, the
            difference `ts_recv - ts_event` held within 2**61.
        counts: (2,) int64, added to: rows with both times, rows received before they
            happened.

    Returns:
        How many runs there are.
    """
    runs = 0
    for i in range(ts_event.size):
        event, recv = ts_event[i], ts_recv[i]
        if not (-_LATEST < event < _LATEST and -_LATEST < recv < _LATEST):
            continue
        difference = max(min(recv - event, _FARTHEST), -_FARTHEST)
        counts[0] += 1
        counts[1] += difference < 0
        span = recv // width
        if runs == 0 or out[runs - 1, 0] != span:
            out[runs, 0] = span
            out[runs, 1] = recv
            out[runs, 2] = difference
            runs += 1
        elif difference < out[runs - 1, 2]:
            out[runs - 1, 1] = recv
            out[runs - 1, 2] = difference
    return runs
