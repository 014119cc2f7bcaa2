"""What a slot of bars of bars knows besides prices: the rows taken, and their certificates.

These words follow those of the trades or quotes, in a second slot of the same key.
"""

from __future__ import annotations

__all__ = (
    "CARRIED",
    "ROWS",
    "begin_carried",
    "carry",
    "write_carried",
)

from market_data_pipeline.kernels.compiling import called, inlined
from market_data_pipeline.kernels.windows import (
    META_OVERFLOW,
    NEVER,
    OUT_GAP,
    OUT_RANK,
    OUT_ROWS,
    OUT_SESSION,
    SLOT,
    SLOT_LATE,
    SLOT_MISSING,
)

ROWS = SLOT
_GAP = SLOT + 1
_RANK = SLOT + 2
_SESSION = SLOT + 3

CARRIED = 5
"""late_count, missing_seq, gap_ns, rank of the feed's state, session."""

_NO_SESSION = -NEVER
_LATE_MOST = 1 << 31


@inlined
def begin_carried(base, slots):
    """Make a slot one that has seen no bar."""
    slots[base + ROWS] = 0
    slots[base + _GAP] = 0
    slots[base + _RANK] = 0
    slots[base + _SESSION] = _NO_SESSION


@called
def carry(base, i, values, meta, slots):
    """Take the certificate of bar `i`, in the first `CARRIED` rows of `values`.

    Late rows and gaps add up, and so do missing rows unless those of one bar are unknown;
    the worst state of the feed stands, and the session if there is but one.
    """
    late = (slots[base + SLOT_LATE] & 0xFFFFFFFF) + values[0, i]
    if late < _LATE_MOST:
        slots[base + SLOT_LATE] += values[0, i]
    else:
        meta[META_OVERFLOW] = 1
    missing = slots[base + SLOT_MISSING]
    if missing != NEVER:
        slots[base + SLOT_MISSING] = NEVER if values[1, i] == NEVER else missing + values[1, i]
    slots[base + _GAP] += values[2, i]
    slots[base + _RANK] = max(slots[base + _RANK], values[3, i])
    session = slots[base + _SESSION]
    if session == _NO_SESSION:
        slots[base + _SESSION] = values[4, i]
    elif session != values[4, i]:
        slots[base + _SESSION] = NEVER
    slots[base + ROWS] += 1


@inlined
def write_carried(base, at, slots, out):
    """Write what was carried to a column of `out`."""
    out[OUT_ROWS, at] = slots[base + ROWS]
    out[OUT_GAP, at] = slots[base + _GAP]
    out[OUT_RANK, at] = slots[base + _RANK]
    out[OUT_SESSION, at] = slots[base + _SESSION]
