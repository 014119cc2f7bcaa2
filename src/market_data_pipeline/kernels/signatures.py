"""The array types in the signatures of kernels.

Inputs are declared read-only, as Arrow's buffers are; a writable array is accepted for
them too, so each kernel is compiled once.
"""

from __future__ import annotations

__all__ = (
    "BYTES_IN",
    "BYTES_OUT",
    "FLOATS_IN",
    "INT32S_IN",
    "INT32S_OUT",
    "INTS_IN",
    "INTS_OUT",
    "Bytes",
    "Floats",
    "Int32s",
    "Int64s",
)

import numpy as np
import numpy.typing as npt
from numba import float64, int32, int64, uint8
from numba.core.types import Array

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

INTS_IN = Array(int64, 1, "C", readonly=True)
INTS_OUT = Array(int64, 1, "C")
INT32S_IN = Array(int32, 1, "C", readonly=True)
INT32S_OUT = Array(int32, 1, "C")
FLOATS_IN = Array(float64, 1, "C", readonly=True)
BYTES_IN = Array(uint8, 1, "C", readonly=True)
BYTES_OUT = Array(uint8, 1, "C")
