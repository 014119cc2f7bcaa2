"""Open gaps of sequences out of their lists and into them, and free."""

from __future__ import annotations

__all__ = ("free_gaps", "load_gaps", "save_gaps")

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.sequence_layout import HEADS, NEWER, NODE, OLDER, TAILS

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_TABLE = numba.types.Array(numba.int64, 2, "C", readonly=True)


@kernel(numba.void(_TABLE, _TABLE, _INT64S, numba.int64[:, ::1]))
def save_gaps(
    states: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
) -> None:
    """Copy out the open gaps of some keys, those of each list oldest first.

    Args:
        states: (k, 24) int64 as in `follow_numbers`.
        nodes: (m, 8) int64 as in `follow_numbers`.
        slots: (s,) int64, the keys.
        out: (g, 10) int64, written: slot, number of the list from 1, the gap; g is the
            number of gaps of these keys.
    """
    row = 0
    for slot in slots:
        for which, tail in enumerate(TAILS):
            node = states[slot, tail]
            while node >= 0:
                out[row, 0] = slot
                out[row, 1] = which + 1
                for k in range(NODE):
                    out[row, 2 + k] = nodes[node, k]
                row += 1
                node = nodes[node, NEWER]


@kernel(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[:, ::1], numba.int64[::1]),
        *(_INT64S, _INT64S, _TABLE),
    )
)
def load_gaps(
    states: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int64],
    lists: npt.NDArray[np.int64],
    gaps: npt.NDArray[np.int64],
) -> None:
    """Put gaps at the heads of lists, one after the other.

    Args:
        states: (k, 24) int64 as in `follow_numbers`, updated; the number of open gaps is
            right already.
        nodes: (m, 8) int64 as in `follow_numbers`, updated.
        pool: (2,) int64 as in `follow_numbers`, updated; more than g nodes are free.
        slots: (g,) int64, the key of each gap.
        lists: (g,) int64, the number of its list from 1.
        gaps: (g, w) int64, w >= 8, the gap in the first 8 words.
    """
    for row in range(slots.size):
        state = states[slots[row]]
        head, tail = HEADS[lists[row] - 1], TAILS[lists[row] - 1]
        node = pool[0]
        pool[0] = nodes[node, NEWER]
        pool[1] -= 1
        for k in range(NODE):
            nodes[node, k] = gaps[row, k]
        nodes[node, NEWER] = -1
        nodes[node, OLDER] = state[head]
        if state[head] >= 0:
            nodes[state[head], NEWER] = node
        else:
            state[tail] = node
        state[head] = node


@kernel(numba.void(_TABLE, numba.int64[:, ::1], numba.int64[::1], _INT64S))
def free_gaps(
    states: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int64],
) -> None:
    """Free the gaps of keys that are to be forgotten; their states are left as they are.

    Args:
        states: (k, 24) int64 as in `follow_numbers`.
        nodes: (m, 8) int64 as in `follow_numbers`, updated.
        pool: (2,) int64 as in `follow_numbers`, updated.
        slots: (s,) int64, the keys.
    """
    for slot in slots:
        for tail in TAILS:
            node = states[slot, tail]
            while node >= 0:
                newer = nodes[node, NEWER]
                nodes[node, NEWER] = pool[0]
                pool[0] = node
                pool[1] += 1
                node = newer
