"""Follow sequence numbers: what is missing, what came twice, what fills a gap."""

from __future__ import annotations

__all__ = (
    "DUPLICATE",
    "EDGE",
    "FILLED",
    "GAP",
    "HEADS",
    "HIGHEST",
    "KINDS",
    "NEWER",
    "NODE",
    "OLDER",
    "OUT_OF_SEQUENCE",
    "RECORD",
    "RESET",
    "RESUMED",
    "STATE",
    "TAILS",
    "WRAP",
    "chain_free_nodes",
    "follow_numbers",
)

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)

KINDS: Final = (
    "",
    "gap",
    "reset",
    "wrap",
    "filled",
    "duplicate",
    "out_of_sequence",
    "resumed",
)
"""What a record tells, by its code."""
GAP: Final = 1
RESET: Final = 2
WRAP: Final = 3
FILLED: Final = 4
DUPLICATE: Final = 5
OUT_OF_SEQUENCE: Final = 6
RESUMED: Final = 7

STATE: Final = 24
"""Words of a key's state: 192 bytes, three cache lines."""
_USED: Final = 0
EDGE: Final = 1
"""Word of the state that holds the event time from which on the next session counts."""
HIGHEST: Final = 2
"""Word of the state that holds the highest event time of the key."""
_RESTART: Final = 3  # event time at which the current sequence began
_OPEN: Final = 4  # gaps in the lists of both sequences
_CURRENT: Final = 5
_FORMER: Final = 10
_HAS_FORMER: Final = 15
_FORMER_RESTART: Final = 16
# Words of one sequence, from `_CURRENT` or `_FORMER` on. Positions are numbers that go on
# past a wrap.
_LAST: Final = 0  # highest position seen
_FLOOR: Final = 1  # at this position and below it is not known what was seen
_LAST_TIME: Final = 2  # event time of the row at the highest position
_HEAD: Final = 3  # newest gap, -1 for none
_TAIL: Final = 4  # oldest gap

HEADS: Final = (_CURRENT + _HEAD, _FORMER + _HEAD)
TAILS: Final = (_CURRENT + _TAIL, _FORMER + _TAIL)

NODE: Final = 8
"""Words of an open gap: first and last position, event times of the rows before and after
it, when it is forgotten, the next newer and the next older gap, and one to spare."""
_FIRST_POS: Final = 0
_LAST_POS: Final = 1
_BEFORE: Final = 2
_AFTER: Final = 3
_EXPIRES: Final = 4
NEWER: Final = 5
OLDER: Final = 6

RECORD: Final = 9
"""Words of a record: row, kind, number, number before, first and last missing number,
rows, event times of the rows before and after."""

_MAX: Final = int(np.iinfo(np.int64).max)
_MIN: Final = int(np.iinfo(np.int64).min)
_FAR: Final = 2**62
"""Beyond this a number is taken for none, so that no difference leaves 64 bits."""


@njit(numba.int64(numba.int64, numba.int64), cache=True, nogil=True)
def _later(time: int, span: int) -> Any:
    return time + span if time <= _MAX - span else _MAX


@njit(numba.int64(numba.int64, numba.int64, numba.int64), cache=True, nogil=True)
def _position(number: int, last: int, wrap: int) -> Any:
    """Return the position next to `last` that has this number."""
    if wrap == 0:
        return number
    ahead = (number - last) % wrap
    return last + (ahead - wrap if ahead > wrap // 2 else ahead)


@njit(numba.int64(numba.int64, numba.int64), cache=True, nogil=True)
def _number(position: int, wrap: int) -> Any:
    return position if wrap == 0 else position % wrap


@njit(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64), cache=True, nogil=True)
def _free(nodes: npt.NDArray[np.int64], pool: npt.NDArray[np.int64], node: int) -> None:
    nodes[node, NEWER] = pool[0]
    pool[0] = node
    pool[1] += 1


