"""Follow two clocks row by row: how far they are apart, and which rows are off for both."""

from __future__ import annotations

__all__ = ("HIGHEST", "LATEST", "RECORD", "RING", "follow_clocks")

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

from market_data_pipeline.kernels.skew_line import LINE, fit_line, line_at

_INT64S = numba.types.Array(numba.int64, 1, "C", readonly=True)
_INT32S = numba.types.Array(numba.int32, 1, "C", readonly=True)

# Words of a key's state.
_USED: Final = 0
HIGHEST: Final = 1
"""Word of the state that holds the highest event time."""
_BEGIN: Final = 2  # start of the span being received
_LEAST_TIME: Final = 3  # when the row of the least difference was received
_LEAST: Final = 4  # that difference
_ROWS: Final = 5  # rows of the span
_FUTURE: Final = 6  # of these, received before they happened
_COUNT: Final = 7  # spans in the ring
_NEXT: Final = 8  # where the next one goes
_DIFFERENCE: Final = 9  # what is in effect
_DRIFT: Final = 10
RING: Final = 11
"""Words of a key's state before its ring: a time and a difference for each span."""

RECORD: Final = 8
"""Words of a record: row, its `ts_recv`, difference, the offset that is corrected, drift in
nanoseconds per second, spans told from, rows of the last span, rows of it received before
they happened."""

_FARTHEST: Final = 2**61
LATEST: Final = 2**62
_MAX: Final = int(np.iinfo(np.int64).max)
_PPB: Final = 1_000_000_000


@njit(numba.int64(numba.int64, numba.int64), cache=True, nogil=True)
def _offset(difference: int, way: int) -> Any:
    """Return what of a difference is the clocks'; without a known way, what surely is."""
    return min(difference, 0) if way < 0 else difference - way


