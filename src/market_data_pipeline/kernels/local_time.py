"""Local times of one zone to UTC."""

from __future__ import annotations

__all__ = ("local_to_utc",)

from numba import int64

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import BYTES_OUT, INTS_IN, INTS_OUT, Bytes, Int64s
from market_data_pipeline.kernels.status import LOCAL, NONEXISTENT, OK


@kernel(int64(INTS_IN, INTS_IN, INTS_OUT, BYTES_OUT))
def local_to_utc(starts: Int64s, offsets: Int64s, times: Int64s, status: Bytes) -> int:
    """Convert, in place, the times whose status is `LOCAL`.

    A local time that the clocks show twice is the first of the two; one that they jump
    over is `NONEXISTENT`.

    Args:
        starts: (m,) int64, ascending: UTC nanoseconds from which each offset holds; the
            first lies before all of `times`.
        offsets: (m,) int64: nanoseconds that local time is ahead of UTC.
        times: (n,) int64 nanoseconds, local going in, UTC coming out.
        status: (n,) uint8, changed from `LOCAL` to `OK` or `NONEXISTENT`.

    Returns:
        How many rows are `NONEXISTENT`.
    """
    last = starts.shape[0] - 1
    bad = 0
    at = 0
    for i in range(times.shape[0]):
        if status[i] != LOCAL:
            continue
        local = times[i]
        while at > 0 and local - offsets[at - 1] < starts[at]:
            at -= 1
        while at < last and local - offsets[at] >= starts[at + 1]:
            at += 1
        utc = local - offsets[at]
        if utc < starts[at]:
            status[i] = NONEXISTENT
            bad += 1
        else:
            times[i] = utc
            status[i] = OK
    return bad
