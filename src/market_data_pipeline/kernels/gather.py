"""Copy the values that rows were matched with."""

from __future__ import annotations

__all__ = ("gather_matches",)

from typing import Any

import numba
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    BYTES_OUT,
    INT32S_IN,
    INT32S_OUT,
    INTS_IN,
    INTS_OUT,
    Int64s,
)


@kernel(
    [
        numba.void(INTS_IN, INTS_IN, numba.int64, INTS_OUT),
        numba.void(INT32S_IN, INTS_IN, numba.int32, INT32S_OUT),
        numba.void(BYTES_IN, INTS_IN, numba.uint8, BYTES_OUT),
    ]
)
def gather_matches(
    values: npt.NDArray[Any], places: Int64s, missing: Any, out: npt.NDArray[Any]
) -> None:
    """Copy the value at each place, and a value of its own where there is none.

    Args:
        values: (m,) int64, int32 or uint8.
        places: (n,) int64, 0 <= place < m, or -1 for none.
        missing: What stands for none.
        out: (n,) of the type of `values`, written.
    """
    for row in range(places.size):
        place = places[row]
        out[row] = values[place] if place >= 0 else missing
