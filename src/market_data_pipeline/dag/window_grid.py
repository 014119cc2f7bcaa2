"""Where windows of event time start and end, with sessions or without."""

from __future__ import annotations

__all__ = ("Sessions", "WindowGrid")

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.errors import ConfigError

Int64s: TypeAlias = npt.NDArray[np.int64]


class Sessions(Protocol):
    """What divides time into intervals that windows are anchored to and cut at.

    Attributes:
        table: (SESSION, n) int64, ascending: first time of an interval, first time after
            it, what its windows are anchored to, and where they are cut.
        first: First time for which the table is complete.
        stop: First time for which it is not any more.
    """

    table: Int64s
    first: int
    stop: int

    def cover(self, time: int) -> None:
        """Complete the table so that `first <= time < stop`."""
        ...


class WindowGrid:
    """Where windows start and end.

    Attributes:
        width: Width of a window, nanoseconds, > 0.
        origin: A start of a window, `0 <= origin < width`; of no meaning with sessions.
        lateness: How long a window that has ended can be revised, nanoseconds, >= 0.
        sessions: What windows are anchored to and cut at; None for none.
    """

    def __init__(
        self,
        width_ns: int,
        *,
        origin_ns: int = 0,
        lateness_ns: int = 0,
        sessions: Sessions | None = None,
    ) -> None:
        if width_ns <= 0:
            msg = f"a window's width must be positive, was {width_ns} ns"
            raise ConfigError(msg, parameter="every")
        self.width = width_ns
        self.origin = origin_ns % width_ns
        self.lateness = lateness_ns
        self.sessions = sessions

    def edge(self, watermark: int) -> int:
        """Return the start of the first window that can still change at a watermark."""
        if watermark in {TIME_MIN, TIME_MAX}:
            return watermark
        if self.sessions is None:
            time = max(watermark, TIME_MIN + self.lateness) - self.lateness
            return max(time - (time - self.origin) % self.width, TIME_MIN)
        return int(self.edges(np.array([watermark], np.int64))[0])

    def edges(self, watermarks: Int64s) -> Int64s:
        """Return `edge` of each watermark, (n,) int64; none may be the largest time."""
        times = np.maximum(watermarks, TIME_MIN + self.lateness) - self.lateness
        if self.sessions is None:
            # Before the lowest window there is nothing to wrap round to.
            times = np.maximum(times, TIME_MIN + self.width + self.origin)
            starts: Int64s = times - (times - self.origin) % self.width
            return starts
        known = times[times > TIME_MIN]
        if not len(known):
            return times
        self.cover(int(known.min()))
        self.cover(int(known.max()))
        _, closes, anchors, ends = self.sessions.table
        if not len(closes):
            return times
        at = np.minimum(np.searchsorted(closes, times, side="right"), len(closes) - 1)
        # A window may go on through a pause in trading.
        inside = (anchors[at] <= times) & (times < ends[at])
        return np.where(inside, times - (times - anchors[at]) % self.width, times)

    def start_of(self, time: int) -> int:
        """Return the start of the window that holds a time."""
        if self.sessions is None:
            lowest = TIME_MIN + self.width + self.origin
            return time - (time - self.origin) % self.width if time >= lowest else TIME_MIN
        return int(self.edges(np.array([time + self.lateness], np.int64))[0])

    def windows(self, begin: int, stop: int, most: int) -> Iterator[tuple[Int64s, Int64s]]:
        """Return the windows with `begin <= start < stop`, in pieces.

        Args:
            begin: First time; without sessions the start of a window.
            stop: First time after them.
            most: Windows in a piece, > 0.

        Yields:
            (k,) starts and (k,) ends, ascending, `0 < k <= most`.
        """
        width = self.width
        parts: list[tuple[Int64s, Int64s]] = []
        room = most
        for first, end in self._spans(begin, stop):
            left = -((first - min(end, stop)) // width)
            at = 0
            while at < left:
                count = min(room, left - at)
                starts = first + width * np.arange(at, at + count, dtype=np.int64)
                parts.append((starts, np.where(starts < end - width, starts + width, end)))
                at += count
                room -= count
                if not room:
                    yield _pairs_joined(parts)
                    parts, room = [], most
        if parts:
            yield _pairs_joined(parts)

    def _spans(self, begin: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the first start of a window from `begin` on, and the end, of each session."""
        if self.sessions is None:
            yield begin, TIME_MAX
            return
        self.cover(begin)
        self.cover(stop - 1)
        anchors, at = np.unique(self.sessions.table[2], return_index=True)
        ends = self.sessions.table[3][at]
        wanted = (ends > begin) & (anchors < stop)
        for anchor, end in zip(anchors[wanted].tolist(), ends[wanted].tolist(), strict=True):
            missed = max(-((anchor - begin) // self.width), 0)
            yield anchor + missed * self.width, end

    def cover(self, time: int) -> None:
        """Know the sessions around a time."""
        sessions = self.sessions
        if sessions is not None and not sessions.first <= time < sessions.stop:
            sessions.cover(time)

    def scalars(self) -> dict[str, int]:
        """Return what a state must agree with."""
        return {"width": self.width, "origin": self.origin, "lateness": self.lateness}


def _pairs_joined(parts: Sequence[tuple[Int64s, Int64s]]) -> tuple[Int64s, Int64s]:
    if len(parts) == 1:
        return parts[0]
    starts, ends = zip(*parts, strict=True)
    return np.concatenate(starts), np.concatenate(ends)
