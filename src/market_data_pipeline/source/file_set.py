"""Several files of the same columns, opened as one reader."""

from __future__ import annotations

__all__ = ("FileSet",)

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.errors import ColumnError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.formats import Format, open_file
from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.source.sequence import SequenceReader
from market_data_pipeline.symbols import SymbolTable

_FIRST_ROWS: Final = 8
"""Among so many rows there is one that is not out of order."""


class FileSet:
    """Files to read as one.

    Args:
        files: The files, at least one.
        form: Their format.
        options: How to read them.
    """

    def __init__(
        self, files: Sequence[Path], form: Format | Literal["auto"], options: ReadOptions
    ) -> None:
        self._files = files
        self._form: Format | Literal["auto"] = form
        self._options = options

    def schema(self) -> Schema:
        """Return the columns of the files.

        Raises:
            InputError: If a file cannot be read.
            ColumnError: If the columns of the files differ.
        """
        return self._survey(spans=False)[0]

    def starts(self) -> int:
        """Return the first event time of the first file; `TIME_MAX` if it has no row.

        Raises:
            InputError: If it cannot be read.
        """
        reader = self._opened(self._files[0], SymbolTable(), 1)
        try:
            return _span(reader)[0]
        finally:
            reader.close()

    def open(
        self, symbols: SymbolTable, order: Literal["merge", "sequence"], joint: int = 0
    ) -> FileReader:
        """Open the files.

        Args:
            symbols: The run's symbols.
            order: `merge` to go by event time, `sequence` for one after the other.
            joint: How much of event time, in nanoseconds, a file that goes on where others
                end may have in common with them.

        Raises:
            InputError: If a file cannot be read.
            ColumnError: If the columns of the files differ.
        """
        if len(self._files) == 1:
            return self._opened(self._files[0], symbols, self._options.batch_rows)
        schema, spans = self._survey(spans=order == "merge")
        parts = [
            Part(str(path), partial(self._opened, path, symbols), *span)
            for path, span in zip(self._files, spans, strict=True)
        ]
        if order == "sequence":
            return SequenceReader(parts, schema, symbols, batch_rows=self._options.batch_rows)
        return MergedReader(
            parts, schema, symbols, batch_rows=self._options.batch_rows, joint=joint
        )

    def _opened(self, path: Path, symbols: SymbolTable, batch_rows: int) -> FileReader:
        options = replace(self._options, batch_rows=batch_rows)
        return open_file(path, self._form, options, symbols)

    def _survey(self, *, spans: bool) -> tuple[Schema, list[tuple[int, int]]]:
        """Return the columns of all files, and the `_span` of each if asked for."""
        schema: Schema | None = None
        found: list[tuple[int, int]] = []
        for path in self._files:
            # A table of its own: looking at files must not number the run's symbols.
            reader = self._opened(path, SymbolTable(), 1)
            try:
                if schema is None:
                    schema = reader.schema
                elif reader.schema != schema:
                    raise _difference(path, reader.schema, self._files[0], schema)
                found.append(_span(reader) if spans else (TIME_MIN, TIME_MIN))
            finally:
                reader.close()
        assert schema is not None  # noqa: S101 - there is at least one file
        return schema, found


def _span(reader: FileReader) -> tuple[int, int]:
    """Return the first event time, which no merge key is below, and how far rows soon are."""
    times: list[int] = []
    while len(times) < _FIRST_ROWS and (batch := reader.read()) is not None:
        times += batch.times.tolist()
    return (times[0], max(times)) if times else (TIME_MAX, TIME_MAX)


def _difference(path: Path, schema: Schema, first: Path, expected: Schema) -> ColumnError:
    parts = [f"lacks `{name}`" for name in expected.names if name not in schema]
    parts += [f"has `{name}` besides" for name in schema.names if name not in expected]
    parts += [
        f"has `{field}` where `{expected[field.name]}` is expected"
        for field in schema
        if field.name in expected and field != expected[field.name]
    ]
    if schema.name != expected.name:
        parts = [f"holds rows of kind {schema.name}, not {expected.name}"]
    told = ", ".join(parts) or "has them in another order"
    msg = f"the columns differ from those of {first}: it {told}"
    return ColumnError(msg, place=str(path))
