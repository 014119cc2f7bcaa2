"""Memory for columns: length, type, writable, its own."""

from __future__ import annotations

import numpy as np
import pytest

from market_data_pipeline.memory import new_column


@pytest.mark.parametrize("rows", [0, 1, 100_001])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_, np.float64])
def test_new_column_can_be_written(rows: int, dtype: type[np.generic]) -> None:
    """Small or large, the array is of its type and length, aligned and writable."""
    column = new_column(rows, dtype)
    other = new_column(rows, dtype)
    column[:], other[:] = 1, 0
    assert (len(column), column.dtype) == (rows, np.dtype(dtype))
    assert column.flags.c_contiguous
    assert column.flags.aligned
    assert column.all()
    assert not other.any()