@njit(
    numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64, numba.int64),
    cache=True,
    nogil=True,
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
        state[base + _HEAD] = older
    else:
        nodes[newer, OLDER] = older
    if older < 0:
        state[base + _TAIL] = newer
    else:
        nodes[older, NEWER] = newer
    state[_OPEN] -= 1
    _free(nodes, pool, node)


@njit(
    numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64),
    cache=True,
    nogil=True,
)
def _forget_oldest(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
) -> None:
    tail = state[base + _TAIL]
    state[base + _FLOOR] = nodes[tail, _LAST_POS]
    _unlink(nodes, pool, state, base, tail)


@njit(
    numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1], numba.int64),
    cache=True,
    nogil=True,
)
def _forget_all(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
) -> None:
    while state[base + _TAIL] >= 0:
        _forget_oldest(nodes, pool, state, base)


@njit(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64, numba.int64),
    ),
    cache=True,
    nogil=True,
)
def _forget_expired(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
    watermark: int,
    limit: int,
) -> None:
    # Gaps are listed in the order in which they expire.
    while state[base + _TAIL] >= 0 and (
        nodes[state[base + _TAIL], _EXPIRES] <= watermark or state[_OPEN] > limit
    ):
        _forget_oldest(nodes, pool, state, base)


@njit(
    numba.int64(numba.int64[:, ::1], numba.int64[::1], numba.int64, numba.int64),
    cache=True,
    nogil=True,
)
def _gap_of(
    nodes: npt.NDArray[np.int64], state: npt.NDArray[np.int64], base: int, position: int
) -> Any:
    """Return the open gap that holds a position, -1 if there is none."""
    head, tail = state[base + _HEAD], state[base + _TAIL]
    if head < 0 or position > nodes[head, _LAST_POS] or position < nodes[tail, _FIRST_POS]:
        return -1
    # Rows out of order fill the newest gaps, a backfill the oldest: begin at the nearer end.
    if nodes[head, _LAST_POS] - position < position - nodes[tail, _FIRST_POS]:
        node = head
        while nodes[node, _FIRST_POS] > position:
            node = nodes[node, OLDER]
        return node if position <= nodes[node, _LAST_POS] else -1
    node = tail
    while nodes[node, _LAST_POS] < position:
        node = nodes[node, NEWER]
    return node if position >= nodes[node, _FIRST_POS] else -1


@njit(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64, numba.int64, numba.int64, numba.int64, numba.int64),
    ),
    cache=True,
    nogil=True,
)
def _open_gap(
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
    node = pool[0]
    pool[0] = nodes[node, NEWER]
    pool[1] -= 1
    head = state[base + _HEAD]
    nodes[node, _FIRST_POS] = first
    nodes[node, _LAST_POS] = last
    nodes[node, _BEFORE] = before
    nodes[node, _AFTER] = after
    nodes[node, _EXPIRES] = expires
    nodes[node, NEWER] = -1
    nodes[node, OLDER] = head
    if head < 0:
        state[base + _TAIL] = node
    else:
        nodes[head, NEWER] = node
    state[base + _HEAD] = node
    state[_OPEN] += 1


@njit(
    numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(numba.int64, numba.int64, numba.int64),
    ),
    cache=True,
    nogil=True,
)
def _fill(
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    state: npt.NDArray[np.int64],
    base: int,
    node: int,
    position: int,
) -> None:
    """Take a position out of a gap: it ends, gets shorter or falls in two."""
    first, last = nodes[node, _FIRST_POS], nodes[node, _LAST_POS]
    if first == last:
        _unlink(nodes, pool, state, base, node)
    elif position == first:
        nodes[node, _FIRST_POS] = position + 1
    elif position == last:
        nodes[node, _LAST_POS] = position - 1
    else:
        made = pool[0]
        pool[0] = nodes[made, NEWER]
        pool[1] -= 1
        older = nodes[node, OLDER]
        for k in range(NODE):
            nodes[made, k] = nodes[node, k]
        nodes[made, _LAST_POS] = position - 1
        nodes[node, _FIRST_POS] = position + 1
        nodes[made, NEWER] = node
        nodes[node, OLDER] = made
        if older < 0:
            state[base + _TAIL] = made
        else:
            nodes[older, NEWER] = made
        state[_OPEN] += 1


