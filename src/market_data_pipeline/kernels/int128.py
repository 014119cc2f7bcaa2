"""Signed 128-bit sums of 64-bit products, and their division, inside numba.

A price times a size, both at 1e-9, leaves 64 bits within one trade; a sum of them needs
128. The sum is held as two int64 words: `high * 2**64 + unsigned(low)`.
"""

from __future__ import annotations

__all__ = ("add_product", "divide_half_even")

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

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
        return cgutils.pack_struct(builder, words)

    return signature, codegen


add_product: Any = intrinsic(_add_product)

_HALF = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_BASE = np.uint64(1 << 32)


@njit(inline="never")
def _divide(high, low, divisor):
    """Return quotient and remainder of an unsigned 128-bit number, `high < divisor`.

    Schoolbook division in base 2**32, as in Knuth, The Art of Computer Programming,
    volume 2, section 4.3.1, algorithm D. All uint64.
    """
    shift = np.uint64(0)
    while (divisor >> np.uint64(63)) == np.uint64(0):
        divisor = divisor << _ONE
        shift += _ONE
    if shift:
        high = (high << shift) | (low >> (np.uint64(64) - shift))
        low = low << shift
    divisor_1 = divisor >> _HALF
    divisor_0 = divisor & _MASK
    digits = np.uint64(0)
    rest = high
    for half in range(2):
        following = (low >> _HALF) if half == 0 else (low & _MASK)
        digit = rest // divisor_1
        remainder = rest - digit * divisor_1
        while digit >= _BASE or digit * divisor_0 > (remainder << _HALF) + following:
            digit -= _ONE
            remainder += divisor_1
            if remainder >= _BASE:
                break
        rest = (rest << _HALF) + following - digit * divisor
        digits = (digits << _HALF) | digit
    return digits, rest >> shift


@njit
def divide_half_even(low, high, divisor):
    """Return the 128-bit `(high, low) / divisor`, rounded half to even, and True if it fits.

    Args:
        low: Low word, int64.
        high: High word, int64; its sign is that of the number.
        divisor: int64, > 0.
    """
    negative = high < 0
    unsigned_low = np.uint64(low)
    unsigned_high = np.uint64(high)
    if negative:
        unsigned_low = ~unsigned_low + _ONE
        unsigned_high = ~unsigned_high
        if unsigned_low == np.uint64(0):
            unsigned_high += _ONE
    by = np.uint64(divisor)
    if unsigned_high >= by:
        return 0, False
    if unsigned_high == np.uint64(0):
        quotient = unsigned_low // by
        rest = unsigned_low - quotient * by
    else:
        quotient, rest = _divide(unsigned_high, unsigned_low, by)
    gap = by - rest
    if rest > gap or (rest == gap and (quotient & _ONE) == _ONE):
        quotient += _ONE
    if (quotient >> np.uint64(63)) != np.uint64(0):
        return 0, False
    result = np.int64(quotient)
    return (-result if negative else result), True
