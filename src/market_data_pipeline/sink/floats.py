"""Fixed point to the nearest float, exactly rounded."""

from __future__ import annotations

__all__ = ("nearest_floats",)

from typing import Final

import numpy as np
import numpy.typing as npt

_EXACT: Final = 2**53
"""Integers below this are floats without rounding."""
_MANTISSA_BITS: Final = 53


def nearest_floats(values: npt.NDArray[np.int64], scale: int) -> npt.NDArray[np.float64]:
    """Return the floats nearest to `values / 10**scale`, (n,) float64; ties go to even.

    Below 2**53 both operands of the division are exact, so it rounds once and rightly.
    Above, converting the integer would round a first time; there the quotient is found
    in integers.

    A value of up to 15 significant digits can be had back from its float.

    Args:
        values: (n,) fixed point.
        scale: Decimal places, 0 to 18.
    """
    divisor = 10**scale
    floats: npt.NDArray[np.float64] = np.true_divide(values, float(divisor))
    if len(values) and (values.max() >= _EXACT or values.min() <= -_EXACT):
        large = np.flatnonzero((values >= _EXACT) | (values <= -_EXACT))
        floats[large] = _large(values[large], divisor)
    return floats


def _large(values: npt.NDArray[np.int64], divisor: int) -> npt.NDArray[np.float64]:
    magnitude = np.abs(values).view(np.uint64)
    quotient, rest = np.divmod(magnitude, np.uint64(divisor))
    # Bits of the mantissa that lie behind the point; the mantissa then has 53 in all.
    bits = _MANTISSA_BITS - np.frexp(quotient.astype(np.float64))[1]
    if divisor > 10**9 or divisor == 1 or int(bits.min()) < 1:
        # Division of Python integers rounds rightly, whatever their size.
        return np.array([value / divisor for value in values.tolist()], np.float64)
    shift = bits.astype(np.uint64)
    fraction, rest = np.divmod(rest << shift, np.uint64(divisor))
    mantissa = (quotient << shift) | fraction
    doubled = rest * np.uint64(2)
    odd = (mantissa & np.uint64(1)) == 1
    mantissa += (doubled > divisor) | ((doubled == divisor) & odd)
    found: npt.NDArray[np.float64] = np.ldexp(mantissa.astype(np.float64), -bits)
    return np.where(values < 0, -found, found)
