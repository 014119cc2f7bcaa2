"""Parquet files."""

from __future__ import annotations

__all__ = ("ParquetReader", "peek_schema")

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.cells import is_text
from market_data_pipeline.source.chunks import ChunkReader, checked_file, default_symbol
from market_data_pipeline.source.columns import Plan, plan_columns
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.source.row_groups import RowGroups
from market_data_pipeline.symbols import SymbolTable

_MAGIC: Final = b"PAR1"


def peek_schema(path: Path, options: ReadOptions) -> Schema:
    """Return the columns that reading the file will give.

    Raises:
        InputError: If the file is missing or no Parquet file, or lacks a column.
    """
    with _open(path) as file:
        return _plan(path, file.schema_arrow, options).schema


class ParquetReader(ChunkReader):
    """Reads one Parquet file.

    Columns of text are read as dictionaries and decoded ahead in other threads. A file
    without a symbol column takes `options.symbol`, else its own name up to the first dot.

    Args:
        path: The file.
        options: How to read it.
        symbols: The symbol table of the run.

    Raises:
        InputError: If the file is missing or no Parquet file, or lacks a column.
    """

    def __init__(self, path: Path, options: ReadOptions, symbols: SymbolTable) -> None:
        super().__init__(str(path), options, symbols)
        self._path = path
        with _open(path) as file:
            self._plan = _plan(path, file.schema_arrow, options)
            self._rows = file.metadata.num_rows
        texts = [name for name in self._plan.read if is_text(file.schema_arrow.field(name).type)]
        self.schema = self._plan.schema
        self._converter = Converter(self._plan, options, symbols, self._rejects)
        self._groups = RowGroups(
            lambda: _open(path, texts), list(self._plan.read), self._chunk_rows
        )
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._position = 0

    def _next_chunk(self) -> Batch | None:
        try:
            if self._batches is None:
                self._batches = iter(self._groups)
            found = next(self._batches, None)
        except (pa.ArrowException, OSError) as err:
            msg = f"the file is damaged after row {self._position}: {err}"
            raise InputError(msg, place=str(self._path)) from err
        if found is None:
            return None
        columns = dict(zip(found.schema.names, found.columns, strict=True))
        first = self._position + 1
        self._position += found.num_rows
        return self._converter.convert(columns, found.num_rows, first)

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        return self._position / self._rows if self._rows else 1.0

    def close(self) -> None:
        """Close the file."""
        self._groups.close()


def _open(path: Path, dictionaries: list[str] | None = None) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(checked_file(path), read_dictionary=dictionaries, pre_buffer=False)
    except (pa.ArrowException, OSError) as err:
        if isinstance(err, InputError):
            raise
        msg = f"{_fault(path)}: {err}"
        raise InputError(msg, place=str(path)) from err


def _fault(path: Path) -> str:
    """Return what is wrong with a file that cannot be opened."""
    try:
        with path.open("rb") as file:
            begins_well = file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return "the file cannot be read"
    return "the Parquet file is damaged or cut short" if begins_well else "this is no Parquet file"


def _plan(path: Path, found: pa.Schema, options: ReadOptions) -> Plan:
    return plan_columns(str(path), found, options, default_symbol=default_symbol(path))
