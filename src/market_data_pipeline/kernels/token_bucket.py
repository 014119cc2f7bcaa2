"""Let rows pass at a rate, told by their event times."""

from __future__ import annotations

__all__ = ("take_tokens",)

import numpy as np
import numpy.typing as npt
from numba import boolean, int64, njit

from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT


@njit(
    int64(INTS_OUT, INTS_IN, int64, int64, int64, boolean[::1]),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def take_tokens(
    state: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    refill: int,
    cost: int,
    capacity: int,
    keep: npt.NDArray[np.bool_],
) -> int:
    """Mark the rows for which there is a token.

    Args:
        state: (2,) int64, updated: units in the bucket, the highest event time seen.
        times: (n,) int64 event times, nanoseconds; time does not run backwards for the
            bucket.
        refill: Units that flow in per nanosecond, > 0.
        cost: Units a row takes out, > 0.
        capacity: Units the bucket holds, >= cost; `capacity + refill` is below 2**63.
        keep: (n,) bool, written.

    Returns:
        The number of rows marked.
    """
    level, latest = state[0], state[1]
    # After so long the bucket is full, whatever was in it; longer gaps need no product.
    full_ns = capacity // refill + 1
    kept = 0
    for i in range(times.size):
        time = times[i]
        if time > latest:
            # The difference of far times may leave int64; as unsigned it is right.
            gap = np.uint64(time) - np.uint64(latest)
            if gap >= np.uint64(full_ns):
                level = capacity
            else:
                level = min(capacity, level + np.int64(gap) * refill)
            latest = time
        keep[i] = level >= cost
        if keep[i]:
            level -= cost
            kept += 1
    state[0], state[1] = level, latest
    return kept