@njit(
    numba.int64(numba.int64[::1], numba.int64, numba.int64, numba.int64, numba.int64),
    cache=True,
    nogil=True,
)
def _close_span(
    state: npt.NDArray[np.int64], now: int, span: int, spans: int, tolerance: int
) -> Any:
    """Take the span into the ring and estimate anew; return the spans told from."""
    place = RING + 2 * state[_NEXT]
    state[place] = state[_LEAST_TIME]
    state[place + 1] = state[_LEAST]
    state[_NEXT] = (state[_NEXT] + 1) % spans
    state[_COUNT] = min(state[_COUNT] + 1, spans)
    times = np.empty(spans, np.int64)
    differences = np.empty(spans, np.int64)
    n = 0
    for k in range(state[_COUNT]):
        time, difference = state[RING + 2 * k], state[RING + 2 * k + 1]
        # Of a time long ago nothing follows for now: the clock may have been set since.
        if abs(time // 2 - now // 2) > span * spans:
            continue
        at = n
        while at > 0 and times[at - 1] > time:
            times[at] = times[at - 1]
            differences[at] = differences[at - 1]
            at -= 1
        times[at] = time
        differences[at] = difference
        n += 1
    if n == 0:
        return 0
    line = np.empty(LINE, np.int64)
    fit_line(times[:n], differences[:n], tolerance, line)
    # A line tells little of a time far from its points.
    reach = span * spans
    middle = min(max(now, times[0] - reach), times[n - 1] + reach)
    state[_DIFFERENCE] = max(min(line_at(line, middle), _FARTHEST), -_FARTHEST)
    if line[2] == 0:
        state[_DRIFT] = 0
    else:
        unit = np.array([0, 0, line[2], line[3], 0])
        state[_DRIFT] = line_at(unit, _PPB)
    return line[4]


def _signature(keys: Any) -> Any:
    return numba.void(
        *(numba.int64[:, ::1], numba.int64[::1], keys, _INT64S, _INT64S),
        *(_INT64S, numba.int64, numba.int64, _INT64S),
        *(numba.int64[::1], numba.boolean[::1], numba.int64[:, ::1]),
    )


@njit([_signature(_INT32S), _signature(_INT64S)], cache=True, nogil=True)
def follow_clocks(
    states: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    slots: npt.NDArray[Any],
    ts_event: npt.NDArray[np.int64],
    ts_recv: npt.NDArray[np.int64],
    watermarks: npt.NDArray[np.int64],
    highest: int,
    bound: int,
    settings: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    skewed: npt.NDArray[np.bool_],
    records: npt.NDArray[np.int64],
) -> None:
    """Tell for each row the offset of the receiving clock, and whether the row is off.

    Args:
        states: (k, 11 + 2 * spans) int64, state of each key, updated; zeros for a key not
            seen yet.
        counts: (2,) int64, updated: records told since the caller set it to 0, the
            watermark reached.
        slots: (n,) int32 or int64, which state belongs to the row's key.
        ts_event: (n,) int64, nanoseconds.
        ts_recv: (n,) int64, nanoseconds.
        watermarks: (n,) int64, the watermark after each row; (0,) if it is the running
            maximum of `ts_event` minus `bound`.
        highest: The watermark before the first row, plus `bound`.
        bound: Nanoseconds between the running maximum and the watermark; 0 where
            `watermarks` is given.
        settings: (5,) int64: width of a span in nanoseconds; most spans; nanoseconds by
            which a row may be off; nanoseconds that a row is on its way at least, -1 for
            unknown; nanoseconds a key is remembered.
        offsets: (n,) int64, written: by how much `ts_recv` is ahead of the venue's clock.
        skewed: (n,) bool, written: True if the row was received before it happened by more
            than allowed, though the offset was taken off.
        records: (n, 8) int64, the first `counts[0]` rows written; see `RECORD`.
    """
    span, spans, allowed, way, forget = (
        settings[0],
        settings[1],
        settings[2],
        settings[3],
        settings[4],
    )
    explicit = watermarks.size > 0
    told = counts[0]
    for row in range(ts_event.size):
        event, recv = ts_event[row], ts_recv[row]
        watermark = highest - bound
        highest = watermarks[row] if explicit else max(highest, event)
        slot = np.uint64(slots[row])
        before = states[slot, HIGHEST]
        expires = before + forget if before <= _MAX - forget else _MAX
        begin = states[slot, _BEGIN]
        if (
            states[slot, _COUNT] > 0
            and watermark < expires
            and begin <= recv < min(begin, LATEST - span) + span
            and -LATEST < event < LATEST
        ):
            # A row like most: of the same span as the one before, and slower than another.
            difference = max(min(recv - event, _FARTHEST), -_FARTHEST)
            if difference >= states[slot, _LEAST]:
                states[slot, _ROWS] += 1
                states[slot, _FUTURE] += difference < 0
                states[slot, HIGHEST] = max(before, event)
                offset = _offset(states[slot, _DIFFERENCE], way)
                offsets[row] = offset
                skewed[row] = difference - offset < -allowed
                continue
        state = states[slot]
        if state[_USED] != 0 and watermark >= expires:
            state[:] = 0
        known = state[_USED] != 0
        if not (-LATEST < event < LATEST and -LATEST < recv < LATEST):
            offsets[row] = _offset(state[_DIFFERENCE], way) if known else 0
            skewed[row] = False
            continue
        difference = max(min(recv - event, _FARTHEST), -_FARTHEST)
        window = span * spans
        if not known:
            state[_USED] = 1
            state[HIGHEST] = event
            state[_BEGIN] = recv // span * span
            state[_LEAST_TIME] = recv
            state[_LEAST] = difference
            state[_ROWS] = 0
            state[_FUTURE] = 0
            state[_DIFFERENCE] = difference
        elif recv - begin >= span or begin - recv > window:
            # The span is over, or the receiving clock was set back.
            last, drift = state[_DIFFERENCE], state[_DRIFT]
            start = recv // span * span
            used = _close_span(state, start + span // 2, span, spans, allowed)
            if state[_DIFFERENCE] != last or state[_DRIFT] != drift or state[_COUNT] == 1:
                record = records[told]
                record[0] = row
                record[1] = recv
                record[2] = state[_DIFFERENCE]
                record[3] = _offset(state[_DIFFERENCE], way)
                record[4] = state[_DRIFT]
                record[5] = used
                record[6] = state[_ROWS]
                record[7] = state[_FUTURE]
                told += 1
            state[_BEGIN] = start
            state[_LEAST_TIME] = recv
            state[_LEAST] = difference
            state[_ROWS] = 0
            state[_FUTURE] = 0
        if difference < state[_LEAST]:
            state[_LEAST] = difference
            state[_LEAST_TIME] = recv
            if state[_COUNT] == 0:
                # There is no estimate before the first span is over but this.
                state[_DIFFERENCE] = difference
        state[_ROWS] += 1
        state[_FUTURE] += difference < 0
        state[HIGHEST] = max(state[HIGHEST], event)
        offset = _offset(state[_DIFFERENCE], way)
        offsets[row] = offset
        # By the least difference so far no row is off.
        skewed[row] = difference - offset < -allowed and state[_COUNT] > 0
    counts[0] = told
    counts[1] = highest - bound
