"""Thresholds of rows, bytes and time in front of a sink.

The names below are those that version 0.8 has here; they are loaded on first use.
"""

from __future__ import annotations

__all__ = ("HybridBatcher",)

from typing import TYPE_CHECKING, Final

from market_data_pipeline.lazy import loaded_from

if TYPE_CHECKING:
    from market_data_pipeline.batcher.hybrid import HybridBatcher as HybridBatcher

__getattr__: Final = loaded_from(
    __name__,
    {
        "HybridBatcher": "hybrid",
    },
)
