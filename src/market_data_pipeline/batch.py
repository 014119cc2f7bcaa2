"""A batch: rows as a struct of arrays, and how far event time has come after each row."""

from __future__ import annotations

__all__ = ("TIME_MAX", "TIME_MIN", "Batch", "Column", "Progress")

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.errors import SchemaError
from market_data_pipeline.kept_columns import KeptColumns
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Column: TypeAlias = Any
"""A NumPy array, or an Arrow array for a field of kind `ARROW`."""
Int64s: TypeAlias = npt.NDArray[np.int64]

TIME_MIN: Final = int(np.iinfo(np.int64).min)
"""The watermark of an input that has said nothing."""
TIME_MAX: Final = int(np.iinfo(np.int64).max)
"""The watermark of an input that has ended."""


class Progress:
    """The watermark after each row of a batch.

    Whether a row is late must not depend on how rows were cut into batches, so the
    watermark is a property of rows. It is held in one of two forms. *Implicit*: `column`
    is None and the watermark after row i is `max(start, ts[0..i]) - bound`, with ts the
    batch's event times; this is what a source's generator gives and costs nothing.
    *Explicit*: the watermark after row i is `column[i]`, `bound` is 0; this is what
    remains when rows were taken out or merged.

    Attributes:
        start: The running maximum before the first row, in the form's own terms.
        bound: Nanoseconds subtracted from the running maximum.
        column: (n,) int64, never falling, or None.
        end: The watermark after the batch; at least that after its last row.
    """

    __slots__ = ("bound", "column", "end", "start")

    def __init__(self, start: int, bound: int, end: int, column: Int64s | None = None) -> None:
        self.start = start
        self.bound = bound
        self.end = end
        self.column = column

    def watermarks(self, times: Int64s) -> Int64s:
        """Return the watermark after each row, (n,) int64, never falling.

        Args:
            times: (n,) event times of the batch.
        """
        if self.column is not None:
            return self.column
        highest = np.maximum.accumulate(times)
        np.maximum(highest, self.start, out=highest)
        # Event times near the lower end of int64 must not wrap round.
        np.maximum(highest, TIME_MIN + self.bound, out=highest)
        highest -= self.bound
        return highest

    @property
    def before(self) -> int:
        """The watermark before the first row."""
        return max(self.start, TIME_MIN + self.bound) - self.bound


