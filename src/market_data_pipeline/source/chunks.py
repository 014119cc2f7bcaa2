"""What the readers of all file formats share: big chunks in, batches of a given size out."""

from __future__ import annotations

__all__ = ("CHUNK_ROWS", "ChunkReader", "checked_file", "default_symbol")

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, InputError, MissingInputError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.symbols import SymbolTable

CHUNK_ROWS: Final = 65_536
"""Rows converted at once where batches are smaller; their columns fit a core's cache."""


def checked_file(path: Path) -> Path:
    """Return the path of a file that is there and not empty.

    Raises:
        MissingInputError: If there is nothing at the path.
        InputError: If it is a directory, or empty.
    """
    if path.is_dir():
        msg = "this is a directory; name a file in it, or a pattern as `*.parquet`"
        raise InputError(msg, place=str(path))
    if not path.exists():
        msg = "there is no such file"
        raise MissingInputError(msg, place=str(path))
    if path.is_file() and path.stat().st_size == 0:
        msg = "the file is empty; not even a header or a schema is there"
        raise InputError(msg, place=str(path))
    return path


def default_symbol(path: Path) -> str:
    """Return the symbol of a file that holds none: its name up to the first dot."""
    return path.name.split(".", 1)[0] or path.name


class ChunkReader(ABC):
    """One open file; see `FileReader`, whose contract this fulfils.

    A format brings chunks of any size; batches are cut from them without copying. No
    batch spans two chunks.

    Attributes:
        schema: Columns of the batches.
        rows_read: Rows given or rejected so far.
    """

    schema: Schema

    def __init__(self, place: str, options: ReadOptions, symbols: SymbolTable) -> None:
        if options.batch_rows < 1:
            msg = f"`batch_rows` must be positive, was {options.batch_rows}"
            raise ConfigError(msg, parameter="batch_rows")
        self.rows_read = 0
        self._symbols = symbols
        self._rejects = Rejects(place, strict=options.strict)
        self._batch_rows = options.batch_rows
        self._chunk_rows = max(options.batch_rows, CHUNK_ROWS)
        self._chunk: Batch | None = None
        self._at = 0

    @abstractmethod
    def _next_chunk(self) -> Batch | None: ...

    def read(self) -> Batch | None:
        """Return the next rows in file order, without progress; None at the end."""
        chunk = self._chunk
        if chunk is None:
            before = len(self._rejects)
            chunk = self._next_chunk()
            self._rejects.settle()
            self.rows_read += len(self._rejects) - before
            if chunk is None:
                return None
            self._at = 0
        stop = min(self._at + self._batch_rows, len(chunk))
        whole = self._at == 0 and stop == len(chunk)
        batch = chunk if whole else chunk.slice(self._at, stop)
        self._at = stop
        self._chunk = chunk if stop < len(chunk) else None
        self.rows_read += len(batch)
        return batch

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        return self._rejects.take(self._symbols)
