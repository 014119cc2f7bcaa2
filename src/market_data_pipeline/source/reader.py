"""What a file format must offer so that files can be replayed."""

from __future__ import annotations

__all__ = ("FileReader", "ReadOptions", "Rejects")

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import RecordError
from market_data_pipeline.records import REJECTED, Schema
from market_data_pipeline.symbols import SymbolTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read a file.

    Attributes:
        kind: What a row is; None to tell from the columns.
        symbol: For a file without symbols, the symbol of all rows; for one with them,
            the only symbol to keep.
        columns: Our column names to the file's own, where they differ.
        timezone: Zone of times that name none; `UTC` by default.
        batch_rows: Most rows in one batch.
        strict: Raise on the first row that cannot be taken, instead of rejecting it.
        wanted: Columns that are read by somebody, or None for all; the event time is
            always read.
        max_future_skew: Nanoseconds that a row may lie in the future of what is known;
            rows beyond are rejected. None to take any.
        negative_prices: Whether prices below zero are taken; they are rejected otherwise.
    """

    kind: Literal["trades", "quotes"] | None = None
    symbol: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    batch_rows: int = 65_536
    strict: bool = False
    wanted: frozenset[str] | None = None
    max_future_skew: int | None = None
    negative_prices: bool = False


class Rejects:
    """The rows of one file that could not be taken."""

    def __init__(self, place: str, *, strict: bool) -> None:
        self.place = place
        self._strict = strict
        self._rows: list[int] = []
        self._reasons: list[str] = []
        self._details: list[str] = []
        self._raws: list[str | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, reason: str, detail: str, raw: str | None = None) -> None:
        """Put a row aside; rows may come in any order until they are settled.

        Args:
            row: Its number in the file, from 1, not counting a header.
            reason: One word for the kind of defect.
            detail: What was found, and in which column.
            raw: The row as it came, None if that is not known.
        """
        self._raws.append(raw)
        self._rows.append(row)
        self._reasons.append(reason)
        self._details.append(detail)

    def settle(self) -> None:
        """Tell that a piece of the file has been looked at.

        Raises:
            RecordError: In strict mode, naming the first of the rows put aside.
        """
        if self._strict and self._rows:
            at = self._order()[0]
            place = f"{self.place}, row {self._rows[at]}"
            raise RecordError(self._details[at], reason=self._reasons[at], place=place)

    def take(self, symbols: SymbolTable) -> Batch | None:
        """Return what was put aside since the last call by rows of the file, or None."""
        if not self._rows:
            return None
        order = self._order()
        columns = {
            "place": pa.array([self.place] * len(order), pa.string()),
            "row": np.array([self._rows[at] for at in order], np.int64),
            "reason": pa.array([self._reasons[at] for at in order], pa.string()),
            "detail": pa.array([self._details[at] for at in order], pa.string()),
            "raw": pa.array([self._raws[at] for at in order], pa.string()),
        }
        self._rows, self._reasons, self._details, self._raws = [], [], [], []
        return Batch(REJECTED, columns, symbols)

    def _order(self) -> list[int]:
        return sorted(range(len(self._rows)), key=self._rows.__getitem__)


class FileReader(Protocol):
    """One open file, read from its start to its end; blocking, used from one thread.

    Attributes:
        schema: Columns of the batches, the same for all of them.
    """

    schema: Schema

    @property
    def rows_read(self) -> int:
        """Rows read so far, those rejected included."""
        ...

    def read(self) -> Batch | None:
        """Return the next rows in file order, without progress; None at the end.

        A batch may be empty, where all its rows were rejected.

        Raises:
            InputError: If the file is damaged; it names the place.
        """
        ...

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        ...

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...
