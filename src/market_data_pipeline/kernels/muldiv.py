"""Products and quotients of fixed-point columns, exact to the last place."""

from __future__ import annotations

__all__ = ("divide_wide", "multiply_divide", "multiply_wide")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import boolean, int64, njit, uint64
from numba.core.types import Tuple, UniTuple

from market_data_pipeline.kernels.signatures import INTS_IN, INTS_OUT

_UNDEFINED: Final = int(np.iinfo(np.int64).max)
_LOW: Final = np.uint64(0xFFFFFFFF)
_32: Final = np.uint64(32)
_TOP: Final = np.uint64(1 << 63)


@njit(UniTuple(uint64, 2)(uint64, uint64), cache=True, nogil=True)
def multiply_wide(a: Any, b: Any) -> Any:
    """Return the high and low half of the 128-bit product."""
    a0, a1, b0, b1 = a & _LOW, a >> _32, b & _LOW, b >> _32
    low = a0 * b0
    middle = a1 * b0 + (low >> _32)
    middle2 = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _32) + (middle2 >> _32), (middle2 << _32) | (low & _LOW)


@njit(UniTuple(uint64, 2)(uint64, uint64, uint64), cache=True, nogil=True, error_model="numpy")
def divide_wide(high: Any, low: Any, divisor: Any) -> Any:
    """Return quotient and remainder; `high < divisor`.

    Schoolbook division in base 2**32: Knuth, The Art of Computer Programming, volume 2,
    algorithm D.
    """
    if high == 0:
        return low // divisor, low % divisor
    shift = np.uint64(0)
    while not divisor & _TOP:
        divisor <<= np.uint64(1)
        shift += np.uint64(1)
    if shift:
        high = (high << shift) | (low >> (np.uint64(64) - shift))
        low <<= shift
    d1, d0 = divisor >> _32, divisor & _LOW
    quotient = np.uint64(0)
    for part in (low >> _32, low & _LOW):
        digit = high // d1
        rest = high - digit * d1
        while digit > _LOW or digit * d0 > ((rest << _32) | part):
            digit -= np.uint64(1)
            rest += d1
            if rest > _LOW:
                break
        # Wraps round to the right value: the true difference is less than the divisor.
        high = ((high << _32) | part) - digit * divisor
        quotient = (quotient << _32) | digit
    return quotient, high >> shift


@njit(uint64(int64), cache=True, nogil=True)
def _magnitude(value: int) -> Any:
    return np.uint64(value) if value >= 0 else np.uint64(0) - np.uint64(value)


@njit(Tuple((int64, boolean))(int64, int64, int64), cache=True, nogil=True)
def _rounded(a: int, b: int, c: int) -> Any:
    """Return `a * b / c` rounded half to even, and whether it is in range."""
    high, low = multiply_wide(_magnitude(a), _magnitude(b))
    divisor = _magnitude(c)
    if high >= divisor:
        return 0, False
    quotient, rest = divide_wide(high, low, divisor)
    half = divisor - rest
    if rest > half or (rest == half and quotient & np.uint64(1)):
        quotient += np.uint64(1)
        if quotient == 0:
            return 0, False
    if (a < 0) ^ (b < 0) ^ (c < 0):
        # Down to the lowest int64, whose magnitude is one more than the highest.
        return np.int64(np.uint64(0) - quotient), quotient <= _TOP
    return np.int64(quotient), quotient < np.uint64(_UNDEFINED)


@njit(int64(INTS_IN, INTS_IN, INTS_IN, INTS_OUT), cache=True, nogil=True)
def multiply_divide(
    a: npt.NDArray[np.int64],
    b: npt.NDArray[np.int64],
    c: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> int:
    """Write `a * b / c` for each row, rounded half to even; 128 bits in between.

    A row is `UNDEFINED` where an operand is, or `c` is 0.

    Args:
        a: (n,) int64, or (1,) for the same value in each row; so `b` and `c`.
        b: As `a`.
        c: As `a`.
        out: (n,) int64, written.

    Returns:
        -1, or the first row whose result is out of range.
    """
    step_a, step_b, step_c = int(a.size > 1), int(b.size > 1), int(c.size > 1)
    for i in range(out.size):
        x, y, z = a[i * step_a], b[i * step_b], c[i * step_c]
        if x == _UNDEFINED or y == _UNDEFINED or z == _UNDEFINED or z == 0:  # noqa: PLR1714
            out[i] = _UNDEFINED
            continue
        out[i], fits = _rounded(x, y, z)
        if not fits:
            return i
    return -1
