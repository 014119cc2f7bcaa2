"""Follow sequence numbers: what is missing, what came twice, what fills a gap."""

from __future__ import annotations

__all__ = ("follow_numbers",)

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from market_data_pipeline.kernels.compiling import kernel
from market_data_pipeline.kernels.gap_lists import (
    fill_position,
    forget_all,
    gap_of,
    missing_in,
    open_gap,
    trim_gaps,
)
from market_data_pipeline.kernels.sequence_layout import (
    AFTER,
    BEFORE,
    CURRENT,
    DUPLICATE,
    EDGE,
    FILLED,
    FLOOR,
    FORMER,
    FORMER_RESTART,
    GAP,
    HAS_FORMER,
    HEAD,
    HIGHEST,
    LAST,
    LAST_TIME,
    OPEN,
    OUT_OF_SEQUENCE,
    RESET,
    RESTART,
    RESUMED,
    TAIL,
    USED,
    WRAP,
)

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)

_MAX: Final = int(np.iinfo(np.int64).max)
_MIN: Final = int(np.iinfo(np.int64).min)
_GUESSED: Final = 1
_CERTAIN: Final = 2
_FAR: Final = 2**62
"""Beyond this a number is taken for none, so that no difference leaves 64 bits."""


@kernel(numba.int64(numba.int64, numba.int64))
def _later(time: int, span: int) -> Any:
    return time + span if time <= _MAX - span else _MAX


