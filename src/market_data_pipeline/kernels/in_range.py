"""Tell which integers lie between two others."""

from __future__ import annotations

__all__ = ("in_range",)

import numpy as np
import numpy.typing as npt
from numba import boolean, int64, void

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import INTS_IN, Int64s


@kernel(void(INTS_IN, int64, int64, boolean[::1]))
def in_range(column: Int64s, least: int, most: int, out: npt.NDArray[np.bool_]) -> None:
    """Write for each value whether `least <= value <= most`.

    Args:
        column: (n,) int64, in any unit.
        least: In the same unit.
        most: In the same unit.
        out: (n,) bool, written.
    """
    for i in range(column.size):
        out[i] = (column[i] >= least) & (column[i] <= most)
