"""Integer text to int64."""

from __future__ import annotations

__all__ = ("integer_text_to_ints",)

from numba import int64

from market_data_pipeline.kernels.byte_at import byte_at
from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    BYTES_OUT,
    INT32S_IN,
    INTS_OUT,
    Bytes,
    Int32s,
    Int64s,
)
from market_data_pipeline.kernels.status import EMPTY, MALFORMED, OK, OVERFLOW

_TENTH = 922337203685477580  # of the highest int64, whose last digit is 7


@kernel(int64(INT32S_IN, INT32S_IN, BYTES_IN, INTS_OUT, BYTES_OUT))
def integer_text_to_ints(
    starts: Int32s, ends: Int32s, data: Bytes, out: Int64s, status: Bytes
) -> int:
    """Convert integers written in decimal digits, with or without a sign.

    Args:
        starts: (n,) int32, where the text of each row starts in `data`.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
        out: (n,) int64, written.
        status: (n,) uint8, written: `OK`, `EMPTY`, `MALFORMED` or `OVERFLOW`.

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
        code = MALFORMED if k == end else OK
        value = 0
        while k < end:
            digit = byte_at(data, k) - 48
            if digit < 0 or digit > 9:
                code = MALFORMED
                break
            if value < _TENTH or (value == _TENTH and digit <= 7):
                value = value * 10 + digit
            else:
                code = OVERFLOW
            k += 1
        status[i] = code
        if code == OK:
            out[i] = -value if negative else value
        else:
            bad += 1
    return bad
