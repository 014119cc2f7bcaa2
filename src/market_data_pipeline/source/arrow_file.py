"""Arrow IPC files and streams: `.arrow`, `.feather`, `.ipc`, `.arrows`."""

from __future__ import annotations

__all__ = ("ArrowReader", "peek_schema")

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import ipc

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError, PipelineError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.chunks import ChunkReader, checked_file, default_symbol
from market_data_pipeline.source.columns import Plan, plan_columns
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable

_FILE_MAGIC: Final = b"ARROW1"
_MESSAGE_MAGIC: Final = b"\xff\xff\xff\xff"


def peek_schema(path: Path, options: ReadOptions) -> Schema:
    """Return the columns that reading the file will give.

    Raises:
        InputError: If the file is missing or no Arrow file, or lacks a column.
    """
    file = _File(path)
    try:
        return _plan(path, file.schema, options).schema
    finally:
        file.close()


class ArrowReader(ChunkReader):
    """Reads one Arrow IPC file or stream; which of the two it is shows in its first bytes.

    The file is mapped into memory, so columns that need no conversion are not copied. A
    file without a symbol column takes `options.symbol`, else its own name up to the
    first dot.

    Args:
        path: The file.
        options: How to read it.
        symbols: The symbol table of the run.

    Raises:
        InputError: If the file is missing or no Arrow file, or lacks a column.
    """

    def __init__(self, path: Path, options: ReadOptions, symbols: SymbolTable) -> None:
        super().__init__(str(path), options, symbols)
        self._path = path
        self._file = _File(path)
        try:
            self._plan = _plan(path, self._file.schema, options)
            self._converter = Converter(self._plan, options, symbols, self._rejects)
        except PipelineError:
            self._file.close()
            raise
        self.schema = self._plan.schema
        self._batches = self._file.batches()
        self._batch: pa.RecordBatch | None = None
        self._offset = 0
        self._position = 0

    def _next_chunk(self) -> Batch | None:
        while self._batch is None or self._offset >= self._batch.num_rows:
            try:
                self._batch = next(self._batches, None)
            except (pa.ArrowException, OSError) as err:
                msg = f"the file is damaged after row {self._position}: {err}"
                raise InputError(msg, place=str(self._path)) from err
            self._offset = 0
            if self._batch is None:
                return None
        part = self._batch.slice(self._offset, self._chunk_rows)
        columns = {name: part.column(name) for name in self._plan.read}
        first = self._position + 1
        self._offset += part.num_rows
        self._position += part.num_rows
        return self._converter.convert(columns, part.num_rows, first)

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        return self._file.fraction()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _File:
    # The two forms of IPC behind one face.

    def __init__(self, path: Path) -> None:
        checked_file(path)
        self._mapped = pa.memory_map(str(path))
        self._reader: ipc.RecordBatchFileReader | ipc.RecordBatchStreamReader
        magic: bytes = self._mapped.read(len(_FILE_MAGIC))
        self._mapped.seek(0)
        self._is_file = magic == _FILE_MAGIC
        try:
            open_ = ipc.open_file if self._is_file else ipc.open_stream
            self._reader = open_(self._mapped)
        except (pa.ArrowException, OSError) as err:
            self._mapped.close()
            msg = "this is no Arrow IPC file"
            if self._is_file or magic.startswith(_MESSAGE_MAGIC):
                msg = f"the Arrow IPC file is damaged or cut short: {err}"
            raise InputError(msg, place=str(path)) from err
        self.schema: pa.Schema = self._reader.schema
        self._given = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self._is_file:
            for index in range(self._reader.num_record_batches):
                self._given = index + 1
                yield self._reader.get_batch(index)
        else:
            yield from self._reader

    def fraction(self) -> float:
        if self._is_file:
            count: int = self._reader.num_record_batches
            return self._given / count if count else 1.0
        return min(float(self._mapped.tell() / self._mapped.size()), 1.0)

    def close(self) -> None:
        self._mapped.close()


def _plan(path: Path, found: pa.Schema, options: ReadOptions) -> Plan:
    return plan_columns(str(path), found, options, default_symbol=default_symbol(path))
