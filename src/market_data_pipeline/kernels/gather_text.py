"""Fields scattered over a block of text to one contiguous string column."""

from __future__ import annotations

__all__ = ("gather_text",)

from numba import int64

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    BYTES_OUT,
    INT32S_IN,
    INT32S_OUT,
    Bytes,
    Int32s,
)

_QUOTE = 34


@kernel(int64(INT32S_IN, INT32S_IN, BYTES_IN, INT32S_OUT, BYTES_OUT))
def gather_text(starts: Int32s, ends: Int32s, data: Bytes, offsets: Int32s, out: Bytes) -> int:
    """Copy fields one after the other, a doubled quote in a quoted field as one.

    Args:
        starts: (n,) int32, where the field of each row starts in `data`, past its quote.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
        offsets: (n + 1,) int32, written: where each field starts in `out`.
        out: (sum of lengths,) uint8, written.

    Returns:
        How many bytes of `out` are used.
    """
    at = 0
    offsets[0] = 0
    for i in range(starts.shape[0]):
        start = int(starts[i])
        quoted = start > 0 and data[start - 1] == _QUOTE
        k = start
        while k < ends[i]:
            out[at] = data[k]
            at += 1
            k += 2 if quoted and data[k] == _QUOTE else 1
        offsets[i + 1] = at
    return at
