"""Take rows out of a batch without changing what is known of the others."""

from __future__ import annotations

__all__ = ("keep_rows", "with_own_progress")

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Column, Progress
from market_data_pipeline.kernels.compact import copy_masked, kept_watermarks
from market_data_pipeline.memory import new_column

# Picking rows one by one costs about this many times as much a row as copying them all.
_SPARSE = 8


def keep_rows(batch: Batch, keep: npt.NDArray[np.bool_], count: int) -> Batch:
    """Return the rows of a batch where a mask is true; their watermarks stay the same.

    Args:
        batch: The rows.
        keep: (n,) bool.
        count: How many values of `keep` are true.

    Returns:
        The batch itself if nothing is left out.
    """
    rows = len(batch)
    if count == rows:
        return batch
    chosen = np.flatnonzero(keep) if count * _SPARSE < rows else None
    mask = pa.array(keep) if any(isinstance(c, pa.Array) for c in batch.columns.values()) else None
    columns: dict[str, Column] = {}
    for name, column in batch.columns.items():
        if isinstance(column, pa.Array):
            columns[name] = column.filter(mask)
        elif chosen is not None:
            columns[name] = column[chosen]
        else:
            columns[name] = _masked(column, keep, count)
    progress = batch.progress
    if progress is not None:
        if progress.column is None:
            kept = new_column(count + 1, np.int64)
            highest = max(progress.start, TIME_MIN + progress.bound)
            times = np.ascontiguousarray(batch.times)
            kept_watermarks(keep, times, highest, progress.bound, kept)
        else:
            kept = _masked(progress.column, keep, count)
        progress = Progress(progress.before, 0, progress.end, kept[:count])
    return Batch(batch.schema, columns, batch.symbols, progress)


def with_own_progress(batch: Batch) -> Progress | None:
    """Return a batch's progress in the form that does not look at its event times.

    To be used by whoever changes event times: rows stay as late as they were.
    """
    progress = batch.progress
    if progress is None or progress.column is not None:
        return progress
    watermarks = progress.watermarks(batch.times)
    return Progress(progress.before, 0, progress.end, watermarks)


def _masked(
    column: np.ndarray[Any, np.dtype[Any]], keep: npt.NDArray[np.bool_], count: int
) -> np.ndarray[Any, np.dtype[Any]]:
    out = new_column(count + 1, column.dtype)
    column = np.ascontiguousarray(column)
    if column.dtype == np.bool_:
        copy_masked(keep, column.view(np.uint8), out.view(np.uint8))
    elif column.dtype == np.float64:
        copy_masked(keep, column.view(np.int64), out.view(np.int64))
    else:
        copy_masked(keep, column, out)
    return out[:count]
