"""One byte of a text, as fast as C reads it."""

from __future__ import annotations

__all__ = ("byte_at",)

import numpy as np

from market_data_pipeline.kernels.compiling import inlined
from market_data_pipeline.kernels.signatures import Bytes


@inlined
def byte_at(data: Bytes, k: int) -> int:
    """Return `data[k]` as an int, for a position that is not negative.

    A signed index could be one from the end, which costs a test at each access.

    Args:
        data: (bytes,) uint8.
        k: Position, 0 or more.
    """
    return int(data[np.uint64(k)])
