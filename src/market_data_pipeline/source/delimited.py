"""Rows of delimited text: where the fields of each row lie in a block of bytes."""

from __future__ import annotations

__all__ = ("DelimitedText", "Rows")

import csv
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from market_data_pipeline.errors import InputError
from market_data_pipeline.source.cells import Text
from market_data_pipeline.source.unpack import Blocks

BLOCK_BYTES: Final = 4 << 20
_ROW_BYTES_MAX: Final = 16 << 20
_DELIMITERS: Final = b",;\t|"
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows.

    Attributes:
        columns: The wanted fields, by name of the column.
        counts: (n,) int32, how many fields each row has, or `BAD_QUOTE`.
        first: Number of the first row in the text, from 1, not counting the header.
    """

    columns: dict[str, Text]
    counts: npt.NDArray[np.int32]
    first: int

    def __len__(self) -> int:
        return len(self.counts)


class DelimitedText:
    """Text with a header line; the delimiter is the one of `,`, `;`, tab and `|` in it.

    Fields may stand in double quotes. Blank lines are no rows and are not counted.

    Attributes:
        names: The columns as the header names them.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._data = b""
        self._position = self._start = 0
        self._at_end = False
        self._rows = 0
        self._slots = np.zeros(0, np.int64)
        self._wanted: tuple[str, ...] = ()
        self.names = self._header()

    def _header(self) -> tuple[str, ...]:
        self._fill_line()
        data = self._data
        if data.startswith(_UTF16):
            self._fail("this is UTF-16 text; write it as UTF-8")
        start = len(_BOM) if data.startswith(_BOM) else 0
        while start < len(data) and data[start : start + 1] in {b"\n", b"\r"}:
            start += 1
        if start == len(data):
            self._fail("the file is empty; not even a header is there")
        end = data.find(b"\n", start)
        if end < 0 and not self._at_end:
            self._fail(f"there is no line end in the first {BLOCK_BYTES >> 20} MiB; no CSV file")
        line = data[start:] if end < 0 else data[start:end]
        if end < 0 and b"\r" in line.rstrip(b"\r"):
            self._fail("its lines end in CR alone; write them with LF, or CR and LF")
        self._position = len(data) if end < 0 else end + 1
        if b"\0" in line:
            self._fail("this is no text file; name its format with `--format`")
        try:
            text = line.decode().rstrip("\r")
        except UnicodeDecodeError:
            self._fail("the header is not UTF-8; is this a text file?")
        counts = [line.count(delimiter) for delimiter in _DELIMITERS]
        self._delimiter = _DELIMITERS[counts.index(max(counts))]
        row = next(csv.reader([text], delimiter=chr(self._delimiter)), [])
        return tuple(name.strip() for name in row)

    def _fill_line(self) -> None:
        # That there is no line end is known at the end only: a header may be all there is.
        while True:
            self._fill()
            enough = self._at_end or len(self._data) >= BLOCK_BYTES
            if enough or b"\n" in self._data.removeprefix(_BOM).lstrip(b"\r\n"):
                return

    def _fail(self, message: str) -> NoReturn:
        raise InputError(message, place=self._blocks.place)

    def _fill(self) -> None:
        # Keep what is not used, and read on.
        left = self._data[self._position :]
        if len(left) > _ROW_BYTES_MAX:
            self._fail(f"row {self._rows + 1} does not end; is a quote not closed?")
        more = self._blocks.read(BLOCK_BYTES)
        self._at_end = not more
        self._data = left + more if left else more
        self._position = 0

    def want(self, names: tuple[str, ...]) -> None:
        """Say which columns to give."""
        self._wanted = names
        slots = {name: slot for slot, name in enumerate(names)}
        self._slots = np.array([slots.get(name, -1) for name in self.names], np.int64)

    def sample(self, column: str, rows: int) -> Text:
        """Return the first values of a column without moving on; call before `read`."""
        wanted = self._wanted
        self.want((column,))
        before = self._rows
        found = self.read(rows)
        # Reading may have brought another block, so the place is where its rows start.
        self._position, self._rows = self._start, before
        self.want(wanted)
        return found.columns[column] if found else Text(*_no_places(), np.zeros(1, np.uint8))

    def read(self, capacity: int) -> Rows | None:
        """Return the next rows, at most `capacity`; None at the end.

        Raises:
            InputError: If the file is damaged, or a quote is not closed.
        """
        from market_data_pipeline.kernels.split_rows import split_rows

        starts = np.zeros((len(self._wanted), capacity), np.int32)
        ends = np.zeros((len(self._wanted), capacity), np.int32)
        counts = np.empty(capacity, np.int32)
        while True:
            data = np.frombuffer(self._data, np.uint8) if self._data else np.zeros(0, np.uint8)
            self._start = self._position
            found, self._position = split_rows(
                *(data, self._position, self._delimiter, self._slots, self._at_end),
                *(starts, ends, counts),
            )
            if found:
                break
            if self._at_end:
                if self._position < len(self._data):
                    self._fail(f"row {self._rows + 1} does not end: a quote is not closed")
                return None
            self._fill()
        columns = {
            name: Text(starts[slot, :found], ends[slot, :found], data)
            for slot, name in enumerate(self._wanted)
        }
        first = self._rows + 1
        self._rows += found
        return Rows(columns, counts[:found], first)

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        return self._blocks.fraction()

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()


def _no_places() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return np.zeros(0, np.int32), np.zeros(0, np.int32)
