"""What a row of a feed does with a trade: it is a new one, or cancels or corrects one."""

from __future__ import annotations

__all__ = ("CANCEL", "REPLACE", "action_codes")

from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Column

CANCEL: Final = ord("C")
REPLACE: Final = ord("R")


def action_codes(column: Column) -> npt.NDArray[np.uint8]:
    """Return actions as letters, (n,) uint8; 0 for text that is not one letter, and null."""
    if isinstance(column, np.ndarray):
        return column
    words = column.fill_null("").dictionary_encode()
    letters = [ord(w) if len(w) == 1 and w.isascii() else 0 for w in words.dictionary.to_pylist()]
    places = np.frombuffer(words.indices.buffers()[1], np.int32)
    start = words.indices.offset
    return np.array([*letters, 0], np.uint8)[places[start : start + len(column)]]
