"""The words of the array that tells kernels which windows there are."""

from __future__ import annotations

__all__ = (
    "GRID_EVERY",
    "GRID_LATENESS",
    "GRID_MODE",
    "GRID_ORIGIN",
    "GRID_SIZE",
    "MODE_FINAL",
    "MODE_RETRACT",
    "MODE_UPSERT",
)

GRID_ORIGIN = 0  # 0 <= origin < every
GRID_SIZE = 1  # the gap, where windows are sessions of activity
GRID_EVERY = 2
GRID_LATENESS = 3
GRID_MODE = 4

MODE_UPSERT = 0
MODE_RETRACT = 1
MODE_FINAL = 2