@kernel(numba.int64(numba.int64, numba.int64, numba.int64))
def _position(number: int, last: int, wrap: int) -> Any:
    """Return the position next to `last` that has this number."""
    if wrap == 0:
        return number
    ahead = (number - last) % wrap
    return last + (ahead - wrap if ahead > wrap // 2 else ahead)


@kernel(numba.int64(numba.int64, numba.int64))
def _number(position: int, wrap: int) -> Any:
    return position if wrap == 0 else position % wrap


@kernel(
    numba.void(
        *(numba.int64[::1], numba.int64, numba.int64, numba.int64, numba.int64),
        *(numba.int64, numba.int64, numba.int64, numba.int64, numba.int64),
    )
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


def _signature(keys: Any) -> Any:
    return numba.int64(
        *(numba.int64[:, ::1], numba.int64[:, ::1], numba.int64[::1], numba.int64[::1]),
        *(keys, _INT64S, _INT64S, _INT64S, numba.int64, numba.int64),
        *(_INT64S, _INT64S, numba.int64),
        *(numba.int64[::1], numba.boolean[::1], numba.int64[:, ::1]),
    )


@kernel([_signature(_INT32S), _signature(_INT64S)])
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
    sessions = edges.size > 0
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
        slot = np.uint64(slots[row])
        if (
            number == states[slot, CURRENT + LAST] + 1
            and states[slot, USED] != 0
            and wrap == 0
            and (time >= states[slot, RESTART] or not sessions)
            and time < states[slot, EDGE]
            and watermark < _later(states[slot, HIGHEST], forget)
        ):
            # The row that is expected; almost all are.
            states[slot, CURRENT + LAST] = number
            states[slot, CURRENT + LAST_TIME] = time
            states[slot, HIGHEST] = max(states[slot, HIGHEST], time)
            row += 1
            continue
        state = states[slot]
        used = state[USED] != 0
        if used and watermark >= _later(state[HIGHEST], forget):
            forget_all(nodes, pool, state, CURRENT)
            forget_all(nodes, pool, state, FORMER)
            used = False
        kind = 0
        restart = _MIN
        resumed = False
        certain = False  # a session began
        stray = False  # of a session of which nothing is known
        base = CURRENT
        position = number
        if not used:
            kind = GAP  # of the rows before the first, where the first number is known
            session = np.searchsorted(edges, time, side="right") - 1
            state[USED] = 1
            state[HIGHEST] = time
            state[RESTART] = edges[session] if session >= 0 else _MIN
            state[OPEN] = 0
            state[FORMER + HEAD] = -1
            state[FORMER + TAIL] = -1
            state[HAS_FORMER] = 0
        else:
            trim_gaps(nodes, pool, state, watermark, most_open)
            position = _position(number, state[CURRENT + LAST], wrap)
            if time >= state[EDGE]:
                kind = RESET
                certain = True
                restart = edges[np.searchsorted(edges, time, side="right") - 1]
            elif edges.size > 0 and time < state[RESTART]:
                stray = state[HAS_FORMER] == 0 or time < state[FORMER_RESTART]
                if not stray:
                    base = FORMER
                    position = _position(number, state[FORMER + LAST], wrap)
            elif position != state[CURRENT + LAST] + 1:
                # Which of the two sequences does it belong to?
                node = -1
                if position <= state[CURRENT + LAST]:
                    node = gap_of(nodes, state, CURRENT, position)
                if node < 0 and state[HAS_FORMER] != 0:
                    former = _position(number, state[FORMER + LAST], wrap)
                    if time < state[RESTART]:
                        base, position = FORMER, former
                    elif (
                        state[HAS_FORMER] == _GUESSED
                        and former == state[FORMER + LAST] + 1
                        and position > state[CURRENT + LAST]
                    ):
                        # The former sequence goes on: what came between was no restart.
                        gone = missing_in(nodes, state, CURRENT)
                        forget_all(nodes, pool, state, CURRENT)
                        _tell(
                            records[told],
                            row,
                            RESUMED,
                            number,
                            _number(state[FORMER + LAST], wrap),
                            _MAX,
                            _MAX,
                            -gone,
                            state[FORMER + LAST_TIME],
                            time,
                        )
                        told += 1
                        missing[row] = -gone
                        for k in range(5):
                            state[CURRENT + k] = state[FORMER + k]
                        state[FORMER + HEAD] = -1
                        state[FORMER + TAIL] = -1
                        state[HAS_FORMER] = 0
                        position = former
                        resumed = True
                if (
                    node < 0
                    and base == CURRENT
                    and position <= state[CURRENT + LAST]
                    and time > state[HIGHEST]
                    and (
                        number <= reset_at if reset_at < _MAX else position < state[CURRENT + LAST]
                    )
                ):
                    kind = RESET
                    restart = time
        if kind != 0:
            # A sequence begins.
            previous, before = _MAX, _MAX
            if kind == RESET:
                previous = _number(state[CURRENT + LAST], wrap)
                before = state[CURRENT + LAST_TIME]
                forget_all(nodes, pool, state, FORMER)
                for k in range(5):
                    state[FORMER + k] = state[CURRENT + k]
                state[HAS_FORMER] = _CERTAIN if certain else _GUESSED
                state[FORMER_RESTART] = state[RESTART]
                state[RESTART] = restart
            start = first_number if _MIN < first_number < number else number
            state[CURRENT + LAST] = number
            state[CURRENT + FLOOR] = start - 1
            state[CURRENT + LAST_TIME] = time
            state[CURRENT + HEAD] = -1
            state[CURRENT + TAIL] = -1
            state[HIGHEST] = max(state[HIGHEST], time)
            state[EDGE] = _MAX
            if edges.size:
                following = np.searchsorted(edges, time, side="right")
                state[EDGE] = edges[min(following, edges.size - 1)]
            gone = number - start
            missing[row] = gone
            if gone > 0:
                expires = _later(state[HIGHEST], ttl)
                open_gap(nodes, pool, state, CURRENT, start, number - 1, before, time, expires)
                trim_gaps(nodes, pool, state, watermark, most_open)
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
        last = state[base + LAST]
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
                state[base + LAST_TIME],
                time,
            )
            told += 1
        elif position > last:
            gone = position - last - 1
            wrapped = wrap > 0 and position // wrap != last // wrap
            if gone > 0 or (wrapped and not resumed):
                previous = _number(last, wrap)
                before = state[base + LAST_TIME]
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
                    open_gap(
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
                    trim_gaps(nodes, pool, state, watermark, most_open)
            state[base + LAST] = position
            state[base + LAST_TIME] = time
        else:
            node = gap_of(nodes, state, base, position)
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
                    nodes[node, BEFORE],
                    nodes[node, AFTER],
                )
                told += 1
                fill_position(nodes, pool, state, base, node, position)
                trim_gaps(nodes, pool, state, watermark, most_open)
            elif position > state[base + FLOOR] and dropping != 0:
                keep[row] = False
                duplicates += 1
            else:
                kind = DUPLICATE if position > state[base + FLOOR] else OUT_OF_SEQUENCE
                _tell(
                    records[told],
                    row,
                    kind,
                    number,
                    _number(last, wrap),
                    _MAX,
                    _MAX,
                    0,
                    state[base + LAST_TIME],
                    time,
                )
                told += 1
        state[HIGHEST] = max(state[HIGHEST], time)
        row += 1
    counts[0] = duplicates
    counts[1] = told
    counts[2] = highest - bound
    return row
