"""Aggregates over the rows of one window, as a small program that kernels run.

A program is (P, 4) int64, a line per aggregate: operation, column, second column or
parameter, second parameter. Columns are positions in a row of the arena. Integers (fixed
point, times, letters) that are `UNDEFINED` and floats that are NaN are passed over; an
aggregate of nothing is `UNDEFINED` or NaN, a count 0.
"""

from __future__ import annotations

__all__ = (
    "COUNT",
    "COUNT_FLOATS",
    "COUNT_ROWS",
    "FIRST",
    "FIRST_FLOAT",
    "LAST",
    "LAST_FLOAT",
    "MAX",
    "MAX_FLOAT",
    "MEAN",
    "MEAN_FLOAT",
    "MIN",
    "MIN_FLOAT",
    "NOTHING",
    "QUANTILE",
    "QUANTILE_FLOAT",
    "STD",
    "STD_FLOAT",
    "SUM",
    "SUM_FLOAT",
    "VWAP",
    "VWAP_FLOAT",
    "evaluate",
)

import numpy as np
from numba import int64, njit, types

from market_data_pipeline.kernels.compiling import called, inlined
from market_data_pipeline.kernels.int128 import add_product, divide_half_even

NOTHING = -1  # worked out elsewhere
COUNT_ROWS = 0
COUNT = 1
FIRST = 2
LAST = 3
MIN = 4
MAX = 5
SUM = 6
MEAN = 7  # second: factor that gives the mean its decimal places
VWAP = 8  # second: column of the weights
STD = 9  # second: decimal places
QUANTILE = 10  # second and third: numerator and denominator
COUNT_FLOATS = 11
FIRST_FLOAT = 12
LAST_FLOAT = 13
MIN_FLOAT = 14
MAX_FLOAT = 15
SUM_FLOAT = 16
MEAN_FLOAT = 17
VWAP_FLOAT = 18
STD_FLOAT = 19
QUANTILE_FLOAT = 20

_UNDEFINED = np.iinfo(np.int64).max
_TABLE = types.Array(int64, 2, "C")
_ROWS = types.Array(int64, 2, "C", readonly=True)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_LOWEST = np.iinfo(np.int64).min
_HALF = np.int64(32)
_BELOW = np.int64(0xFFFFFFFF)


@inlined
def _fits(low, high):
    """Tell whether a 128-bit number is an int64 other than `UNDEFINED`."""
    return high == low >> 63 and low != _UNDEFINED


