"""Delimited text to the places of its fields."""

# ruff: noqa: FBT001 - kernels have no keywords

from __future__ import annotations

__all__ = ("BAD_QUOTE", "split_rows")

from typing import Final

from numba import boolean, int32, int64, uint8
from numba.core.types import Array, UniTuple

from market_data_pipeline.kernels.byte_at import byte_at
from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.signatures import (
    BYTES_IN,
    INT32S_OUT,
    INTS_IN,
    Bytes,
    Int32s,
    Int64s,
)

BAD_QUOTE: Final = -1
"""Stands for the number of fields of a row with text after a closing quote."""

_PLACES = Array(int32, 2, "C")
_QUOTE = 34
_NEWLINE = 10
_RETURN = 13


@kernel(
    UniTuple(int64, 2)(  # type: ignore[no-untyped-call]
        BYTES_IN, int64, uint8, INTS_IN, boolean, _PLACES, _PLACES, INT32S_OUT
    )
)
def split_rows(
    data: Bytes,
    position: int,
    delimiter: int,
    slots: Int64s,
    at_end: bool,
    starts: Int32s,
    ends: Int32s,
    counts: Int32s,
) -> tuple[int, int]:
    """Find the fields of as many whole rows as there are and fit.

    A field may stand in double quotes and then hold delimiters, line ends and doubled
    quotes. Blank lines are no rows.

    Args:
        data: (bytes,) uint8.
        position: Where to start in `data`.
        delimiter: The byte between fields.
        slots: (fields,) int64: row of `starts` and `ends` for each field, -1 to skip it.
        at_end: Whether the input ends with `data`, so that its last line needs no end.
        starts: (k, capacity) int32, written: where the wanted fields start, without quote.
        ends: (k, capacity) int32, written: where they end.
        counts: (capacity,) int32, written: fields of each row, or `BAD_QUOTE`.

    Returns:
        The number of rows found, and where the first byte not used lies.
    """
    size = data.shape[0]
    fields = slots.shape[0]
    capacity = counts.shape[0]
    row = 0
    k = position
    while row < capacity and k < size:
        if byte_at(data, k) == _NEWLINE:
            k += 1
            continue
        if byte_at(data, k) == _RETURN and (k + 1 == size or byte_at(data, k + 1) == _NEWLINE):
            if k + 1 == size and not at_end:
                break
            k += 2
            continue
        line = k
        count = 0
        sound = True
        whole = False
        while True:
            start = k
            end = k
            if k < size and byte_at(data, k) == _QUOTE:
                k += 1
                start = k
                closed = False
                while k < size:
                    if byte_at(data, k) == _QUOTE:
                        if k + 1 < size and byte_at(data, k + 1) == _QUOTE:
                            k += 2
                            continue
                        closed = True
                        break
                    k += 1
                if not closed:
                    break
                end = k
                k += 1
                junk = k
                while k < size and byte_at(data, k) != delimiter and byte_at(data, k) != _NEWLINE:
                    k += 1
                tail = k
                if tail > junk and byte_at(data, tail - 1) == _RETURN:
                    tail -= 1
                sound &= tail == junk
            else:
                while k < size and byte_at(data, k) != delimiter and byte_at(data, k) != _NEWLINE:
                    k += 1
                end = k
                at_line_end = k == size or byte_at(data, k) == _NEWLINE
                if at_line_end and end > start and byte_at(data, end - 1) == _RETURN:
                    end -= 1
            if k == size and not at_end:
                break
            if count < fields and slots[count] >= 0:
                starts[slots[count], row] = start
                ends[slots[count], row] = end
            count += 1
            if k == size or byte_at(data, k) == _NEWLINE:
                whole = True
                break
            k += 1
        if not whole:
            return row, line
        k += 1
        counts[row] = count if sound else BAD_QUOTE
        row += 1
    return row, min(k, size)
