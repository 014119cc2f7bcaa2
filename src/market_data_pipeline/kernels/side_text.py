"""Words for the side of a trade to one character."""

from __future__ import annotations

__all__ = ("side_text_to_chars",)

from numba import int64

from market_data_pipeline.kernels.byte_at import byte_at
from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.signatures import BYTES_IN, BYTES_OUT, INT32S_IN, Bytes, Int32s
from market_data_pipeline.kernels.status import MALFORMED, OK


@inlined
def _letter(data: Bytes, k: int) -> int:
    return int(byte_at(data, k)) | 32


@kernel(int64(INT32S_IN, INT32S_IN, BYTES_IN, BYTES_OUT, BYTES_OUT))
def side_text_to_chars(
    starts: Int32s, ends: Int32s, data: Bytes, out: Bytes, status: Bytes
) -> int:
    """Convert the aggressor's side to `B` (bought), `A` (sold) or `N` (unknown).

    In any case: `b`, `buy`, `buyer`, `bid` and `1` are `B`; `a`, `ask`, `s`, `sell`,
    `seller`, `2` and `-1` are `A`; `n`, `none`, `u`, `unknown`, `0` and nothing are `N`.

    Args:
        starts: (n,) int32, where the text of each row starts in `data`.
        ends: (n,) int32, where it ends.
        data: (bytes,) uint8.
        out: (n,) uint8, written.
        status: (n,) uint8, written: `OK` or `MALFORMED`.

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
        n = end - k
        side = 0
        if n == 0:
            side = ord("N")
        elif n == 1:
            c = _letter(data, k)
            if c == ord("b") or c == ord("1"):
                side = ord("B")
            elif c == ord("a") or c == ord("s") or c == ord("2"):
                side = ord("A")
            elif c == ord("n") or c == ord("u") or c == ord("0"):
                side = ord("N")
        elif n == 2:
            if byte_at(data, k) == ord("-") and byte_at(data, k + 1) == ord("1"):
                side = ord("A")
        else:
            a, b, c = _letter(data, k), _letter(data, k + 1), _letter(data, k + 2)
            d = _letter(data, k + 3) if n > 3 else 0
            tail = n > 5 and _letter(data, k + 4) == ord("e") and _letter(data, k + 5) == ord("r")
            if a == ord("b") and b == ord("u") and c == ord("y"):
                er = n == 5 and d == ord("e") and _letter(data, k + 4) == ord("r")
                side = ord("B") if n == 3 or er else 0
            elif a == ord("b") and b == ord("i") and c == ord("d") and n == 3:
                side = ord("B")
            elif a == ord("a") and b == ord("s") and c == ord("k") and n == 3:
                side = ord("A")
            elif a == ord("s") and b == ord("e") and c == ord("l") and d == ord("l"):
                side = ord("A") if n == 4 or (n == 6 and tail) else 0
            else:
                none = a == ord("n") and b == ord("o") and c == ord("n") and d == ord("e")
                unknown = a == ord("u") and b == ord("n") and c == ord("k") and d == ord("n")
                side = ord("N") if (none and n == 4) or (unknown and n == 7) else 0
        out[i] = side
        status[i] = OK if side else MALFORMED
        bad += side == 0
    return bad
