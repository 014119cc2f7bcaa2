"""Signed 128-bit sums of 64-bit products, and their division, inside numba.

A price times a size, both at 1e-9, leaves 64 bits within one trade; a sum of them needs
128. The sum is held as two int64 words: `high * 2**64 + unsigned(low)`.
"""

from __future__ import annotations

__all__ = ("add_product", "add_wide", "divide_half_even")

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from market_data_pipeline.kernels.compiling import called, inlined

_I64 = ir.IntType(64)
_I128 = ir.IntType(128)


def _add_product(
    typing_context: Any,  # noqa: ARG001
    low: Any,
    high: Any,
    a: Any,
    b: Any,
) -> Any:
    """Return `(low, high)` of the 128-bit sum `(high, low) + a * b`; all int64."""
    signature = types.UniTuple(types.int64, 2)(low, high, a, b)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low, high, a, b = args
        total = builder.or_(
            builder.shl(builder.sext(high, _I128), ir.Constant(_I128, 64)),
            builder.zext(low, _I128),
        )
        product = builder.mul(builder.sext(a, _I128), builder.sext(b, _I128))
        total = builder.add(total, product)
        words = [
            builder.trunc(total, _I64),
            builder.trunc(builder.lshr(total, ir.Constant(_I128, 64)), _I64),
        ]
        return context.make_tuple(builder, sig.return_type, words)

    return signature, codegen


add_product: Any = intrinsic(_add_product)

_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_TWO_64 = 18446744073709551616.0
_TOO_LARGE = 9.3e18
_BELOW_TWO_63 = 9223372036854774784.0


@inlined
def add_wide(low, high, more_low, more_high):
    """Return `(low, high)` of the sum of two 128-bit numbers; all int64."""
    total = np.int64(np.uint64(low) + np.uint64(more_low))
    carry = 1 if np.uint64(total) < np.uint64(low) else 0
    return total, high + more_high + carry


@inlined
def _estimate(low, high, divisor):
    """Return about how often a divisor goes into a 128-bit number."""
    return (np.float64(high) * _TWO_64 + np.float64(np.uint64(low))) / np.float64(divisor)


@inlined
def _divide(low, high, divisor, estimate):
    """Return quotient and rest, both uint64, of a number whose quotient is below 9.3e18.

    A quotient estimated with floats is off by 2**-51 of itself. What it leaves is exact
    and mostly less than the divisor, or fits in 64 bits at least; the second time it does
    unless the divisor is large, and then a step or two are missing.
    """
    digits = _ZERO
    if high != low >> 63:
        part = np.int64(min(estimate, _BELOW_TWO_63))
        digits = np.uint64(part)
        low, high = add_product(low, high, -part, divisor)
        if high == low >> 63:
            # A division takes as long as all else here, and mostly is not needed.
            if 0 <= low < divisor:
                return digits, np.uint64(low)
            if -divisor <= low < 0:
                return digits - _ONE, np.uint64(low + divisor)
        else:
            part = np.int64(min(_estimate(low, high, divisor), _BELOW_TWO_63))
            digits += np.uint64(part)
            low, high = add_product(low, high, -part, divisor)
    while high > 0 or (high == 0 and low < 0):
        digits += _ONE
        low, high = add_product(low, high, -1, divisor)
    while high < -1 or (high == -1 and low >= 0):
        digits -= _ONE
        low, high = add_product(low, high, 1, divisor)
    part = low // divisor
    return digits + np.uint64(part), np.uint64(low - part * divisor)


@called
def divide_half_even(low, high, divisor):
    """Return the 128-bit `(high, low) / divisor`, rounded half to even, and True if it fits.

    Args:
        low: Low word, int64.
        high: High word, int64; its sign is that of the number.
        divisor: int64, > 0.
    """
    negative = high < 0
    if negative:
        low = np.int64(~np.uint64(low) + _ONE)
        high = np.int64(~np.uint64(high) + (_ONE if low == 0 else _ZERO))
    estimate = _estimate(low, high, divisor)
    if high < 0 or estimate > _TOO_LARGE:
        return 0, False
    quotient, rest = _divide(low, high, divisor, estimate)
    gap = np.uint64(divisor) - rest
    if rest > gap or (rest == gap and (quotient & _ONE) == _ONE):
        quotient += _ONE
    if (quotient >> np.uint64(63)) != _ZERO:
        return 0, False
    result = np.int64(quotient)
    return (-result if negative else result), True
