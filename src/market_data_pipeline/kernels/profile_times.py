"""Follow event times through a file: ranges, disorder and silence, in one pass."""

from __future__ import annotations

__all__ = ("WORDS", "profile_times")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel

WORDS: Final = 8
"""Words of a profile: rows, first, last, rows out of order, worst disorder, longest
silence, its start, its end."""

_INT64S: Any = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S: Any = numba.types.Array(numba.int32, 1, "C", readonly=True)


@kernel(numba.void(_INT64S, _INT32S, numba.int64[:, ::1]))
def profile_times(
    times: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int32],
    profiles: npt.NDArray[np.int64],
) -> None:
    """Bring profiles forward by the rows of one batch, in file order.

    A row is out of order if its time is below the highest before it; its disorder is the
    difference. Silence is the time by which a row exceeds the highest before it.

    Args:
        times: (n,) event times, nanoseconds.
        codes: (n,) symbol codes, each < k.
        profiles: (k + 1, WORDS), updated; row 0 is of all symbols together, row c + 1 of
            the symbol with code c; zeros at the start.
    """
    for i in range(times.size):
        time = times[i]
        for row in (np.int64(0), np.int64(codes[i]) + 1):
            if profiles[row, 0] == 0:
                profiles[row, 1] = time
                profiles[row, 2] = time
            elif time < profiles[row, 2]:
                profiles[row, 1] = min(profiles[row, 1], time)
                profiles[row, 3] += 1
                profiles[row, 4] = max(profiles[row, 4], profiles[row, 2] - time)
            else:
                silence = time - profiles[row, 2]
                if silence > profiles[row, 5]:
                    profiles[row, 5] = silence
                    profiles[row, 6] = profiles[row, 2]
                    profiles[row, 7] = time
                profiles[row, 2] = time
            profiles[row, 0] += 1
