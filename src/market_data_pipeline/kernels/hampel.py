"""The last n values of a key, their median, and how far values lie from it: exact integers.

A window is 2 * n words: the values in the order they came, as a ring, then the same values
sorted. The median of an even number of values is the lower of the two in the middle, so
that it is one of them and needs no rounding.
"""

from __future__ import annotations

__all__ = ("deviation", "enter", "median", "span")

from typing import Any

import numpy as np
from numba import int64, njit, uint64, void

_WORDS = int64[::1]


@njit(uint64(int64, int64), cache=True, nogil=True, inline="always")
def span(a: int, b: int) -> Any:
    """Return the distance of two values, which may need all 64 bits."""
    # The difference wraps round to the right unsigned value.
    return np.uint64(a - b) if a > b else np.uint64(b - a)


@njit(int64(_WORDS, int64, int64), cache=True, nogil=True)
def median(words, start, n):
    """Return the median of a full window.

    Args:
        words: The window, from `start`.
        start: Where it begins.
        n: Values it holds, > 0.
    """
    return words[start + n + (n - 1) // 2]


@njit(uint64(_WORDS, int64, int64), cache=True, nogil=True)
def deviation(words, start, n):
    """Return the median of the distances from the median (MAD), the lower of two.

    Walks outwards from the median, always to the nearer side: n / 2 steps.
    """
    first = start + n
    middle = (n - 1) // 2
    center = words[first + middle]
    left, right = middle - 1, middle + 1
    distance = np.uint64(0)
    for _ in range(middle):
        if left < 0:
            distance = span(words[first + right], center)
            right += 1
        elif right >= n:
            distance = span(words[first + left], center)
            left -= 1
        else:
            to_left = span(words[first + left], center)
            to_right = span(words[first + right], center)
            if to_left <= to_right:
                distance = to_left
                left -= 1
            else:
                distance = to_right
                right += 1
    return distance


@njit(void(_WORDS, int64, int64, int64, int64), cache=True, nogil=True)
def enter(words, start, n, count, value):
    """Put a value into a window, in the place of the oldest if the window is full.

    Args:
        words: The window, from `start`, written.
        start: Where it begins.
        n: Values it can hold, > 0.
        count: Values ever put into it.
        value: The value.
    """
    ring = start + count % n
    ordered = words[start + n : start + 2 * n]
    # Counting what is lower takes no branch that could be guessed wrong.
    at, to = 0, 0
    if count < n:
        at = count
        for i in range(count):
            to += ordered[i] <= value
    else:
        oldest = words[ring]
        for i in range(n):
            at += ordered[i] < oldest
            to += ordered[i] <= value
        to -= oldest <= value
    if at < to:
        for i in range(at, to):
            ordered[i] = ordered[i + 1]
    else:
        for i in range(at, to, -1):
            ordered[i] = ordered[i - 1]
    ordered[to] = value
    words[ring] = value
