"""Rows of comma-separated text to int64 columns, without floats on the way."""

from __future__ import annotations

__all__ = (
    "COLUMNS",
    "ENCODING",
    "MALFORMED",
    "MISSING",
    "NUMBER",
    "OVERFLOW",
    "PRECISION",
    "RANGE",
    "TEXT",
    "gather_text",
    "parse_rows",
)

from typing import Final

import numba as nb
import numpy as np
from numba import njit

NUMBER: Final = 0
"""Kind of a column that becomes `value * 10**scale`."""
TEXT: Final = 1
"""Kind of a column of which only the place in the text is noted."""

MISSING: Final = 1
"""A number is not there."""
MALFORMED: Final = 2
"""A field is not a decimal number."""
OVERFLOW: Final = 3
"""A number is too large for int64 at its scale."""
PRECISION: Final = 4
"""A number has more decimal places than its scale."""
RANGE: Final = 5
"""A number is outside of what its column may hold."""
COLUMNS: Final = 6
"""A row has fewer or more fields than columns."""
ENCODING: Final = 7
"""A text field has a byte that is not ASCII."""

_LAST: Final = np.iinfo(np.int64).max // 10
_LAST_DIGIT: Final = np.iinfo(np.int64).max % 10

_BYTES = nb.types.Array(nb.uint8, 1, "C", readonly=True)
_INPUT = nb.types.Array(nb.int64, 1, "C", readonly=True)
_MATRIX = nb.types.Array(nb.int64, 2, "C")


@njit(
    [
        nb.types.UniTuple(nb.int64, 3)(
            _BYTES, nb.boolean, _INPUT, _INPUT, _INPUT, _INPUT, _MATRIX, _MATRIX, _MATRIX
        )
    ],
    cache=True,
    nogil=True,
)
def parse_rows(data, final, kinds, scales, lows, highs, numbers, spans, bad):  # type: ignore[no-untyped-def]
    """Parse whole lines until the text or the room for rows is used up.

    Lines end in `\\n` or `\\r\\n`; blank lines are no rows. A bad row leaves no trace in
    `numbers` and `spans`; the first defect of a row is the one that counts.

    Args:
        data: (b,) uint8, the text.
        final: True if nothing follows, so that a last line may lack its end.
        kinds: (c,) int64, `NUMBER` or `TEXT` per column.
        scales: (c,) int64, decimal places of a number column, 0 to 18.
        lows: (c,) int64, least scaled value of a number column.
        highs: (c,) int64, greatest scaled value of a number column.
        numbers: (number columns, n) int64, filled with scaled values.
        spans: (2 x text columns, n) int64, filled with start and stop in `data`.
        bad: (5, n) int64, filled per bad row with its position among the lines read,
            defect, column, and start and stop of the line in `data`.

    Returns:
        Good rows, bad rows, and bytes used up.
    """
    size = len(data)
    width = len(kinds)
    room = bad.shape[1]
    good = 0
    defects = 0
    at = 0
    while at < size and good + defects < room:
        if data[at] == 10 or data[at] == 13:
            at += 1
            continue
        start = at
        column = 0
        number_at = 0
        span_at = 0
        defect = 0
        defect_column = 0
        ended = False
        while True:
            field = at
            problem = 0
            if column < width and kinds[column] == 0:
                negative = False
                if at < size and (data[at] == 45 or data[at] == 43):
                    negative = data[at] == 45
                    at += 1
                value = 0
                digits = 0
                places = -1
                scale = scales[column]
                while at < size:
                    char = data[at]
                    digit = np.int64(char) - 48
                    if 0 <= digit <= 9:
                        digits += 1
                        if places >= scale:
                            if digit != 0:
                                problem = 4
                        elif value > _LAST or (value == _LAST and digit > _LAST_DIGIT):
                            problem = 3
                        else:
                            value = value * 10 + digit
                            if places >= 0:
                                places += 1
                    elif char == 44 or char == 10 or char == 13:
                        break
                    elif char == 46 and places < 0:
                        places = 0
                    else:
                        problem = 2
                        while at < size and data[at] != 44 and data[at] != 10 and data[at] != 13:
                            at += 1
                        break
                    at += 1
                if problem == 0 and digits == 0:
                    problem = 1 if at == field else 2
                if problem == 0:
                    for _ in range(scale - max(places, 0)):
                        if value > _LAST:
                            problem = 3
                            break
                        value *= 10
                if problem == 0:
                    if negative:
                        value = -value
                    if value < lows[column] or value > highs[column]:
                        problem = 5
                    else:
                        numbers[number_at, good] = value
                number_at += 1
            else:
                while at < size and data[at] != 44 and data[at] != 10 and data[at] != 13:
                    if data[at] >= 128:
                        problem = 7
                    at += 1
                if column < width:
                    spans[span_at, good] = field
                    spans[span_at + 1, good] = at
                    span_at += 2
            if problem != 0 and defect == 0:
                defect = problem
                defect_column = column
            column += 1
            if at >= size:
                ended = final
                break
            char = data[at]
            at += 1
            if char != 44:
                ended = True
                break
        if not ended:
            at = start
            break
        if column != width:
            defect = 6
            defect_column = column
        if defect == 0:
            good += 1
        else:
            stop = at
            while stop > start and (data[stop - 1] == 10 or data[stop - 1] == 13):
                stop -= 1
            bad[0, defects] = good + defects
            bad[1, defects] = defect
            bad[2, defects] = defect_column
            bad[3, defects] = start
            bad[4, defects] = stop
            defects += 1
    return good, defects, at


@njit(
    [
        nb.void(
            _BYTES,
            _INPUT,
            _INPUT,
            nb.types.Array(nb.int32, 1, "C"),
            nb.types.Array(nb.uint8, 1, "C"),
        )
    ],
    cache=True,
    nogil=True,
)
def gather_text(data, starts, stops, offsets, out):  # type: ignore[no-untyped-def]
    """Copy pieces of text next to each other, as an Arrow string array holds them.

    Args:
        data: (b,) uint8, the text.
        starts: (n,) int64, where each piece starts.
        stops: (n,) int64, where each piece stops.
        offsets: (n + 1,) int32, filled with where each piece starts in `out`.
        out: (sum of lengths,) uint8, filled with the pieces.
    """
    total = 0
    for row in range(len(starts)):
        offsets[row] = total
        for at in range(starts[row], stops[row]):
            out[total] = data[at]
            total += 1
    offsets[len(starts)] = total