@inlined
def _rank(count, numerator, denominator):
    """Return the nearest rank from 0: the smallest r with (r + 1) / count >= q."""
    return max((count * numerator + denominator - 1) // denominator, 1) - 1


@called
def _first(arena, low, high, skip, column):
    for row in range(low, high):
        if row != skip and arena[row, column] != _UNDEFINED:
            return arena[row, column]
    return _UNDEFINED


@called
def _last(arena, low, high, skip, column):
    for row in range(high - 1, low - 1, -1):
        if row != skip and arena[row, column] != _UNDEFINED:
            return arena[row, column]
    return _UNDEFINED


@inlined
def _parts(low, high, skip):
    """Return two stretches of rows that leave one row out, the second empty if none is."""
    if low <= skip < high:
        return low, skip, skip + 1, high
    return low, high, high, high


@inlined
def _count_part(arena, low, high, column, count):
    for row in range(np.uint64(low), np.uint64(high)):
        count += arena[row, column] != _UNDEFINED
    return count


@called
def _count(arena, low, high, skip, column):
    begin, end, again, stop = _parts(low, high, skip)
    at = np.uint64(column)
    count = _count_part(arena, begin, end, at, 0)
    return _count_part(arena, again, stop, at, count)


@inlined
def _min_part(arena, low, high, column, least):
    # Undefined is the highest value there is.
    for row in range(np.uint64(low), np.uint64(high)):
        least = min(least, arena[row, column])
    return least


@called
def _min(arena, low, high, skip, column):
    begin, end, again, stop = _parts(low, high, skip)
    at = np.uint64(column)
    least = _min_part(arena, begin, end, at, _UNDEFINED)
    return _min_part(arena, again, stop, at, least)


@inlined
def _max_part(arena, low, high, column, most):
    # One is added, so that undefined, the highest value there is, becomes the lowest.
    for row in range(np.uint64(low), np.uint64(high)):
        most = max(most, np.int64(np.uint64(arena[row, column]) + np.uint64(1)))
    return most


@called
def _max(arena, low, high, skip, column):
    begin, end, again, stop = _parts(low, high, skip)
    at = np.uint64(column)
    most = _max_part(arena, begin, end, at, np.int64(_LOWEST))
    most = _max_part(arena, again, stop, at, most)
    return np.int64(np.uint64(most) - np.uint64(1))


@inlined
def _sum_part(arena, low, high, column, above, below, count):
    for row in range(np.uint64(low), np.uint64(high)):
        value = arena[row, column]
        known = value != _UNDEFINED
        value = value if known else _ZERO
        above += value >> _HALF
        below += value & _BELOW
        count += known
    return above, below, count


@called
def _sum(arena, low, high, skip, column, factor):
    """Return the 128-bit sum of values times a factor, and how many there are."""
    begin, end, again, stop = _parts(low, high, skip)
    at = np.uint64(column)
    # In halves, as the sum of so many halves that fit into memory fits into a word.
    above, below, count = _sum_part(arena, begin, end, at, _ZERO, _ZERO, 0)
    above, below, count = _sum_part(arena, again, stop, at, above, below, count)
    total_low, total_high = add_product(_ZERO, _ZERO, above, factor)
    total_high = (total_high << _HALF) | np.int64(np.uint64(total_low) >> np.uint64(_HALF))
    total_low, total_high = add_product(total_low << _HALF, total_high, below, factor)
    return total_low, total_high, count


@called
def _vwap(arena, low, high, skip, column, weights):
    """Return the mean weighted by another column, and whether it fits."""
    total_low, total_high = _ZERO, _ZERO
    weight_low, weight_high = _ZERO, _ZERO
    for row in range(low, high):
        value, weight = arena[row, column], arena[row, weights]
        if row != skip and value != _UNDEFINED and weight != _UNDEFINED:  # noqa: PLR1714
            total_low, total_high = add_product(total_low, total_high, value, weight)
            weight_low, weight_high = add_product(weight_low, weight_high, weight, _ONE)
    if weight_low == 0 and weight_high == 0:
        return _UNDEFINED, True
    if weight_high < 0 or not _fits(weight_low, weight_high):
        return _UNDEFINED, False
    return divide_half_even(total_low, total_high, weight_low)


@called
def _std(arena, low, high, skip, column, places):
    """Return the sample standard deviation; deviations from a centre are exact integers."""
    total_low, total_high, count = _sum(arena, low, high, skip, column, _ONE)
    if count < 2:
        return np.nan
    centre, _ = divide_half_even(total_low, total_high, count)
    once, twice = 0.0, 0.0
    for row in range(low, high):
        value = arena[row, column]
        if row != skip and value != _UNDEFINED:
            apart = value - centre
            # Wrapped round where both are far out on opposite sides.
            if (value ^ centre) & (value ^ apart) < 0:
                deviation = np.float64(value) - np.float64(centre)
            else:
                deviation = np.float64(apart)
            once += deviation
            twice += deviation * deviation
    variance = max(twice - once * once / count, 0.0) / (count - 1)
    return np.sqrt(variance) / 10.0**places


@njit
def _quantile(arena, low, high, skip, column, numerator, denominator):
    values = np.empty(high - low, np.int64)
    count = 0
    for row in range(low, high):
        if row != skip and arena[row, column] != _UNDEFINED:
            values[count] = arena[row, column]
            count += 1
    if not count:
        return _UNDEFINED
    rank = _rank(count, numerator, denominator)
    return np.partition(values[:count], rank)[rank]


@njit
def _floats(arena, low, high, skip, column):
    """Return the values that are numbers, in order."""
    values = np.empty(high - low, np.float64)
    count = 0
    for row in range(low, high):
        if row != skip and not np.isnan(arena[row, column]):
            values[count] = arena[row, column]
            count += 1
    return values[:count]


@njit
def _std_floats(values):
    if len(values) < 2:
        return np.nan
    centre = values.sum() / len(values)
    once, twice = 0.0, 0.0
    for value in values:
        once += value - centre
        twice += (value - centre) * (value - centre)
    return np.sqrt(max(twice - once * once / len(values), 0.0) / (len(values) - 1))


@njit
def _vwap_floats(arena, low, high, skip, column, weights):
    total, weight = 0.0, 0.0
    for row in range(low, high):
        product = arena[row, column] * arena[row, weights]
        if row != skip and not np.isnan(product):
            total += product
            weight += arena[row, weights]
    return total / weight if weight != 0.0 else np.nan


@njit
def _of_floats(line, arena, low, high, skip):
    operation, column = line[0], line[1]
    if operation == VWAP_FLOAT:
        return _vwap_floats(arena, low, high, skip, column, line[2])
    values = _floats(arena, low, high, skip, column)
    if operation == COUNT_FLOATS:
        return np.float64(len(values))
    if not len(values):
        return np.nan
    if operation == FIRST_FLOAT:
        return values[0]
    if operation == LAST_FLOAT:
        return values[-1]
    if operation == MIN_FLOAT:
        return values.min()
    if operation == MAX_FLOAT:
        return values.max()
    if operation == STD_FLOAT:
        return _std_floats(values)
    if operation == QUANTILE_FLOAT:
        rank = _rank(len(values), line[2], line[3])
        return np.partition(values, rank)[rank]
    total = 0.0
    for value in values:
        total += value
    return total / len(values) if operation == MEAN_FLOAT else total


@njit(int64(_ROWS, _TABLE, int64, int64, int64, _TABLE, int64, int64), cache=True, nogil=True)
def evaluate(program, arena, low, high, skip, out, at, offset):
    """Write the aggregates of some rows.

    Args:
        program: (P, 4) int64, see above.
        arena: (A, W) int64 rows.
        low: First row.
        high: Row behind the last.
        skip: A row to leave out, -1 for none.
        out: (O, C) int64, written at `[at, offset:offset + P]`; floats by their bits.
        at: Row of `out`.
        offset: Column of the first aggregate.

    Returns:
        0, or 1 + the first aggregate that left its range.
    """
    wrong = 0
    floats = arena.view(np.float64)
    out_floats = out.view(np.float64)
    for place in range(len(program)):
        operation, column = program[place, 0], program[place, 1]
        to = offset + place
        fits = True
        if operation == COUNT_ROWS:
            out[at, to] = high - low - (1 if low <= skip < high else 0)
        elif operation == FIRST:
            out[at, to] = _first(arena, low, high, skip, column)
        elif operation == LAST:
            out[at, to] = _last(arena, low, high, skip, column)
        elif operation == MIN:
            out[at, to] = _min(arena, low, high, skip, column)
        elif operation == MAX:
            out[at, to] = _max(arena, low, high, skip, column)
        elif operation == COUNT:
            out[at, to] = _count(arena, low, high, skip, column)
        elif operation == SUM:
            total_low, total_high, count = _sum(arena, low, high, skip, column, _ONE)
            fits = _fits(total_low, total_high)
            out[at, to] = total_low if count else _UNDEFINED
        elif operation == MEAN:
            total_low, total_high, count = _sum(arena, low, high, skip, column, program[place, 2])
            value = _UNDEFINED
            if count:
                value, fits = divide_half_even(total_low, total_high, count)
            out[at, to] = value
        elif operation == VWAP:
            value, fits = _vwap(arena, low, high, skip, column, program[place, 2])
            out[at, to] = value
        elif operation == STD:
            out_floats[at, to] = _std(arena, low, high, skip, column, program[place, 2])
        elif operation == QUANTILE:
            out[at, to] = _quantile(
                arena, low, high, skip, column, program[place, 2], program[place, 3]
            )
        elif operation == COUNT_FLOATS:
            out[at, to] = np.int64(_of_floats(program[place], floats, low, high, skip))
        elif operation != NOTHING:
            out_floats[at, to] = _of_floats(program[place], floats, low, high, skip)
        if not fits and not wrong:
            wrong = place + 1
    return wrong
