"""Check each row against itself and against what is remembered of its symbol.

What is remembered is a slot of words, packed in one array:

- the words `SLOT_*` below, FIXED of them, and from `SLOT_SIDES` on three words for each
  side (a price; a quote's bid and ask): reference, candidate, candidates in a row;
- if outliers are looked for, a window of `kernels.hampel` for each side.

Bits of a mask, `IS_*`, are those of `market_data_pipeline.records.Flaw`.
"""

from __future__ import annotations

__all__ = (
    "FIXED",
    "IS_CLOCK_SKEW",
    "IS_CROSSED",
    "IS_LOCKED",
    "IS_ONE_SIDED",
    "IS_OUTLIER",
    "IS_OUT_OF_SEQUENCE",
    "IS_PRICE_BAND",
    "IS_STALE",
    "IS_ZERO_SIZE",
    "SETTINGS",
    "SLOT_CODE",
    "SLOT_REACHED",
    "check_rows",
)

from typing import Any, Final

import numba
import numpy as np

from market_data_pipeline.kernels.compiling import inlined, kernel
from market_data_pipeline.kernels.hampel import deviation, enter, median, span
from market_data_pipeline.kernels.muldiv import multiply_wide
from market_data_pipeline.kernels.signatures import (
    INT32S_IN,
    INT32S_OUT,
    INTS_IN,
    INTS_OUT,
    Int32s,
    Int64s,
)

IS_CROSSED: Final = 1
IS_LOCKED: Final = 2
IS_ONE_SIDED: Final = 4
IS_ZERO_SIZE: Final = 8
IS_CLOCK_SKEW: Final = 16
IS_OUT_OF_SEQUENCE: Final = 32
IS_STALE: Final = 64
IS_PRICE_BAND: Final = 128
IS_OUTLIER: Final = 256

_OF_STATE: Final = IS_OUT_OF_SEQUENCE | IS_STALE | IS_PRICE_BAND | IS_OUTLIER

SETTINGS: Final = (
    "enabled",  # bits of the checks that are made
    "rejecting",  # bits of those whose rows are rejected
    "skew",  # nanoseconds by which the event time may be above that of receipt
    "disorder",  # nanoseconds by which event time may fall
    "stale",  # nanoseconds for which a quote may stand unchanged
    "band",  # parts per million of the reference by which a price may be off
    "confirm",  # prices in a row that make a new reference, 0 for never
    "window",  # values in the window of outliers
    "factor",  # threshold * 1.4826 * 10**7
    "least",  # parts per million of the median by which an outlier must be off
    "ttl",  # nanoseconds of watermark for which a symbol is remembered
)
"""The words of the settings, in order."""

SLOT_CODE: Final = 0
SLOT_REACHED: Final = 1  # the watermark after the symbol's last row
_HIGHEST: Final = 2  # highest event time, the lowest int64 if there is none
_SINCE: Final = 3  # event time of the first of the equal quotes that came last
_LAST: Final = 4  # bid, ask, size of the bid, size of the ask
_FILLED: Final = 8  # values ever put into the window of each side
_SIDES: Final = 10
FIXED: Final = 16

_UNDEFINED: Final = int(np.iinfo(np.int64).max)
_LOWEST: Final = int(np.iinfo(np.int64).min)
_MILLION: Final = np.uint64(1_000_000)
_SCALE: Final = np.uint64(10_000_000)


