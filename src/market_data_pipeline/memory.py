"""Memory of Arrow's: for columns that are written anew with every batch, and for its threads."""

from __future__ import annotations

__all__ = ("new_column", "reader_of")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SMALL_BYTES: Final = 65_536


def new_column(rows: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array whose values are yet to be written.

    The C library gives memory of this size back to the system when it is freed, and every
    page that is asked for again costs a fault, ten times what writing it does. Arrow's
    pool keeps it for the next batch.

    Args:
        rows: How many values.
        dtype: Their type, of a fixed width.
    """
    kind = np.dtype(dtype)
    size = rows * kind.itemsize
    if size <= _SMALL_BYTES:
        return np.empty(rows, kind)
    return np.frombuffer(pa.allocate_buffer(size), kind)


def reader_of(data: bytes) -> pa.BufferReader:
    """Return what reads a copy of some bytes.

    Arrow's threads may let go of what they read while the interpreter ends, and the process
    is aborted if that is memory of Python's.

    Args:
        data: What is to be read.
    """
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return pa.BufferReader(buffer)
