"""The tables a synthetic market is drawn from: symbols, gaps between rows, sizes, pace."""

from __future__ import annotations

__all__ = (
    "GAP_BITS",
    "STRETCH_COUNT",
    "STRETCH_WORDS",
    "SYMBOL_BITS",
    "gap_table",
    "size_table",
    "stretches",
    "zipf_table",
)

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

SYMBOL_BITS: Final = 20
GAP_BITS: Final = 12

STRETCH_COUNT: Final = 32
"""Stretches of a block, each busier or quieter than the mean."""
STRETCH_WORDS: Final = 36
"""Random words that put the stretches of a block in order."""

_LOT: Final = 1_000_000_000
# Each averages to 1000, so that every block keeps the mean rate.
_LONG: Final = np.array([580, 840, 1_120, 1_460], np.int64)
_SHORT: Final = np.array([640, 790, 880, 950, 1_020, 1_110, 1_230, 1_380], np.int64)

Int64s: TypeAlias = npt.NDArray[np.int64]


def stretches(words: npt.NDArray[np.uint64]) -> Int64s:
    """Return how long the gaps of each stretch are, (STRETCH_COUNT,) in 1/1000 of the mean.

    Args:
        words: (STRETCH_WORDS,) random words.
    """
    long = _LONG[np.argsort(words[:4], kind="stable")]
    short = _SHORT[np.argsort(words[4:].reshape(4, 8), axis=1, kind="stable")]
    pace: Int64s = (long[:, None] * short // 1_000).ravel()
    return pace


def zipf_table(symbol_count: int, exponent: float) -> npt.NDArray[np.uint16]:
    """Return the symbol rank for each value of the symbol bits; every rank has a share."""
    slots = 1 << SYMBOL_BITS
    weights = 1.0 / np.arange(1, symbol_count + 1) ** exponent
    edges = np.rint(np.cumsum(weights) / weights.sum() * (slots - symbol_count)).astype(np.int64)
    shares = np.diff(edges, prepend=0) + 1
    return np.repeat(np.arange(symbol_count, dtype=np.uint16), shares)


def gap_table(rate: float) -> Int64s:
    """Return exponential gaps between rows, nanoseconds, whose mean is that of `rate`."""
    count = 1 << GAP_BITS
    raw = [-math.log((k + 0.5) / count) for k in range(count)]
    scale = 1e9 / rate * count / math.fsum(raw)
    return np.array([max(1, round(gap * scale)) for gap in raw], np.int64)


def size_table() -> Int64s:
    """Return 256 sizes, small ones more often; from 20 on in round lots."""
    raw = [1 + int(-12 * math.log((k + 0.5) / 256)) for k in range(256)]
    return np.array([n if n < 20 else n // 10 * 10 for n in raw], np.int64) * _LOT
