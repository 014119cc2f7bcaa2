"""MurmurHash3 (x64, 128 bit, seed 0) of many byte strings at once."""

from __future__ import annotations

__all__ = ("hash_bytes",)

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel

_BYTES = numba.types.Array(numba.uint8, 1, "C", readonly=True)
_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)

_C1: Final = np.uint64(0x87C37B91114253D5)
_C2: Final = np.uint64(0x4CF5AD432745937F)
_MIX_1: Final = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2: Final = np.uint64(0xC4CEB9FE1A85EC53)


@kernel(numba.uint64(numba.uint64, numba.int64))
def _rotate(x: Any, bits: int) -> Any:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@kernel(numba.uint64(numba.uint64))
def _finish(x: Any) -> Any:
    x ^= x >> np.uint64(33)
    x *= _MIX_1
    x ^= x >> np.uint64(33)
    x *= _MIX_2
    return x ^ (x >> np.uint64(33))


@kernel(numba.uint64(_BYTES, numba.int64, numba.int64))
def _word(data: npt.NDArray[np.uint8], start: int, count: int) -> Any:
    word = np.uint64(0)
    for i in range(count):
        word |= np.uint64(data[start + i]) << np.uint64(8 * i)
    return word


@kernel(numba.void(_BYTES, _INT64S, numba.int64[::1], numba.int64[::1]))
def hash_bytes(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
) -> None:
    """Write the hash of each byte string, equal to `mmh3.hash64(text)`.

    Args:
        data: The byte strings, one after the other.
        offsets: (n + 1,) int64, ascending: string i is `data[offsets[i]:offsets[i + 1]]`.
        first: (n,) int64, written: the first half of the hash.
        second: (n,) int64, written: the second half.
    """
    for i in range(first.size):
        start = offsets[i]
        length = offsets[i + 1] - start
        h1 = np.uint64(0)
        h2 = np.uint64(0)
        for block in range(length // 16):
            k1 = _word(data, start + 16 * block, 8)
            k2 = _word(data, start + 16 * block + 8, 8)
            h1 ^= _rotate(k1 * _C1, 31) * _C2
            h1 = (_rotate(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
            h2 ^= _rotate(k2 * _C2, 33) * _C1
            h2 = (_rotate(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
        tail = start + length // 16 * 16
        left = length % 16
        if left > 8:
            h2 ^= _rotate(_word(data, tail + 8, left - 8) * _C2, 33) * _C1
        if left > 0:
            h1 ^= _rotate(_word(data, tail, min(left, 8)) * _C1, 31) * _C2
        h1 ^= np.uint64(length)
        h2 ^= np.uint64(length)
        h1 += h2
        h2 += h1
        h1 = _finish(h1)
        h2 = _finish(h2)
        h1 += h2
        h2 += h1
        first[i] = np.int64(h1)
        second[i] = np.int64(h2)
