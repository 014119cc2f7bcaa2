"""Floats and integers to fixed point, exactly or not at all.

A float stands for its shortest decimal, the one `repr` prints. If the integer
`c = rint(x * 10**scale)` is below 2**52 and `c / 10**scale` is `x` again, then `c` is
that decimal: both operands of the division are exact, so its result is the float nearest
to `c * 10**-scale`; and as neighbours of that decimal are more than one unit in the last
place of `x` away, no other decimal of so few places is nearest to `x`.
"""

from __future__ import annotations

__all__ = ("floats_to_fixed", "floats_to_fixed_checked", "ints_to_fixed")

import numpy as np
from numba import float64, int64, njit

from market_data_pipeline.kernels.signatures import (
    BYTES_OUT,
    FLOATS_IN,
    INTS_IN,
    INTS_OUT,
    Bytes,
    Floats,
    Int64s,
)
from market_data_pipeline.kernels.status import INEXACT, NOT_FINITE, OK, OVERFLOW, UNSURE

_SHIFT = 6755399441055744.0  # 1.5 * 2**52: adding it rounds half to even to an integer
_SHIFT_BITS = np.int64(np.float64(_SHIFT).view(np.int64))
_EXACT = 2251799813685248.0  # 2**51: below it the product rounds to the right integer
_POWERS = np.array([10**i for i in range(19)], np.int64)


@njit(int64(FLOATS_IN, float64, INTS_OUT), cache=True, nogil=True, error_model="numpy")
def floats_to_fixed(values: Floats, factor: float, out: Int64s) -> int:
    """Convert floats whose fixed-point value is below 2**51; count the others.

    Branch-free, so that it runs in vector registers.

    Args:
        values: (n,) float64.
        factor: 10**scale.
        out: (n,) int64, written; undefined where a row could not be converted.

    Returns:
        How many rows could not be converted; `floats_to_fixed_checked` says why.
    """
    bad = 0
    for i in range(values.shape[0]):
        x = values[i]
        shifted = x * factor + _SHIFT
        c = shifted - _SHIFT
        out[i] = np.float64(shifted).view(np.int64) - _SHIFT_BITS
        bad += not ((c / factor == x) & (abs(c) < _EXACT))
    return bad


@njit(int64(FLOATS_IN, int64, INTS_OUT, BYTES_OUT), cache=True, nogil=True, error_model="numpy")
def floats_to_fixed_checked(values: Floats, scale: int, out: Int64s, status: Bytes) -> int:
    """Convert floats and say of each row what came of it.

    Args:
        values: (n,) float64.
        scale: Decimal places of the result, 0 to 18.
        out: (n,) int64, written.
        status: (n,) uint8, written: `OK`, `INEXACT`, `OVERFLOW`, `NOT_FINITE`, or
            `UNSURE` where only the shortest decimal itself can tell.

    Returns:
        How many rows are not `OK`.
    """
    factor = float(_POWERS[scale])
    limit = 9.223372036854775e18
    bad = 0
    for i in range(values.shape[0]):
        x = values[i]
        out[i] = 0
        if not np.isfinite(x):
            status[i] = NOT_FINITE
            bad += 1
            continue
        if abs(x) * factor > limit * 1.000001:
            status[i] = OVERFLOW
            bad += 1
            continue
        c = np.rint(x * factor)
        if abs(c) < _EXACT:
            if c / factor == x:
                out[i] = int(c)
                status[i] = OK
            else:
                status[i] = INEXACT
                bad += 1
            continue
        # Large: a decimal of fewer places may still be below 2**52.
        found = False
        for places in range(scale + 1):
            power = float(_POWERS[places])
            c = np.rint(x * power)
            if abs(c) >= 2.0 * _EXACT:
                break
            if c / power == x:
                rest = _POWERS[scale - places]
                if abs(int(c)) <= 9223372036854775806 // rest:
                    out[i] = int(c) * rest
                    status[i] = OK
                else:
                    status[i] = OVERFLOW
                    bad += 1
                found = True
                break
        if not found:
            status[i] = UNSURE
            bad += 1
    return bad


@njit(int64(INTS_IN, int64, INTS_OUT, BYTES_OUT), cache=True, nogil=True)
def ints_to_fixed(values: Int64s, factor: int, out: Int64s, status: Bytes) -> int:
    """Multiply integers by a power of ten, refusing those that leave the range.

    Args:
        values: (n,) int64.
        factor: 10**scale, positive.
        out: (n,) int64, written.
        status: (n,) uint8, written: `OK` or `OVERFLOW`.

    Returns:
        How many rows are not `OK`.
    """
    highest = 9223372036854775806 // factor
    bad = 0
    for i in range(values.shape[0]):
        x = values[i]
        out[i] = x * factor
        over = (x > highest) | (x < -highest)
        status[i] = OVERFLOW if over else OK
        bad += over
    return bad