@njit(
    numba.int64(numba.int64[:, ::1], numba.int64[::1], numba.int64),
    cache=True,
    nogil=True,
)
def _missing_in(nodes: npt.NDArray[np.int64], state: npt.NDArray[np.int64], base: int) -> Any:
    total, node = 0, state[base + _HEAD]
    while node >= 0:
        total += nodes[node, _LAST_POS] - nodes[node, _FIRST_POS] + 1
        node = nodes[node, OLDER]
    return total


@njit(
    numba.void(
        *(numba.int64[::1], numba.int64, numba.int64, numba.int64, numba.int64),
        *(numba.int64, numba.int64, numba.int64, numba.int64, numba.int64),
    ),
    cache=True,
    nogil=True,
)
def _tell(
    record: npt.NDArray[np.int64],
    row: int,
    kind: int,
    number: int,
    previous: int,
    first: int,
    last: int,
    rows: int,
    before: int,
    after: int,
) -> None:
    record[0] = row
    record[1] = kind
    record[2] = number
    record[3] = previous
    record[4] = first
    record[5] = last
    record[6] = rows
    record[7] = before
    record[8] = after


@njit(numba.void(numba.int64[:, ::1], numba.int64[::1], numba.int64), cache=True, nogil=True)
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


def _signature(keys: Any) -> Any:
    return numba.int64(
        *(numba.int64[:, ::1], numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(keys, _INT64S, _INT64S, _INT64S, numba.int64, numba.int64),
        *(_INT64S, _INT64S, numba.int64),
        *(numba.int64[::1], numba.boolean[::1], numba.int64[:, ::1]),
    )


@njit([_signature(_INT32S), _signature(_INT64S)], cache=True, nogil=True)
def follow_numbers(
    states: npt.NDArray[np.int64],
    nodes: npt.NDArray[np.int64],
    pool: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    slots: npt.NDArray[Any],
    numbers: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    watermarks: npt.NDArray[np.int64],
    highest: int,
    bound: int,
    edges: npt.NDArray[np.int64],
    settings: npt.NDArray[np.int64],
    begin: int,
    missing: npt.NDArray[np.int64],
    keep: npt.NDArray[np.bool_],
    records: npt.NDArray[np.int64],
) -> int:
    """Tell for each row how many rows are missing right before it.

    Args:
        states: (k, 24) int64, state of each key, updated; zeros for a key not seen yet.
        nodes: (m, 8) int64, open gaps of all keys in lists, updated.
        pool: (2,) int64, updated: the first free node, -1 for none; how many are free.
        counts: (3,) int64, updated: duplicates dropped and records told since the caller
            set them to 0, the watermark reached.
        slots: (n,) int32 or int64, which state belongs to the row's key.
        numbers: (n,) int64 sequence numbers; beyond 2**62 either way, or outside
            `0 <= number < wrap`, a row has none.
        times: (n,) int64 event times, nanoseconds.
        watermarks: (n,) int64, the watermark after each row; (0,) if it is the running
            maximum of `times` minus `bound`.
        highest: The watermark before row `begin`, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        edges: (e,) int64 ascending event times at which sequences begin anew; the last
            is the highest int64. (0,) for none.
        settings: (7,) int64: the number after which 0 follows is this minus one, 0 for
            none; a row at this number or below restarts its sequence, the highest int64
            for any number; the first number of a sequence, the lowest int64 for unknown;
            nanoseconds a gap stays open; nanoseconds a key is remembered; most gaps open
            of a key; 1 to drop duplicates.
        begin: The row to begin with.
        missing: (n,) int64, written from `begin` on.
        keep: (n,) bool, written from `begin` on: False for duplicates that are dropped.
        records: (n, 9) int64, the first `counts[1]` rows written; see `RECORD`.

    Returns:
        n, or the row before which there must be more free nodes.
    """
    wrap, reset_at, first_number = settings[0], settings[1], settings[2]
    ttl, forget, most_open, dropping = settings[3], settings[4], settings[5], settings[6]
    n = times.size
    explicit = watermarks.size > 0
    duplicates, told = counts[0], counts[1]
    row = begin
    while row < n and pool[1] > 0:
        time, number = times[row], numbers[row]
        watermark = highest - bound
        highest = watermarks[row] if explicit else max(highest, time)
        missing[row] = 0
        keep[row] = True
        lowest, above = (0, wrap) if wrap > 0 else (-_FAR, _FAR)
        if number < lowest or number >= above:
            row += 1
            continue
        state = states[slots[row]]
        used = state[_USED] != 0
        if used and watermark >= _later(state[HIGHEST], forget):
            _forget_all(nodes, pool, state, _CURRENT)
            _forget_all(nodes, pool, state, _FORMER)
            used = False
        kind = 0
        restart = _MIN
        resumed = False
        stray = False  # of a session of which nothing is known
        base = _CURRENT
        position = number
        if not used:
            kind = GAP  # of the rows before the first, where the first number is known
            session = np.searchsorted(edges, time, side="right") - 1
            state[_USED] = 1
            state[HIGHEST] = time
            state[_RESTART] = edges[session] if session >= 0 else _MIN
            state[_OPEN] = 0
            state[_FORMER + _HEAD] = -1
            state[_FORMER + _TAIL] = -1
            state[_HAS_FORMER] = 0
        else:
            position = _position(number, state[_CURRENT + _LAST], wrap)
            if time >= state[EDGE]:
                kind = RESET
                restart = edges[np.searchsorted(edges, time, side="right") - 1]
            elif edges.size > 0 and time < state[_RESTART]:
                stray = state[_HAS_FORMER] == 0 or time < state[_FORMER_RESTART]
                if not stray:
                    base = _FORMER
                    position = _position(number, state[_FORMER + _LAST], wrap)
            elif position != state[_CURRENT + _LAST] + 1:
                # Which of the two sequences does it belong to?
                node = -1
                if position <= state[_CURRENT + _LAST]:
                    _forget_expired(nodes, pool, state, _CURRENT, watermark, most_open)
                    node = _gap_of(nodes, state, _CURRENT, position)
                if node < 0 and state[_HAS_FORMER] != 0:
                    former = _position(number, state[_FORMER + _LAST], wrap)
                    if time < state[_RESTART]:
                        base, position = _FORMER, former
                    elif (
                        former == state[_FORMER + _LAST] + 1 and position > state[_CURRENT + _LAST]
                    ):
                        # The former sequence goes on: what came between was no restart.
                        gone = _missing_in(nodes, state, _CURRENT)
                        _forget_all(nodes, pool, state, _CURRENT)
                        _tell(
                            records[told],
                            row,
                            RESUMED,
                            number,
                            _number(state[_FORMER + _LAST], wrap),
                            _MAX,
                            _MAX,
                            -gone,
                            state[_FORMER + _LAST_TIME],
                            time,
                        )
                        told += 1
                        missing[row] = -gone
                        for k in range(5):
                            state[_CURRENT + k] = state[_FORMER + k]
                        state[_FORMER + _HEAD] = -1
                        state[_FORMER + _TAIL] = -1
                        state[_HAS_FORMER] = 0
                        position = former
                        resumed = True
                if (
                    node < 0
                    and base == _CURRENT
                    and position <= state[_CURRENT + _LAST]
                    and time > state[HIGHEST]
                    and (
                        number <= reset_at
                        if reset_at < _MAX
                        else position < state[_CURRENT + _LAST]
                    )
                ):
                    kind = RESET
                    restart = time
        if kind != 0:
            # A sequence begins.
            previous, before = _MAX, _MAX
            if kind == RESET:
                previous = _number(state[_CURRENT + _LAST], wrap)
                before = state[_CURRENT + _LAST_TIME]
                _forget_all(nodes, pool, state, _FORMER)
                for k in range(5):
                    state[_FORMER + k] = state[_CURRENT + k]
                state[_HAS_FORMER] = 1
                state[_FORMER_RESTART] = state[_RESTART]
                state[_RESTART] = restart
            start = first_number if _MIN < first_number < number else number
            state[_CURRENT + _LAST] = number
            state[_CURRENT + _FLOOR] = start - 1
            state[_CURRENT + _LAST_TIME] = time
            state[_CURRENT + _HEAD] = -1
            state[_CURRENT + _TAIL] = -1
            state[HIGHEST] = max(state[HIGHEST], time)
            state[EDGE] = _MAX
            if edges.size:
                following = np.searchsorted(edges, time, side="right")
                state[EDGE] = edges[min(following, edges.size - 1)]
            gone = number - start
            missing[row] = gone
            if gone > 0:
                expires = _later(state[HIGHEST], ttl)
                _open_gap(nodes, pool, state, _CURRENT, start, number - 1, before, time, expires)
                _forget_expired(nodes, pool, state, _FORMER, watermark, most_open)
            if gone > 0 or kind == RESET:
                first_gone, last_gone = (start, number - 1) if gone > 0 else (_MAX, _MAX)
                _tell(
                    records[told],
                    row,
                    kind,
                    number,
                    previous,
                    first_gone,
                    last_gone,
                    gone,
                    before,
                    time,
                )
                told += 1
            row += 1
            continue
        last = state[base + _LAST]
        if stray:
            _tell(
                records[told],
                row,
                OUT_OF_SEQUENCE,
                number,
                _number(last, wrap),
                _MAX,
                _MAX,
                0,
                state[base + _LAST_TIME],
                time,
            )
            told += 1
        elif position > last:
            gone = position - last - 1
            wrapped = wrap > 0 and position // wrap != last // wrap
            if gone > 0 or (wrapped and not resumed):
                previous = _number(last, wrap)
                before = state[base + _LAST_TIME]
                first_gone = _number(last + 1, wrap) if gone > 0 else _MAX
                last_gone = _number(position - 1, wrap) if gone > 0 else _MAX
                kind = WRAP if wrapped else GAP
                _tell(
                    records[told],
                    row,
                    kind,
                    number,
                    previous,
                    first_gone,
                    last_gone,
                    gone,
                    before,
                    time,
                )
                told += 1
                if gone > 0:
                    missing[row] += gone
                    expires = _later(max(state[HIGHEST], time), ttl)
                    _open_gap(
                        nodes,
                        pool,
                        state,
                        base,
                        last + 1,
                        position - 1,
                        before,
                        time,
                        expires,
                    )
                    _forget_expired(nodes, pool, state, _FORMER, watermark, most_open)
                    _forget_expired(nodes, pool, state, _CURRENT, watermark, most_open)
            state[base + _LAST] = position
            state[base + _LAST_TIME] = time
        else:
            _forget_expired(nodes, pool, state, base, watermark, most_open)
            node = _gap_of(nodes, state, base, position)
            if node >= 0:
                missing[row] = -1
                _tell(
                    records[told],
                    row,
                    FILLED,
                    number,
                    _number(last, wrap),
                    number,
                    number,
                    -1,
                    nodes[node, _BEFORE],
                    nodes[node, _AFTER],
                )
                told += 1
                _fill(nodes, pool, state, base, node, position)
                _forget_expired(nodes, pool, state, _FORMER, watermark, most_open)
                _forget_expired(nodes, pool, state, _CURRENT, watermark, most_open)
            elif position > state[base + _FLOOR] and dropping != 0:
                keep[row] = False
                duplicates += 1
            else:
                kind = DUPLICATE if position > state[base + _FLOOR] else OUT_OF_SEQUENCE
                _tell(
                    records[told],
                    row,
                    kind,
                    number,
                    _number(last, wrap),
                    _MAX,
                    _MAX,
                    0,
                    state[base + _LAST_TIME],
                    time,
                )
                told += 1
        state[HIGHEST] = max(state[HIGHEST], time)
        row += 1
    counts[0] = duplicates
    counts[1] = told
    counts[2] = highest - bound
    return row
