"""Open gaps of a sequence: a list from the oldest to the newest, in nodes of one pool.

All functions here take `nodes`, (m, 8) int64, the gaps of all keys; `pool`, (2,) int64: the
first free node, -1 for none, and how many are free; `state`, (24,) int64, of one key; and
`base`, the place of one of its two sequences in it: `CURRENT` or `FORMER`. See
`sequence_layout` for the words.
"""

from __future__ import annotations

__all__ = (
    "chain_free_nodes",
    "fill_position",
    "forget_all",
    "trim_gaps",
    "gap_of",
    "missing_in",
    "open_gap",
)

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.sequence_layout import (
    AFTER,
    BEFORE,
    CURRENT,
    EXPIRES,
    FIRST_POS,
    FLOOR,
    FORMER,
    HEAD,
    LAST_POS,
    NEWER,
    NODE,
    OLDER,
    OPEN,
    TAIL,
)


@kernel(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64))
def _free(nodes: npt.NDArray[np.int64], pool: npt.NDArray[np.int64], node: int) -> None:
    nodes[node, NEWER] = pool[0]
    pool[0] = node
    pool[1] += 1


@kernel(
    numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64, numba.int64)
)
def _unlink(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
    node: int,
) -> None:
    newer, older = nodes[node, NEWER], nodes[node, OLDER]
    if newer < 0:
        state[base + HEAD] = older
    else:
        nodes[newer, OLDER] = older
    if older < 0:
        state[base + TAIL] = newer
    else:
        nodes[older, NEWER] = newer
    state[OPEN] -= 1
    _free(nodes, pool, node)


@kernel(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64))
def _forget_oldest(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
) -> None:
    tail = state[base + TAIL]
    state[base + FLOOR] = nodes[tail, LAST_POS]
    _unlink(nodes, pool, state, base, tail)


@kernel(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64))
def forget_all(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
) -> None:
    """Forget all gaps of a sequence."""
    while state[base + TAIL] >= 0:
        _forget_oldest(nodes, pool, state, base)


@kernel(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64),
    )
)
def trim_gaps(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    watermark: int,
    limit: int,
) -> None:
    """Forget the gaps of both sequences that are expired, then the oldest that are too many.

    Below a gap that was forgotten nobody knows any more what was seen.
    """
    for base in (FORMER, CURRENT):
        # Gaps are listed in the order in which they expire.
        while state[base + TAIL] >= 0 and nodes[state[base + TAIL], EXPIRES] <= watermark:
            _forget_oldest(nodes, pool, state, base)
    for base in (FORMER, CURRENT):
        while state[base + TAIL] >= 0 and state[OPEN] > limit:
            _forget_oldest(nodes, pool, state, base)


@kernel(numba.int64(numba.int64[:, ::1], numba.int64[::1], numba.int64, numba.int64))
def gap_of(
    nodes: npt.NDArray[np.int64], state: npt.NDArray[np.int64], base: int, position: int
) -> Any:
    """Return the open gap that holds a position, -1 if there is none."""
    head, tail = state[base + HEAD], state[base + TAIL]
    if head < 0 or position > nodes[head, LAST_POS] or position < nodes[tail, FIRST_POS]:
        return -1
    # Rows out of order fill the newest gaps, a backfill the oldest: begin at the nearer end.
    if nodes[head, LAST_POS] - position < position - nodes[tail, FIRST_POS]:
        node = head
        while nodes[node, FIRST_POS] > position:
            node = nodes[node, OLDER]
        return node if position <= nodes[node, LAST_POS] else -1
    node = tail
    while nodes[node, LAST_POS] < position:
        node = nodes[node, NEWER]
    return node if position >= nodes[node, FIRST_POS] else -1


@kernel(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64, numba.int64, numba.int64, numba.int64, numba.int64),
    )
)
def open_gap(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
    first: int,
    last: int,
    before: int,
    after: int,
    expires: int,
) -> None:
    """Put a gap at the newer end; a node must be free."""
    node = pool[0]
    pool[0] = nodes[node, NEWER]
    pool[1] -= 1
    head = state[base + HEAD]
    nodes[node, FIRST_POS] = first
    nodes[node, LAST_POS] = last
    nodes[node, BEFORE] = before
    nodes[node, AFTER] = after
    nodes[node, EXPIRES] = expires
    nodes[node, NEWER] = -1
    nodes[node, OLDER] = head
    if head < 0:
        state[base + TAIL] = node
    else:
        nodes[head, NEWER] = node
    state[base + HEAD] = node
    state[OPEN] += 1


@kernel(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64, numba.int64),
    )
)
def fill_position(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
    node: int,
    position: int,
) -> None:
    """Take a position out of a gap: it ends, gets shorter or falls in two."""
    first, last = nodes[node, FIRST_POS], nodes[node, LAST_POS]
    if first == last:
        _unlink(nodes, pool, state, base, node)
    elif position == first:
        nodes[node, FIRST_POS] = position + 1
    elif position == last:
        nodes[node, LAST_POS] = position - 1
    else:
        made = pool[0]
        pool[0] = nodes[made, NEWER]
        pool[1] -= 1
        older = nodes[node, OLDER]
        for k in range(NODE):
            nodes[made, k] = nodes[node, k]
        nodes[made, LAST_POS] = position - 1
        nodes[node, FIRST_POS] = position + 1
        nodes[made, NEWER] = node
        nodes[node, OLDER] = made
        if older < 0:
            state[base + TAIL] = made
        else:
            nodes[older, NEWER] = made
        state[OPEN] += 1


@kernel(numba.int64(numba.int64[:, ::1], numba.int64[::1], numba.int64))
def missing_in(nodes: npt.NDArray[np.int64], state: npt.NDArray[np.int64], base: int) -> Any:
    """Return how many rows the open gaps of a sequence lack."""
    total, node = 0, state[base + HEAD]
    while node >= 0:
        total += nodes[node, LAST_POS] - nodes[node, FIRST_POS] + 1
        node = nodes[node, OLDER]
    return total


@kernel(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64))
def chain_free_nodes(
    nodes: npt.NDArray[np.int64], pool: npt.NDArray[np.int64], begin: int
) -> None:
    """Make the nodes from `begin` on free ones.

    Args:
        nodes: (m, 8) int64, written from row `begin` on.
        pool: (2,) int64, updated: the first free node, -1 for none; how many are free.
        begin: The first node that has come new.
    """
    for node in range(nodes.shape[0] - 1, begin - 1, -1):
        _free(nodes, pool, node)
