"""What the readers of all file formats share: big chunks in, batches of a given size out."""

from __future__ import annotations

__all__ = ("CHUNK_ROWS", "ChunkReader", "checked_file", "default_symbol")

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, InputError, MissingInputError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.future_rows import FutureRows
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.symbols import SymbolTable

if TYPE_CHECKING:
    from market_data_pipeline.source.conversion import Converter

CHUNK_ROWS: Final = 65_536
"""Rows converted at once where batches are smaller; their columns fit a core's cache."""


def checked_file(path: Path) -> Path:
    """Return the path of a file that is there and not empty.

    Raises:
        MissingInputError: If there is nothing at the path.
        InputError: If it is a directory, a pipe or a device, or empty.
    """
    if path.is_dir():
        msg = "this is a directory; name a file in it, or a pattern as `*.parquet`"
        raise InputError(msg, place=str(path))
    if not path.exists():
        msg = "there is no such file"
        raise MissingInputError(msg, place=str(path))
    if not path.is_file():
        msg = "this is a pipe or a device, and inputs are read more than once; write it to a file"
        raise InputError(msg, place=str(path))
    if path.stat().st_size == 0:
        msg = "the file is empty; not even a header or a schema is there"
        raise InputError(msg, place=str(path))
    return path


def default_symbol(path: Path) -> str:
    """Return the symbol of a file that holds none: its name up to the first dot."""
    return path.name.split(".", 1)[0] or path.name


class ChunkReader(ABC):
    """One open file; see `FileReader`, whose contract this fulfils.

    A format brings chunks of any size, each converted at once; batches are cut from them
    without copying. No batch spans two chunks. Rows from the future are rejected here, so
    that they disturb no other file.

    Attributes:
        schema: Columns of the batches.
        rows_read: Rows given or rejected so far.
    """

    schema: Schema
    _converter: Converter

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
        skew = options.max_future_skew
        self._future = None if skew is None else FutureRows(skew)
        self._doubtful: tuple[Batch, int] | None = None
        self._judged: Batch | None = None
        self._ended = False

    @abstractmethod
    def _next_chunk(self) -> Batch | None: ...

    def read(self) -> Batch | None:
        """Return the next rows in file order, without progress; None at the end."""
        chunk = self._chunk
        if chunk is None:
            before = len(self._rejects)
            chunk = self._next_chunk() if self._future is None else self._next_known()
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

    def _next_known(self) -> Batch | None:
        """Return the next rows without those from the future; an empty batch if none is left."""
        assert self._future is not None  # noqa: S101 - the caller has asked
        if self._judged is not None or self._ended:
            chunk, self._judged = self._judged, None
            return chunk
        chunk = self._next_chunk()
        self._ended = chunk is None
        if chunk is not None and not len(chunk):
            return chunk
        settled = self._settle_doubtful(None if chunk is None else int(chunk.times[0]))
        if chunk is not None:
            chunk = self._without_future(chunk, self._future)
        if settled is None:
            return chunk
        self._judged = chunk
        return settled

    def _settle_doubtful(self, following: int | None) -> Batch | None:
        if self._doubtful is None or self._future is None:
            return None
        (row, number), self._doubtful = self._doubtful, None
        if self._future.confirmed(following):
            return row
        self._reject_future(number, int(row.times[0]))
        return None

    def _without_future(self, chunk: Batch, judge: FutureRows) -> Batch:
        received = chunk.columns.get("ts_recv")
        future, is_doubtful = judge.judge(chunk.times, received)
        if not future.any():
            return chunk
        numbers = self._converter.numbers
        if isinstance(numbers, int):
            numbers = np.arange(numbers, numbers + len(chunk))
        if is_doubtful:
            last = len(chunk) - 1
            self._doubtful = chunk.slice(last, last + 1), int(numbers[last])
        for at in np.flatnonzero(future[: len(future) - is_doubtful]).tolist():
            self._reject_future(int(numbers[at]), int(chunk.times[at]))
        return chunk.take(~future)

    def _reject_future(self, number: int, time: int) -> None:
        detail = f"`ts_event` is {np.datetime64(time, 'ns')}Z, too far ahead of what is known"
        self._rejects.add(number, "future", detail)

    def take_rejected(self) -> Batch | None:
        """Return the rows rejected since the last call, or None."""
        return self._rejects.take(self._symbols)
