"""Memory for columns: length, type, writable, its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.memory import new_column, reader_of


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


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n"])
def test_what_is_read_is_memory_of_arrows(data: bytes) -> None:
    """The bytes are those given, and no view of them."""
    before = pa.total_allocated_bytes()
    reader = reader_of(data)
    assert reader.read() == data
    assert pa.total_allocated_bytes() >= before + len(data)