class Batch:
    """Rows of one schema as columns of equal length.

    Columns are NumPy arrays, or Arrow arrays for fields of kind `ARROW`. A batch is
    never changed once made; every method returns another one and shares what it can.

    Attributes:
        schema: The columns' names and types.
        columns: The columns by name.
        symbols: The table that the symbol codes point into.
        progress: The watermark after each row; None before a source has set it.
    """

    __slots__ = ("_length", "_nbytes", "columns", "progress", "schema", "symbols")

    def __init__(
        self,
        schema: Schema,
        columns: Mapping[str, Column],
        symbols: SymbolTable,
        progress: Progress | None = None,
    ) -> None:
        self.schema = schema
        self.columns = columns
        self.symbols = symbols
        self.progress = progress
        if isinstance(columns, KeptColumns):
            self._length = columns.rows
        else:
            self._length = len(next(iter(columns.values())))
        self._nbytes = -1

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __repr__(self) -> str:
        return f"<Batch of {self._length} {self.schema.name} rows: {', '.join(self.columns)}>"

    @property
    def times(self) -> Int64s:
        """The event times, (n,) int64 nanoseconds UTC.

        Raises:
            KeyError: If rows of this schema have no event time.
        """
        times: Int64s = self.columns[self.schema.time]
        return times

    @property
    def watermark(self) -> int:
        """The watermark after the batch; `TIME_MIN` if no source has set it."""
        return TIME_MIN if self.progress is None else self.progress.end

    @property
    def nbytes(self) -> int:
        """Bytes held by the columns."""
        if self._nbytes < 0 and isinstance(self.columns, KeptColumns):
            self._nbytes = self.columns.nbytes
        if self._nbytes < 0:
            size = 0
            for column in self.columns.values():
                size += column.nbytes
            self._nbytes = size
        return self._nbytes

    @classmethod
    def empty(cls, schema: Schema, symbols: SymbolTable) -> Batch:
        """Return a batch without rows."""
        columns: dict[str, Column] = {
            field.name: pa.nulls(0, field.arrow)
            if field.kind is Kind.ARROW
            else np.empty(0, field.dtype)
            for field in schema
        }
        return cls(schema, columns, symbols)

    @classmethod
    def from_columns(
        cls, schema: Schema, columns: Mapping[str, Column], symbols: SymbolTable
    ) -> Batch:
        """Return a batch after checking that the columns are what the schema says.

        Raises:
            SchemaError: If a column is missing, unknown, of another type or length.
        """
        if set(columns) != set(schema.names):
            odd = sorted(set(columns) ^ set(schema.names))
            msg = f"columns and schema differ in {', '.join(f'`{name}`' for name in odd)}"
            raise SchemaError(msg)
        length = len(next(iter(columns.values())))
        for field in schema:
            column = columns[field.name]
            if len(column) != length:
                msg = f"`{field.name}` must have {length} rows like the others, was {len(column)}"
                raise SchemaError(msg)
            if field.kind is not Kind.ARROW and column.dtype != field.dtype:
                msg = f"`{field.name}` must be of type {field.dtype}, was {column.dtype}"
                raise SchemaError(msg)
        return cls(schema, columns, symbols)

    def with_progress(self, progress: Progress) -> Batch:
        """Return the same rows with the watermarks of `progress`."""
        return Batch(self.schema, self.columns, self.symbols, progress)

    def with_columns(self, fields: Sequence[Field], columns: Mapping[str, Column]) -> Batch:
        """Return the batch with columns replaced or, where the name is unknown, added."""
        return Batch(
            self.schema.having(*fields), {**self.columns, **columns}, self.symbols, self.progress
        )

    def select(self, names: Iterable[str]) -> Batch:
        """Return the batch with only the named columns; the event time must be one of them."""
        schema = self.schema.only(names)
        columns = {name: self.columns[name] for name in schema.names}
        return Batch(schema, columns, self.symbols, self.progress)

    def slice(self, start: int, stop: int) -> Batch:
        """Return rows `start <= i < stop` without copying them."""
        columns: dict[str, Column] = {
            name: column.slice(start, stop - start)
            if isinstance(column, pa.Array)
            else column[start:stop]
            for name, column in self.columns.items()
        }
        return Batch(self.schema, columns, self.symbols, self._sliced_progress(start, stop))

    def _sliced_progress(self, start: int, stop: int) -> Progress | None:
        old = self.progress
        if old is None or (start == 0 and stop >= self._length):
            return old
        keys = self.times if old.column is None else old.column
        first = max(old.start, int(keys[:start].max())) if start else old.start
        if stop >= self._length:
            end = old.end
        else:
            last = max(first, int(keys[start:stop].max())) if stop > start else first
            end = max(last, TIME_MIN + old.bound) - old.bound
        column = None if old.column is None else old.column[start:stop]
        return Progress(first, old.bound, end, column)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Batch:
        """Return the rows at ascending positions, or where a mask is true.

        The watermarks of the rows stay what they were, so a row that is late here was
        late before rows were taken out.
        """
        chosen = pa.array(rows) if self._has_arrow_columns() else None
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            if isinstance(column, pa.Array):
                columns[name] = (
                    column.filter(chosen) if rows.dtype == bool else column.take(chosen)
                )
            else:
                columns[name] = column[rows]
        progress = self.progress
        if progress is not None:
            kept = progress.watermarks(self.times)[rows]
            progress = Progress(progress.before, 0, progress.end, kept)
        return Batch(self.schema, columns, self.symbols, progress)

    def reorder(self, rows: npt.NDArray[np.int64]) -> Batch:
        """Return the rows at some positions in any order, without progress."""
        columns: dict[str, Column] = {
            name: column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]
            for name, column in self.columns.items()
        }
        return Batch(self.schema, columns, self.symbols)

    def _has_arrow_columns(self) -> bool:
        return any(field.kind is Kind.ARROW for field in self.schema)

    @staticmethod
    def concat(batches: Sequence[Batch]) -> Batch:
        """Return consecutive batches of one schema as one; the watermarks stay the same.

        Raises:
            SchemaError: If the schemas or symbol tables differ.
        """
        first = batches[0]
        if len(batches) == 1:
            return first
        for other in batches[1:]:
            if other.schema != first.schema or other.symbols is not first.symbols:
                msg = "batches of different schemas cannot be one batch"
                raise SchemaError(msg)
        columns: dict[str, Column] = {}
        for name, column in first.columns.items():
            parts = [batch.columns[name] for batch in batches]
            columns[name] = (
                pa.concat_arrays(parts) if isinstance(column, pa.Array) else np.concatenate(parts)
            )
        return Batch(first.schema, columns, first.symbols, _joined_progress(batches))


def _joined_progress(batches: Sequence[Batch]) -> Progress | None:
    parts = [batch.progress for batch in batches]
    first, last = parts[0], parts[-1]
    if first is None or last is None or any(part is None for part in parts):
        return None
    implicit = all(_continues(a, b) for a, b in pairwise(batches))
    if implicit:
        return Progress(first.start, first.bound, last.end)
    columns = [b.progress.watermarks(b.times) for b in batches if b.progress is not None]
    return Progress(first.before, 0, last.end, np.concatenate(columns))


def _continues(batch: Batch, following: Batch) -> bool:
    """Tell whether both are implicit and the second starts where the first left off."""
    a, b = batch.progress, following.progress
    if a is None or b is None or a.column is not None or b.column is not None:
        return False
    if a.bound != b.bound:
        return False
    last = max(a.start, int(batch.times.max())) if len(batch) else a.start
    return b.start == last
