"""Rows of windows on their way out of a kernel.

`out` is (O, OUT_VALUES + P) int64, a row per window given: the slot of its key, start,
end, revision, 1 if it is final, -1 if it takes back a row that was given, else 1, when it
was due, the rows in it, then the aggregates. Where functions of the user are to see the
rows of a window, they are copied to `gather`, (G, W) int64, one window after the other.
"""

from __future__ import annotations

__all__ = (
    "ASSERT",
    "OUT_DUE",
    "OUT_END",
    "OUT_FINAL",
    "OUT_OP",
    "OUT_REVISION",
    "OUT_ROWS",
    "OUT_SLOT",
    "OUT_START",
    "OUT_VALUES",
    "RETRACT",
    "give",
    "give_nothing",
    "gives_room",
)


from market_data_pipeline.kernels.aggregates import evaluate
from market_data_pipeline.kernels.compiling import called, inlined
from market_data_pipeline.kernels.row_store import (
    ALL_TAKEN,
    META_GATHERED,
    META_OUT,
    META_OVERFLOW,
    META_WANTED,
    NEEDS_GATHER,
    NEEDS_OUT,
)

OUT_SLOT = 0
OUT_START = 1
OUT_END = 2
OUT_REVISION = 3
OUT_FINAL = 4
OUT_OP = 5
OUT_DUE = 6
OUT_ROWS = 7
OUT_VALUES = 8

ASSERT = 1
RETRACT = -1


@inlined
def gives_room(windows, rows, meta, out, gather):
    """Tell what is missing to give some windows of so many rows in all."""
    if meta[META_OUT] + windows > len(out):
        meta[META_WANTED] = windows
        return NEEDS_OUT
    if gather.shape[1] and meta[META_GATHERED] + rows > len(gather):
        meta[META_WANTED] = rows
        return NEEDS_GATHER
    return ALL_TAKEN


@called
def _head(slot, start, end, revision, final, op, due, rows, meta, out):
    at = meta[META_OUT]
    meta[META_OUT] = at + 1
    out[at, OUT_SLOT] = slot
    out[at, OUT_START] = start
    out[at, OUT_END] = end
    out[at, OUT_REVISION] = revision
    out[at, OUT_FINAL] = final
    out[at, OUT_OP] = op
    out[at, OUT_DUE] = due
    out[at, OUT_ROWS] = rows
    return at


@called
def give(slot, low, high, skip, start, end, revision, final, op, due, tables):
    """Give the window of rows `[low, high)` but `skip`; there must be room.

    `tables` are `meta`, `program`, `arena`, `out` and `gather`.
    """
    meta, program, arena, out, gather = tables
    rows = high - low - (1 if low <= skip < high else 0)
    at = _head(slot, start, end, revision, final, op, due, rows, meta, out)
    wrong = evaluate(program, arena, low, high, skip, out, at, OUT_VALUES)
    if wrong and not meta[META_OVERFLOW]:
        meta[META_OVERFLOW] = wrong
    if gather.shape[1]:
        to = meta[META_GATHERED]
        for row in range(low, high):
            if row != skip:
                for word in range(arena.shape[1]):
                    gather[to, word] = arena[row, word]
                to += 1
        meta[META_GATHERED] = to


@called
def give_nothing(slot, start, end, revision, due, meta, program, arena, out):
    """Give a window that has lost its rows to another, for good."""
    at = _head(slot, start, end, revision, 1, ASSERT, due, 0, meta, out)
    evaluate(program, arena, 0, 0, -1, out, at, OUT_VALUES)
