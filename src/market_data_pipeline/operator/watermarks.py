"""The watermark after each row, in the form kernels take it."""

from __future__ import annotations

__all__ = ("watermarks_of",)

from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MIN, Batch

_NO_WATERMARKS: Final = np.empty(0, np.int64)


def watermarks_of(batch: Batch) -> tuple[npt.NDArray[np.int64], int, int]:
    """Return the watermark after each row or none, and the running maximum and bound.

    Where there is none, the watermark after a row is the running maximum of event times,
    of which the second value is the one before the first row, minus the bound.
    """
    progress = batch.progress
    if progress is None:
        return np.full(len(batch), TIME_MIN), TIME_MIN, 0
    if progress.column is not None:
        return np.ascontiguousarray(progress.column), progress.before, 0
    highest = max(progress.start, TIME_MIN + progress.bound)
    return _NO_WATERMARKS, highest, progress.bound
