"""Windows of event time that are open or revisable, for a kernel that keeps a slot per key."""

from __future__ import annotations

__all__ = ("EVERY_KEY", "NONE", "Sessions", "TumblingWindows", "WindowGrid")

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import format_duration
from market_data_pipeline.errors import ConfigError, RecordError, SnapshotError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.memory import new_column
from market_data_pipeline.symbols import SymbolTable

Int64s: TypeAlias = npt.NDArray[np.int64]
Kernel: TypeAlias = Callable[..., Any]

_FIRST_WINDOWS: Final = 4
_FIRST_SLOTS: Final = 64
_OUT_SLOTS: Final = 8_192
# Rows of `out` must not start at one address modulo a power of two: the cache could not
# hold a column of it.
_OUT_SPARE: Final = 72
_CACHE_LINE: Final = 64
_PICKED_ROWS: Final = 1_024 + 1

NONE: Final[Int64s] = np.empty(0, np.int64)
"""A column that the rows do not have."""
EVERY_KEY: Final[npt.NDArray[np.uint8]] = np.empty(0, np.uint8)
NO_ROW: Final[npt.NDArray[np.int32]] = np.empty(0, np.int32)
"""Rows of every key are taken."""


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


class TumblingWindows:
    """The windows `[start, end)` that may still change, with a slot per key in each.

    Two kernels do the work: `take` puts rows into slots and `close` works off what is due
    at a watermark; see `kernels.windows` for the arrays they share. This class owns the
    arrays and makes room when a kernel runs out.

    Attributes:
        grid: Where windows start and end.
        taken: Rows taken into windows so far.
        watermark: Event-time progress so far, nanoseconds.
    """

    def __init__(
        self,
        grid: WindowGrid,
        *,
        take: Kernel,
        close: Kernel,
        symbols: SymbolTable,
        kind: int = 0,
        step: int = 1,
        mode: int = layout.MODE_UPSERT,
    ) -> None:
        """Make an empty table.

        Args:
            grid: Where windows start and end.
            take: Kernel that takes rows.
            close: Kernel that closes windows.
            symbols: Names of the keys.
            kind: What the kernel shall keep in a slot.
            step: How many slots it keeps for each key.
            mode: How revisions are given out, `MODE_*` of `kernels.windows`.
        """
        self.grid = grid
        self._take = take
        self._close = close
        self._symbols = symbols
        self._intervals = np.empty((layout.SESSION, 0), np.int64)
        meta = self._meta = np.zeros(layout.META, np.int64)
        meta[layout.META_WIDTH] = grid.width
        meta[layout.META_ORIGIN] = grid.origin
        meta[layout.META_LATENESS] = grid.lateness
        meta[layout.META_MODE] = mode
        meta[layout.META_KIND] = kind
        meta[layout.META_STEP] = self._step = step
        meta[layout.META_TRIGGER] = TIME_MAX
        meta[layout.META_CURRENT_ROW] = -1
        meta[layout.META_FREE_SLOT] = -1
        meta[layout.META_RESUME] = -1
        meta[layout.META_HIGHEST] = TIME_MIN
        meta[layout.META_KEYS] = 64
        meta[layout.META_CALENDAR] = grid.sessions is not None
        self._table = np.full((_FIRST_WINDOWS, layout.TABLE), -1, np.int64)
        self._places = np.full(2 * _FIRST_WINDOWS, -1, np.int32)
        self._index = np.full(_FIRST_WINDOWS * 64, -1, np.int32)
        self._slots = _aligned_slots(_FIRST_SLOTS)
        self._out = _out_columns(_OUT_SLOTS)
        self._given = 0
        self._late = np.empty(0, np.int64)
        self._picked = np.empty((2, _PICKED_ROWS), np.int64)
        self.taken = 0
        self.watermark = TIME_MIN

    @property
    def edge(self) -> int:
        """The start of the first window that can still change."""
        return self.grid.edge(self.watermark)

    @property
    def overflowed(self) -> bool:
        """True if a sum in a slot left its range."""
        return bool(self._meta[layout.META_OVERFLOW])

    @property
    def slots_used(self) -> int:
        """How many slots were ever used at one time."""
        return int(self._meta[layout.META_SLOTS_USED])

    def largest(self, word: int) -> int:
        """Return the largest value of a word in all slots ever used, of which one must be."""
        words = self._slots.reshape(-1, layout.SLOT)[: self.slots_used, word]
        return int(words.max(initial=TIME_MIN))

    def take(
        self,
        batch: Batch,
        *values: Int64s,
        owned: npt.NDArray[np.uint8] = EVERY_KEY,
        left_out: npt.NDArray[np.int32] = NO_ROW,
    ) -> tuple[Int64s, Int64s]:
        """Take rows, giving slots out as the watermark passes over their windows.

        Args:
            batch: The rows, for their event times, symbol codes and watermarks.
            values: (n,), (k, n) or (0,) each, what the kernel reads besides.
            owned: (K,) 1 for the codes whose rows are taken, or (0,) for all.
            left_out: (k,) rows, rising, that are not taken, where `owned` is for all.

        Returns:
            The slots given out, (OUT, m) int64, as `kernels.windows` says; and the rows
            not taken, (l,) int64: `i` if row i is late, `~i` if it is outside the sessions.

        Raises:
            RecordError: If a row lies in two windows.
        """
        progress = batch.progress
        times = batch.times
        if progress is None:
            progress = Progress(TIME_MIN, 0, TIME_MIN, np.full(len(times), TIME_MIN, np.int64))
        clocks = NONE if progress.column is None else progress.column
        self._make_keys()
        self._set_clock(progress)
        columns = [
            np.ascontiguousarray(column)
            for column in (clocks, times, batch.columns["symbol"], *values)
        ]
        meta = self._meta
        meta[layout.META_LATE] = meta[layout.META_PICKED] = 0
        self._make_room()
        if len(self._late) < len(times):
            self._late = np.empty(max(len(times), 1_024), np.int64)
        given: list[Int64s] = []
        position, reason = 0, layout.NEEDS_OUT
        while reason != layout.ALL_TAKEN:
            position, reason = self._take(
                position,
                *columns,
                owned,
                left_out,
                self._intervals,
                meta,
                self._table,
                self._places,
                self._index,
                self._slots,
                self._out,
                self._late,
                self._picked,
            )
            if reason == layout.NEEDS_OUT:
                given.append(self._drain())
            elif reason == layout.NEEDS_SLOTS:
                self._grow_slots(2 * len(self._slots) // layout.SLOT)
            elif reason == layout.NEEDS_WINDOWS:
                self._double_windows()
            elif reason == layout.NEEDS_SESSIONS:
                self._cover(int(times[position]))
            elif reason == layout.LIES_IN_TWO:
                raise self._lies_in_two(int(times[position]))
        late = self._late[: meta[layout.META_LATE]].copy()
        rows = int(meta[layout.META_PICKED]) if len(owned) else len(times) - len(left_out)
        self.taken += rows - len(late)
        if progress.end > self.watermark:
            given.extend(self._advance(progress.end))
        if meta[layout.META_OUT] > self._given:
            given.append(self._drain())
        return self._joined(given), late

    def _lies_in_two(self, time: int) -> RecordError:
        start = np.datetime64(time, "ns")
        width = format_duration(self.grid.width)
        msg = (
            f"the row that starts at {start}Z ends in another window of {width} than it starts "
            f"in; take windows that are a multiple of the rows' own"
        )
        return RecordError(msg, reason="lies_in_two")

    def advance(self, watermark: int) -> Int64s:
        """Work off what is due at a watermark; (OUT, m) int64."""
        if watermark <= self.watermark:
            return self._joined([])
        given = self._advance(watermark)
        if self._meta[layout.META_OUT] > self._given:
            given.append(self._drain())
        return self._joined(given)

    def revise(self, kernel: Kernel, code: int, start: int, *columns: Int64s) -> Int64s | None:
        """Make a slot anew; return what that gives out, None if there is none.

        Args:
            kernel: What makes it.
            code: Its key.
            start: The start of its window.
            columns: What the kernel reads, (k,) or (0,) each.
        """
        state = (self._meta, self._table, self._places, self._index, self._slots, self._out)
        known = code < self._meta[layout.META_KEYS]
        if not known or not kernel(code, start, self.watermark, *columns, *state):
            return None
        return self._drain()

    def finish(self) -> Int64s:
        """Give out every window for good, (OUT, m) int64."""
        return self.advance(TIME_MAX)

    def _advance(self, watermark: int) -> list[Int64s]:
        self.watermark = watermark
        bound = int(self._meta[layout.META_BOUND])
        if watermark < TIME_MAX and watermark + bound < self._meta[layout.META_TRIGGER]:
            return []
        given = []
        self._make_room()
        while not self._close(
            watermark,
            self._meta,
            self._table,
            self._places,
            self._index,
            self._slots,
            self._out,
        ):
            given.append(self._drain())
        return given

    def _drain(self) -> Int64s:
        """Give the slots given out since the last time, without copying them."""
        stop = int(self._meta[layout.META_OUT])
        given = self._out[:, self._given : stop]
        self._given = stop
        if stop + 1 >= self._out.shape[1]:
            # A retraction and what replaces it take two.
            self._begin_out()
        return given

    def _make_room(self) -> None:
        """See that all slots can be given out in one piece: pieces would have to be joined."""
        stop = int(self._meta[layout.META_OUT])
        if stop == self._given and stop + self.slots_used // self._step > self._out.shape[1]:
            self._begin_out()

    def _begin_out(self) -> None:
        # Room for the slots several times: a part that is left at the end is not used.
        slots = _OUT_SLOTS * (1 + 2 * self.slots_used // self._step // _OUT_SLOTS)
        self._out = _out_columns(slots)
        self._given = self._meta[layout.META_OUT] = 0

    def _joined(self, given: Sequence[Int64s]) -> Int64s:
        if len(given) == 1:
            return given[0]
        if not given:
            return self._out[:, :0]
        return np.concatenate(given, axis=1)

    def _set_clock(self, progress: Progress) -> None:
        """Express what is known of event time in the terms of a batch's progress."""
        meta = self._meta
        bound = progress.bound
        if bound != meta[layout.META_BOUND]:
            meta[layout.META_BOUND] = bound
            # Whatever row comes next works out when the next event is due.
            meta[layout.META_TRIGGER] = TIME_MIN if meta[layout.META_WINDOWS] else TIME_MAX
        known = TIME_MIN if self.watermark == TIME_MIN else self.watermark + bound
        meta[layout.META_HIGHEST] = min(max(progress.start, known), TIME_MAX)

    def _cover(self, time: int) -> None:
        """Tell the kernel the sessions around a time."""
        self.grid.cover(time)
        sessions = self.grid.sessions
        if sessions is not None:
            self._intervals = sessions.table
            self._meta[layout.META_COVERED_FROM] = sessions.first
            self._meta[layout.META_COVERED_TO] = sessions.stop
            self._meta[layout.META_SESSION] = -1

    def _make_keys(self) -> None:
        keys = int(self._meta[layout.META_KEYS])
        needed = len(self._symbols)
        if needed <= keys:
            return
        wider = max(needed, 2 * keys)
        index = np.full((len(self._table), wider), -1, np.int32)
        index[:, :keys] = self._index.reshape(len(self._table), keys)
        self._index = index.reshape(-1)
        self._meta[layout.META_KEYS] = wider

    def _grow_slots(self, count: int) -> None:
        slots = _aligned_slots(count)
        slots[: len(self._slots)] = self._slots
        self._slots = slots

    def _double_windows(self) -> None:
        keys = int(self._meta[layout.META_KEYS])
        self._table = np.concatenate([self._table, np.full_like(self._table, -1)])
        self._index = np.concatenate([self._index, np.full_like(self._index, -1)])
        if len(self._index) != len(self._table) * keys:
            msg = "the slot index and the window table are out of step"
            raise SnapshotError(msg)
        self._places = np.full(2 * len(self._table), -1, np.int32)
        for row, start in enumerate(self._table[:, layout.TABLE_START].tolist()):
            if self._table[row, layout.TABLE_COUNT] >= 0:
                at = layout.place_of(start, len(self._places) - 1)
                while self._places[at] >= 0:
                    at = (at + 1) % len(self._places)
                self._places[at] = row

    # State

    def snapshot(self) -> Snapshot:
        """Return the slots and the watermark."""
        windows: list[int] = []
        picked: list[int] = []
        live_rows = np.flatnonzero(self._table[:, layout.TABLE_COUNT] >= 0)
        by_start = live_rows[np.argsort(self._table[live_rows, layout.TABLE_START])]
        words_each = layout.SLOT * self._step
        slots = self._slots.reshape(-1, layout.SLOT)
        for row in by_start.tolist():
            slot = int(self._table[row, layout.TABLE_FIRST])
            while slot >= 0:
                windows.append(row)
                picked.append(slot)
                slot = int(slots[slot, layout.SLOT_LINK] & 0xFFFFFFFF) - 1
        whole = self._slots.reshape(-1, words_each)
        words = whole[np.array(picked, np.int64) // self._step].copy()
        codes = (words[:, layout.SLOT_LINK] >> 32).astype(np.int32)
        words[:, layout.SLOT_LINK] = 0
        names = np.array([self._symbols.name(code) for code in codes.tolist()], np.str_)
        return Snapshot(
            key_groups=self._symbols.key_groups(codes),
            keyed={
                "symbol": names,
                "start": self._table[windows, layout.TABLE_START],
                "end": self._table[windows, layout.TABLE_END],
                "fired": self._table[windows, layout.TABLE_FIRED],
                "words": words,
            },
            scalars={"watermark": self.watermark, **self.grid.scalars()},
        )

    def restore(self, snapshot: Snapshot) -> int:
        """Take over a snapshot; return the number of slots taken over.

        Raises:
            SnapshotError: If it is of windows of another width, origin or lateness.
        """
        for name, mine in self.grid.scalars().items():
            theirs = snapshot.scalars.get(name)
            if theirs != mine:
                msg = f"the state has windows with {name} {theirs} ns, these have {mine} ns"
                raise SnapshotError(msg)
        self.watermark = snapshot.scalars["watermark"]
        codes = self._symbols.encode_texts(snapshot.keyed["symbol"])
        keyed = [snapshot.keyed[name].tolist() for name in ("start", "end", "fired")]
        self._make_keys()
        rows: dict[int, int] = {}
        for start in keyed[0]:
            rows.setdefault(start, len(rows))
        while len(self._table) < len(rows):
            self._double_windows()
        step = self._step
        if len(self._slots) < len(codes) * step * layout.SLOT:
            self._grow_slots(max(len(codes) * step, 2 * _FIRST_SLOTS))
        keys = int(self._meta[layout.META_KEYS])
        whole = self._slots.reshape(-1, layout.SLOT * step)
        whole[: len(codes)] = snapshot.keyed["words"]
        whole[: len(codes), layout.SLOT_LINK] = codes.astype(np.int64) << 32
        slots = self._slots.reshape(-1, layout.SLOT)
        filled: set[int] = set()
        for place, (start, end, fired, code) in enumerate(
            zip(*keyed, codes.tolist(), strict=True)
        ):
            row, slot = rows[start], place * step
            if row not in filled:
                filled.add(row)
                self._table[row] = (start, slot, slot, 0, end, fired)
            else:
                slots[self._table[row, layout.TABLE_LAST], layout.SLOT_LINK] += slot + 1
            self._table[row, layout.TABLE_LAST] = slot
            self._table[row, layout.TABLE_COUNT] += 1
            self._index[row * keys + code] = slot
        self._meta[layout.META_SLOTS_USED] = len(codes) * step
        self._meta[layout.META_WINDOWS] = len(rows)
        self._double_windows()
        # Whatever comes next works out when the first event is due.
        self._meta[layout.META_TRIGGER] = TIME_MIN
        return len(codes)


def _pairs_joined(parts: Sequence[tuple[Int64s, Int64s]]) -> tuple[Int64s, Int64s]:
    if len(parts) == 1:
        return parts[0]
    starts, ends = zip(*parts, strict=True)
    return np.concatenate(starts), np.concatenate(ends)


def _out_columns(count: int) -> Int64s:
    count += _OUT_SPARE
    return new_column(layout.OUT * count, np.int64).reshape(layout.OUT, count)


def _aligned_slots(count: int) -> Int64s:
    """Return zeros for slots whose halves are cache lines."""
    spare = _CACHE_LINE // 8
    memory = np.zeros(count * layout.SLOT + spare, np.int64)
    skip = (-memory.ctypes.data % _CACHE_LINE) // 8
    return memory[skip : skip + count * layout.SLOT]
