"""Several files one after the other, whatever their times."""

from __future__ import annotations

__all__ = ("SequenceReader",)

from collections.abc import Sequence

from market_data_pipeline.batch import Batch
from market_data_pipeline.records import Schema
from market_data_pipeline.source.merge import Part
from market_data_pipeline.source.reader import FileReader
from market_data_pipeline.symbols import SymbolTable


class SequenceReader:
    """Reads parts in their order; a `FileReader` itself.

    Args:
        parts: What to read.
        schema: The columns, the same in all parts.
        symbols: The run's symbols.
        batch_rows: Most rows in one batch.
    """

    def __init__(
        self, parts: Sequence[Part], schema: Schema, symbols: SymbolTable, *, batch_rows: int
    ) -> None:
        self.schema = schema
        self._symbols = symbols
        self._batch_rows = batch_rows
        self._count = len(parts)
        self._ahead = list(reversed(parts))
        self._current: FileReader | None = None
        self._finished_rows = 0
        self._rejected: list[Batch] = []

    @property
    def rows_read(self) -> int:
        """Rows given or rejected so far."""
        return self._finished_rows + (self._current.rows_read if self._current else 0)

    def read(self) -> Batch | None:
        """Return the next rows; None at the end of the last part."""
        while True:
            if self._current is None:
                if not self._ahead:
                    return None
                self._current = self._ahead.pop().open(self._batch_rows)
            batch = self._current.read()
            if batch is not None:
                return batch
            self._finish(self._current)

    def _finish(self, reader: FileReader) -> None:
        rejected = reader.take_rejected()
        if rejected is not None:
            self._rejected.append(rejected)
        self._finished_rows += reader.rows_read
        self._current = None
        reader.close()

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        found, self._rejected = self._rejected, []
        current = self._current.take_rejected() if self._current else None
        if current is not None:
            found.append(current)
        return Batch.concat(found) if found else None

    def fraction(self) -> float:
        """Return how much of the files is read, 0 to 1."""
        reading = self._current.fraction() if self._current else 0.0
        opened = self._count - len(self._ahead)
        return (opened - (self._current is not None) + reading) / self._count

    def close(self) -> None:
        """Close the file that is open."""
        if self._current is not None:
            self._current.close()
        self._current = None
        self._ahead = []
