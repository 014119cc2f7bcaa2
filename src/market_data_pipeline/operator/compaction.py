"""Take rows out of a batch without changing what is known of the others."""

from __future__ import annotations

__all__ = ("keep_rows", "with_own_progress")

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Column, Progress
from market_data_pipeline.kept_columns import KeptColumns
from market_data_pipeline.kernels.compact import (
    copy_between,
    copy_masked,
    kept_watermarks,
    raise_highest,
    rows_left_out,
)
from market_data_pipeline.memory import new_column
from market_data_pipeline.records import Kind

# Picking rows one by one costs about this many times as much a row as copying them all.
_SPARSE: Final = 8
# Copying the rows between two that are left out pays if there are this many.
_LONG_RUN: Final = 24

_VIEWED_AS: Final[dict[Any, Any]] = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float64): np.dtype(np.int64),
}

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]


def keep_rows(batch: Batch, keep: Mask, count: int) -> Batch:
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
    left_out: Rows | None = None
    if (rows - count) * _LONG_RUN < rows:
        left_out = np.empty(rows - count + 1, np.int32)
        left_out = left_out[: rows_left_out(keep, left_out)]
    has_arrow = any(field.kind is Kind.ARROW for field in batch.schema)
    kept = _copying(keep, count, left_out, pa.array(keep) if has_arrow else None)
    progress = batch.progress
    if progress is not None:
        progress = _kept_progress(batch, progress, keep, count, left_out)
    columns: Mapping[str, Column]
    if left_out is None:
        columns = {name: kept(column) for name, column in batch.columns.items()}
    else:
        columns = KeptColumns(batch, left_out, kept, progress)
    return Batch(batch.schema, columns, batch.symbols, progress)


def _copying(
    keep: Mask, count: int, left_out: Rows | None, mask: pa.BooleanArray | None = None
) -> Callable[[Column], Column]:
    """Return what copies the values of a column that are kept, in the way that suits the mask.

    Args:
        keep: (n,) bool. Not read any more once this returns, if there is `left_out`.
        count: How many values of `keep` are true.
        left_out: Rows where `keep` is false, if they are few.
        mask: `keep`, for columns that are Arrow's.
    """
    chosen = np.flatnonzero(keep) if count * _SPARSE < len(keep) else None

    def kept(column: Column) -> Column:
        if isinstance(column, pa.Array):
            return column.filter(mask)
        if chosen is not None:
            return column[chosen]
        out = new_column(count + 1, column.dtype)
        column = np.ascontiguousarray(column)
        kind = _VIEWED_AS.get(column.dtype, column.dtype)
        if left_out is not None:
            copy_between(left_out, column.view(kind), out.view(kind))
        else:
            copy_masked(keep, column.view(kind), out.view(kind))
        return out[:count]

    return kept


def _kept_progress(
    batch: Batch,
    progress: Progress,
    keep: Mask,
    count: int,
    left_out: Rows | None,
) -> Progress:
    """Return the watermark after each row that is kept, as it was."""
    if progress.column is not None:
        kept = _copying(keep, count, left_out)(progress.column)
        return Progress(progress.before, 0, progress.end, kept)
    highest = max(progress.start, TIME_MIN + progress.bound)
    times = np.ascontiguousarray(batch.times)
    if left_out is not None and not raise_highest(left_out, times, highest):
        # As with copies of rows: the times that are left say all there is to say.
        return progress
    kept = new_column(count + 1, np.int64)
    kept_watermarks(keep, times, highest, progress.bound, kept)
    return Progress(progress.before, 0, progress.end, kept[:count])


def with_own_progress(batch: Batch) -> Progress | None:
    """Return a batch's progress in the form that does not look at its event times.

    To be used by whoever changes event times: rows stay as late as they were.
    """
    progress = batch.progress
    if progress is None or progress.column is not None:
        return progress
    watermarks = progress.watermarks(batch.times)
    return Progress(progress.before, 0, progress.end, watermarks)
