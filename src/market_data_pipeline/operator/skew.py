"""How far the clock that received rows is from the clock that stamped them."""

from __future__ import annotations

__all__ = ("SkewEstimate", "SkewMeter", "estimate_skew")

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.errors import ConfigError

Int64s = npt.NDArray[np.int64]

_SECOND: Final = 1_000_000_000
_MOST_SPANS: Final = 256
_TOLERANCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SkewEstimate:
    """What two clocks say of each other, told from rows stamped by both.

    What is seen is `ts_recv - ts_event`: the offset of the clocks plus the time a row is
    on its way, which varies. Its lower envelope is the offset plus the least time on the
    way. The two cannot be told apart from one side, except that nothing is on its way for
    less than no time: where the envelope is negative, the receiving clock is behind by at
    least as much.

    Attributes:
        rows: Rows with both times.
        future_rows: Rows received before they happened: `ts_recv < ts_event`.
        difference_ns: The envelope at `reference_ns`.
        reference_ns: The middle of the time measured, by the receiving clock.
        drift_ppb: Nanoseconds per second by which the envelope rises; 0 if too little
            time was measured to tell.
        spans: Stretches of time it is told from.
        span_ns: Width of one.
    """

    rows: int
    future_rows: int
    difference_ns: int
    reference_ns: int
    drift_ppb: int
    spans: int
    span_ns: int

    @property
    def behind_ns(self) -> int:
        """By how much the receiving clock is behind at least; 0 if it need not be."""
        return max(-self.difference_ns, 0)

    def difference_at(self, time: int) -> int:
        """Return the envelope at a time of the receiving clock, nanoseconds."""
        return self.difference_ns + self.drift_ppb * (time - self.reference_ns) // _SECOND


class SkewMeter:
    """Measures two clocks over any number of rows, in bounded memory.

    The result does not depend on how the rows were cut, nor on their order.

    Args:
        span_ns: Width of the stretches of `ts_recv` of which the least difference is kept.
            It doubles whenever there are more than 512 of them.
        tolerance_ns: By how much a stretch may be off the line of all and count.
    """

    def __init__(self, *, span_ns: int = _SECOND, tolerance_ns: int = _TOLERANCE) -> None:
        from market_data_pipeline.kernels import skew_line

        if span_ns <= 0:
            msg = f"`span_ns` must be positive, was {span_ns}"
            raise ConfigError(msg, parameter="span_ns")
        self._kernels = skew_line
        self._span = span_ns
        self._tolerance = tolerance_ns
        self._runs = np.empty((0, 3), np.int64)
        self._found = np.empty((0, 3), np.int64)
        self._counts = np.zeros(2, np.int64)

    def add(self, ts_event: Int64s, ts_recv: Int64s) -> None:
        """Take rows.

        Args:
            ts_event: (n,) int64 nanoseconds, when each row happened, by the venue's clock.
            ts_recv: (n,) int64 nanoseconds, when it was received, by another clock. Rows
                with `UNDEFINED` in either, or with a time before 1824 or after 2115, are not
                counted.
        """
        if len(self._runs) < len(ts_recv):
            self._runs = np.empty((len(ts_recv), 3), np.int64)
        count = self._kernels.span_minima(
            np.ascontiguousarray(ts_event, np.int64),
            np.ascontiguousarray(ts_recv, np.int64),
            *(self._span, self._runs, self._counts),
        )
        self._found = _least(np.concatenate([self._found, self._runs[:count]]))
        while len(self._found) > 2 * _MOST_SPANS:
            self._widen()

    def _widen(self) -> None:
        self._span *= 2
        self._found[:, 0] //= 2
        self._found = _least(self._found)

    def estimate(self) -> SkewEstimate | None:
        """Return what is known now; None without rows."""
        if not len(self._found):
            return None
        while len(self._found) > _MOST_SPANS:
            self._widen()
        times, differences = (np.ascontiguousarray(self._found[:, k]) for k in (1, 2))
        order = np.argsort(times, kind="stable")
        line = np.empty(self._kernels.LINE, np.int64)
        self._kernels.fit_line(times[order], differences[order], self._tolerance, line)
        reference = int(times[order[0]]) + int(times[order[-1]] - times[order[0]]) // 2
        return SkewEstimate(
            rows=int(self._counts[0]),
            future_rows=int(self._counts[1]),
            difference_ns=int(self._kernels.line_at(line, reference)),
            reference_ns=reference,
            drift_ppb=round(int(line[2]) * _SECOND / int(line[3])),
            spans=int(line[4]),
            span_ns=self._span,
        )


def _least(runs: Int64s) -> Int64s:
    """Return one row for each span, that of the least difference, of equal ones the first."""
    ordered = runs[np.lexsort((runs[:, 1], runs[:, 2], runs[:, 0]))]
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:, 0] != ordered[:-1, 0]
    return ordered[first]


def estimate_skew(
    ts_event: Int64s,
    ts_recv: Int64s,
    *,
    span_ns: int = _SECOND,
    tolerance_ns: int = _TOLERANCE,
) -> SkewEstimate | None:
    """Return offset and drift of two clocks, told from rows stamped by both.

    The least `ts_recv - ts_event` of each stretch of time is the row with the least delay
    (the minimum filter of NTP, RFC 5905 section 10; Paxson 1998). A line is laid under
    these points; see `kernels.skew_line.fit_line` for how, and for its sources. All in
    integers.

    For rows that come in batches, call `SkewMeter.add` for each and `estimate` at the end::

        estimate = estimate_skew(ts_event, ts_recv)
        estimate.behind_ns      # the receiving clock is behind by at least this
        estimate.drift_ppb      # and moves by so many nanoseconds a second
        estimate.future_rows    # rows received before they happened

    Args:
        ts_event: (n,) int64 nanoseconds, by the clock of the venue.
        ts_recv: (n,) int64 nanoseconds, by the clock that received; in any order.
        span_ns: Width of a stretch to begin with; it doubles until there are 256 at most.
        tolerance_ns: By how much a stretch may be off the line of all and count.

    Returns:
        The estimate, None if no row has both times.
    """
    meter = SkewMeter(span_ns=span_ns, tolerance_ns=tolerance_ns)
    meter.add(ts_event, ts_recv)
    return meter.estimate()
