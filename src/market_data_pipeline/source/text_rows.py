"""A table in comma-separated text whose columns are known beforehand, to arrays."""

from __future__ import annotations

__all__ = ("Parsed", "TextColumn", "TextRows")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.records import UNDEFINED

_REASONS: Final = {
    1: ("missing", "`{name}` is empty"),
    2: ("malformed", "`{name}` is not a number"),
    3: ("overflow", "`{name}` is too large"),
    4: ("inexact", "`{name}` has more than {scale} decimal places"),
    5: ("range", "`{name}` is out of range"),
    6: ("fields", "expected {width} fields, found {found}"),
    7: ("encoding", "`{name}` is not ASCII text"),
}
_RANGE: Final = 5
_EXCERPT: Final = 120


@dataclass(frozen=True, slots=True)
class TextColumn:
    """One column of the text.

    Attributes:
        name: Its name.
        scale: Decimal places of a number, None for text.
        low: Least value of a number, scaled.
        high: Greatest value of a number, scaled.
    """

    name: str
    scale: int | None = 0
    low: int = -UNDEFINED
    high: int = UNDEFINED - 1


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of one piece of text.

    Attributes:
        numbers: Number columns by name, (n,) int64.
        texts: The text columns that were asked for.
        bad: Bad rows as (position among all lines of the piece, reason, detail).
        rows: Good rows.
        used: Bytes of the piece that were used up.
    """

    numbers: dict[str, npt.NDArray[np.int64]]
    texts: dict[str, pa.Array]
    bad: list[tuple[int, str, str]]
    rows: int
    used: int


class TextRows:
    """Parses pieces of text into columns.

    Args:
        columns: All columns of the text, in order.
        texts: The text columns that are wanted.
    """

    def __init__(self, columns: Sequence[TextColumn], texts: frozenset[str]) -> None:
        self._columns = columns
        self._numbers = [column.name for column in columns if column.scale is not None]
        text_names = [column.name for column in columns if column.scale is None]
        self._texts = [(i, name) for i, name in enumerate(text_names) if name in texts]
        self._text_count = len(text_names)
        self._kinds = np.array([column.scale is None for column in columns], np.int64)
        self._scales = np.array([column.scale or 0 for column in columns], np.int64)
        self._lows = np.array([column.low for column in columns], np.int64)
        self._highs = np.array([column.high for column in columns], np.int64)

    def parse(self, data: bytes, at: int, *, final: bool, rows: int) -> Parsed:
        """Parse whole lines, at most `rows` of them.

        Args:
            data: The text.
            at: Where in it to start.
            final: True if nothing follows it.
            rows: Most lines to take.
        """
        from market_data_pipeline.kernels.parse_rows import parse_rows

        text = np.frombuffer(data, np.uint8)[at:]
        numbers = np.empty((len(self._numbers), rows), np.int64)
        spans = np.empty((2 * self._text_count, rows), np.int64)
        bad = np.empty((5, rows), np.int64)
        good, defects, used = parse_rows(
            text,
            final,
            self._kinds,
            self._scales,
            self._lows,
            self._highs,
            numbers,
            spans,
            bad,
        )
        return Parsed(
            {name: numbers[i, :good] for i, name in enumerate(self._numbers)},
            {
                name: _strings(text, spans[2 * i, :good], spans[2 * i + 1, :good])
                for i, name in self._texts
            },
            [self._told(text, *bad[:, i].tolist()) for i in range(defects)],
            good,
            used,
        )

    def _told(
        self,
        text: npt.NDArray[np.uint8],
        row: int,
        defect: int,
        column: int,
        start: int,
        stop: int,
    ) -> tuple[int, str, str]:
        reason, pattern = _REASONS[defect]
        known = self._columns[min(column, len(self._columns) - 1)]
        if defect == _RANGE and known.high == UNDEFINED - 1:
            reason, pattern = "negative", "`{name}` is negative"
        told = pattern.format(
            name=known.name, scale=known.scale, width=len(self._columns), found=column
        )
        line = text[start:stop].tobytes().decode("ascii", "backslashreplace")
        shown = line if len(line) <= _EXCERPT else line[:_EXCERPT] + "..."
        return row, reason, f"{told}: `{shown}`"


def _strings(
    text: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> pa.Array:
    from market_data_pipeline.kernels.parse_rows import gather_text

    offsets = np.empty(len(starts) + 1, np.int32)
    out = np.empty(int((stops - starts).sum()), np.uint8)
    gather_text(text, starts, stops, offsets, out)
    return pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(out))
