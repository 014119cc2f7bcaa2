"""Decimal text to fixed point."""

from __future__ import annotations

__all__ = ("decimal_text_to_fixed",)

import numpy as np
from numba import int64

from market_data_pipeline.kernels.byte_at import byte_at
from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    BYTES_OUT,
    INT32S_IN,
    INTS_OUT,
    Bytes,
    Int32s,
    Int64s,
)
from market_data_pipeline.kernels.status import (
    EMPTY,
    INEXACT,
    MALFORMED,
    NOT_FINITE,
    OK,
    OVERFLOW,
)

_POWERS = np.array([10**i for i in range(19)], np.int64)
_TENTH = 922337203685477580  # of the highest int64, whose last digit is 7
_HIGHEST = 9223372036854775806


@inlined
def _is_word_for_no_number(data: Bytes, start: int, end: int) -> bool:
    # nan, inf, infinity in any case; `| 32` makes a letter small.
    if end - start != 3 and end - start != 8:
        return False
    a, b, c = (
        byte_at(data, start) | 32,
        byte_at(data, start + 1) | 32,
        byte_at(data, start + 2) | 32,
    )
    nan = a == ord("n") and b == ord("a") and c == ord("n")
    inf = a == ord("i") and b == ord("n") and c == ord("f")
    return (nan and end - start == 3) or inf


@kernel(int64(INT32S_IN, INT32S_IN, BYTES_IN, int64, INTS_OUT, BYTES_OUT))
def decimal_text_to_fixed(
    starts: Int32s, ends: Int32s, data: Bytes, scale: int, out: Int64s, status: Bytes
) -> int:
    """Convert decimal numbers, with or without an exponent, exactly.

    Spaces around the number are passed over. Digits past `scale` places must be zeros.

    Args:
        starts: (n,) int32, where the text of each row starts in `data`.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
        scale: Decimal places of the result, 0 to 18.
        out: (n,) int64, written.
        status: (n,) uint8, written: `OK`, `EMPTY`, `MALFORMED`, `NOT_FINITE`, `INEXACT`
            or `OVERFLOW`.

    Returns:
        How many rows are not `OK`.
    """
    bad = 0
    for i in range(starts.shape[0]):
        k = int(starts[i])
        end = int(ends[i])
        while k < end and byte_at(data, k) == 32:
            k += 1
        while end > k and byte_at(data, end - 1) == 32:
            end -= 1
        out[i] = 0
        if k == end:
            status[i] = EMPTY
            bad += 1
            continue
        negative = byte_at(data, k) == ord("-")
        if negative or byte_at(data, k) == ord("+"):
            k += 1
        value = 0
        exponent = 0
        digits = 0
        point = False
        lost = False
        while k < end:
            digit = byte_at(data, k) - 48
            if 0 <= digit <= 9:
                digits += 1
                if value < _TENTH or (value == _TENTH and digit <= 7):
                    value = value * 10 + digit
                    exponent -= point
                else:
                    lost |= digit != 0
                    exponent += not point
            elif digit == -2 and not point:
                point = True
            else:
                break
            k += 1
        if k < end and digits > 0 and (byte_at(data, k) | 32) == ord("e"):
            k += 1
            minus = k < end and byte_at(data, k) == ord("-")
            if k < end and (minus or byte_at(data, k) == ord("+")):
                k += 1
            power = 0
            first = k
            while k < end and 48 <= byte_at(data, k) <= 57:
                power = min(power * 10 + byte_at(data, k) - 48, 1_000_000)
                k += 1
            if k == first:
                digits = 0
            exponent += -power if minus else power
        if digits == 0 or k != end:
            if digits == 0 and not point and _is_word_for_no_number(data, k, end):
                status[i] = NOT_FINITE
            else:
                status[i] = MALFORMED
            bad += 1
            continue
        code = OK
        shift = exponent + scale
        if value == 0:
            code = OK
        elif shift >= 0:
            if lost:
                code = INEXACT if shift == 0 else OVERFLOW
            elif shift > 18 or value > _HIGHEST // _POWERS[shift]:
                code = OVERFLOW
            else:
                value *= _POWERS[shift]
        elif lost or shift < -18:
            code = INEXACT
        else:
            whole = value // _POWERS[-shift]
            if whole * _POWERS[-shift] != value:
                code = INEXACT
            value = whole
        status[i] = code
        if code == OK:
            out[i] = -value if negative else value
        else:
            bad += 1
    return bad