@kernel(numba.boolean(numba.uint64, numba.uint64, numba.uint64, numba.uint64))
def _exceeds(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Tell whether `a * b > c * d`, with products of 128 bits."""
    high, low = multiply_wide(a, b)
    other_high, other_low = multiply_wide(c, d)
    return high > other_high or (high == other_high and low > other_low)


@kernel(numba.boolean(numba.int64, numba.int64, numba.int64))
def _is_off(price: int, reference: int, parts: int) -> Any:
    """Tell whether a price is off a reference by more than so many parts per million."""
    return _exceeds(span(price, reference), _MILLION, np.uint64(parts), span(reference, 0))


@inlined
def _is_later(time, than, by):
    """Tell whether a time is later than another by more than `by` nanoseconds."""
    return time > than and span(time, than) > np.uint64(by)


@kernel(numba.void(numba.int64[::1], numba.int64, numba.int64, numba.int64))
def _begin_slot(slots: Int64s, base: int, width: int, code: int) -> None:
    for i in range(base, base + width):
        slots[i] = 0
    slots[base + SLOT_CODE] = code
    slots[base + _HIGHEST] = _LOWEST
    slots[base + _SINCE] = _UNDEFINED
    slots[base + _SIDES] = _UNDEFINED
    slots[base + _SIDES + 3] = _UNDEFINED


@kernel(
    numba.void(numba.int64[::1], numba.int64, numba.int64, numba.boolean, numba.int64, numba.int64)
)
def _move_reference(
    slots: Int64s, side: int, price: int, off: Any, parts: int, confirm: int
) -> None:
    if not off:
        slots[side] = price
        slots[side + 2] = 0
        return
    if slots[side + 2] == 0 or _is_off(price, slots[side + 1], parts):
        slots[side + 2] = 0
    slots[side + 1] = price
    slots[side + 2] += 1
    if slots[side + 2] == confirm:
        slots[side] = price
        slots[side + 2] = 0


@kernel(numba.boolean(numba.int64[::1], *(numba.int64,) * 6))
def _is_outlier(
    slots: Int64s, start: int, filled: int, price: int, n: int, factor: int, least: int
) -> Any:
    if filled < n or price == _UNDEFINED:
        return False
    center = median(slots, start, n)
    # Walking out to the median deviation takes n / 2 steps; few prices need it.
    if not _is_off(price, center, least):
        return False
    spread = deviation(slots, start, n)
    return _exceeds(span(price, center), _SCALE, np.uint64(factor), spread)


@kernel(
    numba.int64(
        *(INTS_IN, INT32S_IN, INTS_IN, INTS_IN, numba.int64, numba.int64),
        *(INTS_IN, INTS_IN, INTS_IN, INTS_IN, INTS_IN),
        *(INT32S_OUT, INTS_OUT, numba.int64, INTS_OUT, INTS_OUT, INTS_OUT, numba.int64),
    )
)
def check_rows(
    settings: Int64s,
    codes: Int32s,
    times: Int64s,
    watermarks: Int64s,
    highest: int,
    bound: int,
    received: Int64s,
    a: Int64s,
    b: Int64s,
    a_sizes: Int64s,
    b_sizes: Int64s,
    index: Int32s,
    slots: Int64s,
    width: int,
    counts: Int64s,
    masks: Int64s,
    notes: Int64s,
    begin: int,
) -> int:
    """Write what is wrong with each row, in order of arrival.

    The memory of a check takes in the rows that no other check rejects.

    Args:
        settings: Words as in `SETTINGS`.
        codes: (n,) int32 symbol codes, each < k; (0,) if no check remembers anything.
        times: (n,) event times, nanoseconds.
        watermarks: (n,) the watermark after each row; (0,) if it is the running maximum
            of `times` minus `bound`.
        highest: The watermark before row `begin`, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        received: (n,) times of receipt, or (0,).
        a: (n,) prices, or a quote's bids; (0,) if there are none.
        b: (n,) a quote's asks, or (0,).
        a_sizes: (n,) sizes that go with `a`, or (0,).
        b_sizes: (n,) sizes that go with `b`, or (0,).
        index: (k,) int32, number of the slot of each code, -1 none; written.
        slots: (s * width,), written.
        width: Words of a slot.
        counts: (3,), written: slots in use; rows to reject, added to; the watermark
            reached.
        masks: (n,), written: the bits of the checks that a row fails.
        notes: (n,), written where a row fails: what it was held against, for the first
            rejecting check it fails, or else the last check it fails.
        begin: The row to begin with.

    Returns:
        n, or the row for which there is no slot left.
    """
    enabled, rejecting = settings[0], settings[1]
    skew, disorder, stale_after = settings[2], settings[3], settings[4]
    band, confirm = settings[5], settings[6]
    n, factor, least, ttl = settings[7], settings[8], settings[9], settings[10]
    remembers = (enabled & _OF_STATE) != 0
    two = b.size > 0
    sides = 2 if two else 1
    explicit = watermarks.size > 0
    capacity = slots.size // width
    rejected = counts[1]
    row = begin
    total = times.size
    base: Any = np.int64(0)
    while row < total:
        time = times[row]
        first = a[row] if a.size else _UNDEFINED
        second = b[row] if two else _UNDEFINED
        mask = np.int64(0)
        if two:
            if max(first, second) == _UNDEFINED:
                mask |= IS_ONE_SIDED
            elif first >= second:
                mask |= IS_CROSSED if first > second else IS_LOCKED
        if a_sizes.size and a_sizes[row] <= 0 and (first != _UNDEFINED or not two):
            mask |= IS_ZERO_SIZE
        if b_sizes.size and b_sizes[row] <= 0 and second != _UNDEFINED:
            mask |= IS_ZERO_SIZE
        if received.size and received[row] != _UNDEFINED and _is_later(time, received[row], skew):
            mask |= IS_CLOCK_SKEW
        if not remembers:
            mask &= enabled
            highest = watermarks[row] if explicit else max(highest, time)
            masks[row] = mask
            notes[row] = 0
            rejected += (mask & rejecting) != 0
            row += 1
            continue
        code = codes[row]
        slot = np.int64(index[code])
        if slot < 0 and counts[0] == capacity:
            break
        before = highest - bound
        highest = watermarks[row] if explicit else max(highest, time)
        if slot < 0:
            slot = counts[0]
            counts[0] += 1
            index[code] = np.int32(slot)
            base = slot * width
            _begin_slot(slots, base, width, code)
        else:
            base = slot * width
            reached: Any = slots[base + SLOT_REACHED]
            if before > reached and span(before, reached) >= np.uint64(ttl):
                _begin_slot(slots, base, width, code)
        slots[base + SLOT_REACHED] = highest - bound

        latest = slots[base + _HIGHEST]
        if _is_later(latest, time, disorder):
            mask |= IS_OUT_OF_SEQUENCE
        since = slots[base + _SINCE]
        first_size = a_sizes[row] if a_sizes.size else np.int64(0)
        second_size = b_sizes[row] if b_sizes.size else np.int64(0)
        same = (
            since != _UNDEFINED
            and slots[base + _LAST] == first
            and slots[base + _LAST + 1] == second
            and slots[base + _LAST + 2] == first_size
            and slots[base + _LAST + 3] == second_size
        )
        if same and _is_later(time, since, stale_after):
            mask |= IS_STALE
        off_a = off_b = False
        held_against = np.int64(0)
        if enabled & IS_PRICE_BAND:
            # `_UNDEFINED` is the highest number: neither of the two is it if the higher is not.
            reference = slots[base + _SIDES]
            off_a = max(first, reference) != _UNDEFINED and _is_off(first, reference, band)
            other = slots[base + _SIDES + 3]
            off_b = max(second, other) != _UNDEFINED and _is_off(second, other, band)
            if off_a or off_b:
                mask |= IS_PRICE_BAND
                held_against = reference if off_a else other
        window: Any = base + FIXED
        center = np.int64(0)
        if enabled & IS_OUTLIER:
            if _is_outlier(slots, window, slots[base + _FILLED], first, n, factor, least):
                mask |= IS_OUTLIER
                center = median(slots, window, n)
            elif two and _is_outlier(
                slots, window + 2 * n, slots[base + _FILLED + 1], second, n, factor, least
            ):
                mask |= IS_OUTLIER
                center = median(slots, window + 2 * n, n)

        mask &= enabled
        ends = mask & rejecting
        if not ends & ~IS_OUT_OF_SEQUENCE:
            slots[base + _HIGHEST] = max(latest, time)
        if not same and not ends:  # a row that is stale is the same
            slots[base + _SINCE] = time
            slots[base + _LAST] = first
            slots[base + _LAST + 1] = second
            slots[base + _LAST + 2] = first_size
            slots[base + _LAST + 3] = second_size
        if enabled & IS_PRICE_BAND and not ends & ~IS_PRICE_BAND:
            if first != _UNDEFINED:
                _move_reference(slots, base + _SIDES, first, off_a, band, confirm)
            if second != _UNDEFINED:
                _move_reference(slots, base + _SIDES + 3, second, off_b, band, confirm)
        if enabled & IS_OUTLIER and not ends & ~IS_OUTLIER:
            for side in range(sides):
                value = second if side else first
                if value != _UNDEFINED:
                    enter(slots, window + side * 2 * n, n, slots[base + _FILLED + side], value)
                    slots[base + _FILLED + side] += 1

        if mask:
            told = ends & -ends
            if not ends:
                told = np.int64(IS_OUTLIER)
                while not told & mask:
                    told >>= 1
            note = np.int64(0)
            if told == IS_OUT_OF_SEQUENCE:
                note = latest
            elif told == IS_STALE:
                note = since
            elif told == IS_PRICE_BAND:
                note = held_against
            elif told == IS_OUTLIER:
                note = center
            notes[row] = note
            rejected += ends != 0
        masks[row] = mask
        row += 1
    counts[1] = rejected
    counts[2] = highest - bound
    return row
