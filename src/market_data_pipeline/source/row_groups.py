"""Row groups of a Parquet file, decoded ahead."""

from __future__ import annotations

__all__ = ("RowGroups",)

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_THREADS: Final = 2
_GROUPS_AHEAD: Final = 2 * _THREADS + 1
"""Two for each thread, so that none is idle while the rows of another are given.

On few cores whoever takes the rows gets its turn some milliseconds late, as long as a thread
takes for a group.
"""
_GROUP_ROWS_MAX: Final = 262_144


class RowGroups:
    """Gives the rows of a Parquet file in order, as record batches.

    Row groups of moderate size are decoded whole, each by one thread, a few ahead: one
    column is often as much work as all others, so threads that share a group would wait
    for it. Larger ones are decoded piece by piece, so that memory stays bounded.

    Args:
        opened: Opens the file; called once in each thread.
        columns: The columns to decode.
        batch_rows: Most rows of a piece.
    """

    def __init__(
        self, opened: Callable[[], pq.ParquetFile], columns: Sequence[str], batch_rows: int
    ) -> None:
        self._opened = opened
        self._columns = list(columns)
        self._batch_rows = batch_rows
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="parquet")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._files: list[pq.ParquetFile] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Decode the file; what it raises, Arrow raised."""
        metadata = self._file().metadata
        groups = range(metadata.num_row_groups)
        largest = max((metadata.row_group(group).num_rows for group in groups), default=0)
        if len(groups) > 1 and largest <= _GROUP_ROWS_MAX:
            return self._whole(iter(groups))
        batches: Iterator[pa.RecordBatch] = self._file().iter_batches(
            batch_size=self._batch_rows, columns=self._columns, use_threads=True
        )
        return batches

    def _whole(self, groups: Iterator[int]) -> Iterator[pa.RecordBatch]:
        decoding: deque[Future[list[pa.RecordBatch]]] = deque()
        for group in groups:
            decoding.append(self._threads.submit(self._decode, group))
            if len(decoding) == _GROUPS_AHEAD:
                yield from decoding.popleft().result()
        while decoding:
            yield from decoding.popleft().result()

    def _decode(self, group: int) -> list[pa.RecordBatch]:
        table = self._file().read_row_group(group, columns=self._columns, use_threads=False)
        batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
        return batches

    def _file(self) -> pq.ParquetFile:
        """Return this thread's own handle: one cannot be used by two threads."""
        file: pq.ParquetFile | None = getattr(self._local, "file", None)
        if file is None:
            file = self._local.file = self._opened()
            with self._lock:
                self._files.append(file)
        return file

    def close(self) -> None:
        """End the threads and close the file."""
        self._threads.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()
