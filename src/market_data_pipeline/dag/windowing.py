"""Windows of event time that are open or revisable, for a kernel that keeps a slot per key."""

from __future__ import annotations

__all__ = ("EVERY_KEY", "NONE", "NO_ROW", "TumblingWindows")

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.dag.window_table import WindowTable
from market_data_pipeline.durations import format_duration
from market_data_pipeline.errors import RecordError, SnapshotError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.memory import new_column
from market_data_pipeline.symbols import SymbolTable

Int64s: TypeAlias = npt.NDArray[np.int64]
Kernel: TypeAlias = Callable[..., Any]

_OUT_SLOTS: Final = 8_192
# Rows of `out` must not start at one address modulo a power of two: the cache could not
# hold a column of it.
_OUT_SPARE: Final = 72
_PICKED_ROWS: Final = 1_024 + 1

NONE: Final[Int64s] = np.empty(0, np.int64)
"""A column that the rows do not have."""
EVERY_KEY: Final[npt.NDArray[np.uint8]] = np.empty(0, np.uint8)
"""Rows of every key are taken."""
NO_ROW: Final[npt.NDArray[np.int32]] = np.empty(0, np.int32)
"""No row is left out."""


class TumblingWindows:
    """The windows `[start, end)` that may still change, with a slot per key in each.

    Two kernels do the work: `take` puts rows into slots and `close` works off what is due
    at a watermark; see `kernels.windows` for the arrays they share. This class runs them,
    and makes room when one runs out.

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
        self._step = step
        self._intervals = np.empty((layout.SESSION, 0), np.int64)
        self._table = WindowTable(grid, symbols, kind=kind, step=step, mode=mode)
        self._meta = self._table.meta
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
        words = self._table.slots.reshape(-1, layout.SLOT)[: self.slots_used, word]
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
        table = self._table
        table.make_keys()
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
                table.windows,
                table.places,
                table.index,
                table.slots,
                self._out,
                self._late,
                self._picked,
            )
            if reason == layout.NEEDS_OUT:
                given.append(self._drain())
            elif reason == layout.NEEDS_SLOTS:
                table.double_slots()
            elif reason == layout.NEEDS_WINDOWS:
                table.double_windows()
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
        table = self._table
        state = (table.meta, table.windows, table.places, table.index, table.slots, self._out)
        known = code < table.meta[layout.META_KEYS]
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
        table = self._table
        self._make_room()
        while not self._close(
            watermark,
            table.meta,
            table.windows,
            table.places,
            table.index,
            table.slots,
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

    # State

    def snapshot(self) -> Snapshot:
        """Return the slots and the watermark."""
        return self._table.snapshot({"watermark": self.watermark, **self.grid.scalars()})

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
        return self._table.restore(snapshot)


def _out_columns(count: int) -> Int64s:
    count += _OUT_SPARE
    return new_column(layout.OUT * count, np.int64).reshape(layout.OUT, count)
