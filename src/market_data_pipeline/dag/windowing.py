"""Open tumbling windows of event time, for any kernel that keeps a slot per key."""

from __future__ import annotations

__all__ = ("TumblingWindows",)

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import ConfigError, SnapshotError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.symbols import SymbolTable

Int64s: TypeAlias = npt.NDArray[np.int64]
Kernel: TypeAlias = Callable[..., Any]

_FIRST_WINDOWS: Final = 4
_FIRST_SLOTS: Final = 64
_OUT_SLOTS: Final = 8_192


class TumblingWindows:
    """The windows `[start, start + width)` that are open, with a slot per key in each.

    Two kernels do the work: `take` puts rows into slots and `close` gives up the slots
    of windows that end at or before a watermark; see `kernels.windows` for the arrays
    they share. This class owns the arrays and makes room when a kernel runs out.

    Attributes:
        taken: Rows taken into windows so far.
        watermark: Event-time progress so far, nanoseconds.
    """

    def __init__(
        self,
        width_ns: int,
        *,
        out_columns: int,
        take: Kernel,
        close: Kernel,
        symbols: SymbolTable,
        origin_ns: int = 0,
    ) -> None:
        """Make an empty table.

        Args:
            width_ns: Width of a window in nanoseconds, > 0.
            out_columns: Columns of a closed slot.
            take: Kernel that takes rows.
            close: Kernel that closes windows.
            symbols: Names of the keys.
            origin_ns: A start of a window; windows are aligned to it.

        Raises:
            ConfigError: If the width is not positive.
        """
        if width_ns <= 0:
            msg = f"a window's width must be positive, was {width_ns} ns"
            raise ConfigError(msg, parameter="every")
        self._take = take
        self._close = close
        self._symbols = symbols
        self._width = width_ns
        self._origin = origin_ns % width_ns
        self._meta = np.zeros(layout.META, np.int64)
        self._meta[layout.META_WIDTH] = width_ns
        self._meta[layout.META_ORIGIN] = self._origin
        self._meta[layout.META_TRIGGER] = TIME_MAX
        self._meta[layout.META_CURRENT_ROW] = -1
        self._meta[layout.META_FREE_SLOT] = -1
        self._meta[layout.META_HIGHEST] = TIME_MIN
        self._meta[layout.META_KEYS] = 64
        self._table = np.full((_FIRST_WINDOWS, 4), -1, np.int64)
        self._places = np.full(2 * _FIRST_WINDOWS, -1, np.int32)
        self._index = np.full(_FIRST_WINDOWS * 64, -1, np.int32)
        self._slots = np.zeros(_FIRST_SLOTS * layout.SLOT, np.int64)
        self._out = np.empty((out_columns, _OUT_SLOTS), np.int64)
        self._given = 0
        self._late = np.empty(0, np.int64)
        self.taken = 0
        self.watermark = TIME_MIN

    @property
    def overflowed(self) -> bool:
        """True if a sum in a slot left its range."""
        return bool(self._meta[layout.META_OVERFLOW])

    def closed_edge(self, watermark: int) -> int:
        """Return the start of the first window that is still open at a watermark."""
        if watermark in {TIME_MIN, TIME_MAX}:
            return watermark
        return max(watermark - (watermark - self._origin) % self._width, TIME_MIN)

    def take(self, batch: Batch, *columns: Int64s) -> tuple[Int64s, Int64s]:
        """Take rows, closing windows as the watermark passes over them.

        Args:
            batch: The rows, for their event times, symbol codes and watermarks.
            columns: What else the kernel reads, (n,) each.

        Returns:
            The closed slots, (columns, m) int64, ascending by window start; and the
            positions of late rows, (l,) int64.
        """
        progress = batch.progress
        times = batch.times
        if progress is None:
            progress = Progress(TIME_MIN, 0, TIME_MIN, np.full(len(times), TIME_MIN, np.int64))
        clocks = times if progress.column is None else progress.column
        self._make_keys()
        self._set_clock(progress)
        times = np.ascontiguousarray(times)
        clocks = np.ascontiguousarray(clocks)
        codes = np.ascontiguousarray(batch.columns["symbol"])
        columns = tuple(np.ascontiguousarray(column) for column in columns)
        meta = self._meta
        meta[layout.META_LATE] = 0
        if len(self._late) < len(times):
            self._late = np.empty(max(len(times), 1_024), np.int64)
        closed: list[Int64s] = []
        position, reason = 0, layout.NEEDS_OUT
        while reason != layout.ALL_TAKEN:
            position, reason = self._take(
                position,
                clocks,
                times,
                codes,
                *columns,
                meta,
                self._table,
                self._places,
                self._index,
                self._slots,
                self._out,
                self._late,
            )
            if reason == layout.NEEDS_OUT:
                closed.append(self._drain())
            elif reason == layout.NEEDS_SLOTS:
                self._slots = np.concatenate([self._slots, np.zeros_like(self._slots)])
            elif reason == layout.NEEDS_WINDOWS:
                self._double_windows()
        late = self._late[: meta[layout.META_LATE]].copy()
        self.taken += len(times) - len(late)
        if progress.end > self.watermark:
            closed.extend(self._advance(progress.end))
        if meta[layout.META_OUT] > self._given:
            closed.append(self._drain())
        return self._joined(closed), late

    def advance(self, watermark: int) -> Int64s:
        """Close the windows that end at or before a watermark; (columns, m) int64."""
        if watermark <= self.watermark:
            return self._joined([])
        closed = self._advance(watermark)
        if self._meta[layout.META_OUT] > self._given:
            closed.append(self._drain())
        return self._joined(closed)

    def finish(self) -> Int64s:
        """Close every window, (columns, m) int64."""
        return self.advance(TIME_MAX)

    def _advance(self, watermark: int) -> list[Int64s]:
        self.watermark = watermark
        bound = int(self._meta[layout.META_BOUND])
        if watermark < TIME_MAX and watermark + bound < self._meta[layout.META_TRIGGER]:
            return []
        closed = []
        while not self._close(
            watermark,
            self._meta,
            self._table,
            self._places,
            self._index,
            self._slots,
            self._out,
        ):
            closed.append(self._drain())
        return closed

    def _drain(self) -> Int64s:
        """Give the slots closed since the last time, without copying them."""
        stop = int(self._meta[layout.META_OUT])
        closed = self._out[:, self._given : stop]
        if stop < _OUT_SLOTS:
            self._given = stop
        else:
            self._out = np.empty_like(self._out)
            self._given = self._meta[layout.META_OUT] = 0
        return closed

    def _joined(self, closed: Sequence[Int64s]) -> Int64s:
        if len(closed) == 1:
            return closed[0]
        if not closed:
            return self._out[:, :0]
        return np.concatenate(closed, axis=1)

    def _set_clock(self, progress: Progress) -> None:
        """Express what is known of event time in the terms of a batch's progress."""
        meta = self._meta
        bound = progress.bound
        if bound != meta[layout.META_BOUND]:
            meta[layout.META_BOUND] = bound
            starts = self._table[self._table[:, layout.TABLE_COUNT] >= 0, layout.TABLE_START]
            first = int(starts.min()) + self._width + bound if len(starts) else TIME_MAX
            meta[layout.META_TRIGGER] = min(first, TIME_MAX)
        known = TIME_MIN if self.watermark == TIME_MIN else self.watermark + bound
        meta[layout.META_HIGHEST] = min(max(progress.start, known), TIME_MAX)

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
        """Return the open slots and the watermark."""
        starts: list[int] = []
        picked: list[int] = []
        open_rows = np.flatnonzero(self._table[:, layout.TABLE_COUNT] >= 0)
        by_start = open_rows[np.argsort(self._table[open_rows, layout.TABLE_START])]
        slots = self._slots.reshape(-1, layout.SLOT)
        for row in by_start.tolist():
            slot = int(self._table[row, layout.TABLE_FIRST])
            while slot >= 0:
                starts.append(int(self._table[row, layout.TABLE_START]))
                picked.append(slot)
                slot = int(slots[slot, layout.SLOT_NEXT])
        words = slots[np.array(picked, np.int64)]
        codes = words[:, layout.SLOT_KEY].astype(np.int32)
        names = np.array([self._symbols.name(code) for code in codes.tolist()], np.str_)
        return Snapshot(
            key_groups=self._symbols.key_groups(codes),
            keyed={
                "symbol": names,
                "start": np.array(starts, np.int64),
                "words": words[:, : layout.SLOT_KEY].copy(),
            },
            scalars={"watermark": self.watermark, "width": self._width, "origin": self._origin},
        )

    def restore(self, snapshot: Snapshot) -> int:
        """Take over a snapshot; return the number of slots taken over.

        Raises:
            SnapshotError: If it is of windows of another width or origin.
        """
        for name, mine in (("width", self._width), ("origin", self._origin)):
            theirs = snapshot.scalars.get(name)
            if theirs != mine:
                msg = f"the state has windows with {name} {theirs} ns, these have {mine} ns"
                raise SnapshotError(msg)
        self.watermark = snapshot.scalars["watermark"]
        codes = self._symbols.encode(snapshot.keyed["symbol"].tolist())
        starts = snapshot.keyed["start"].tolist()
        words = snapshot.keyed["words"]
        self._make_keys()
        rows: dict[int, int] = {}
        for start in starts:
            rows.setdefault(start, len(rows))
        while len(self._table) < len(rows):
            self._double_windows()
        while len(self._slots) < len(codes) * layout.SLOT:
            self._slots = np.concatenate([self._slots, np.zeros_like(self._slots)])
        for start, row in rows.items():
            self._table[row] = (start, -1, -1, 0)
        keys = int(self._meta[layout.META_KEYS])
        slots = self._slots.reshape(-1, layout.SLOT)
        slots[: len(codes), : layout.SLOT_KEY] = words
        slots[: len(codes), layout.SLOT_KEY] = codes
        slots[: len(codes), layout.SLOT_NEXT] = -1
        for slot, (start, code) in enumerate(zip(starts, codes.tolist(), strict=True)):
            row = rows[start]
            last = int(self._table[row, layout.TABLE_LAST])
            if last < 0:
                self._table[row, layout.TABLE_FIRST] = slot
            else:
                slots[last, layout.SLOT_NEXT] = slot
            self._table[row, layout.TABLE_LAST] = slot
            self._table[row, layout.TABLE_COUNT] += 1
            self._index[row * keys + code] = slot
        self._meta[layout.META_SLOTS_USED] = len(codes)
        self._meta[layout.META_WINDOWS] = len(rows)
        self._double_windows()
        # Whatever comes next works out when the first of the windows closes.
        self._meta[layout.META_TRIGGER] = TIME_MIN
        return len(codes)
