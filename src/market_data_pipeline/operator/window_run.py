"""Windows of event time, running: fixed ones and sessions of activity."""

from __future__ import annotations

__all__ = ("WindowsOperator",)

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.calendars import SessionTable
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import row_store as store
from market_data_pipeline.kernels import window_grid
from market_data_pipeline.kernels import window_output as output
from market_data_pipeline.operator.window_columns import WindowColumns, column_of
from market_data_pipeline.operator.window_rows import WindowRows
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.windows import Windows

Int64s = npt.NDArray[np.int64]

_MODES: Final = {
    "upsert": window_grid.MODE_UPSERT,
    "retract": window_grid.MODE_RETRACT,
    "final": window_grid.MODE_FINAL,
}
_NO_TIMES: Final = np.empty(0, np.int64)


class WindowsOperator:
    """The windows that are open, and how far event time has come."""

    def __init__(self, settings: Windows, context: NodeContext) -> None:
        self._settings = settings
        self._context = context
        self._lateness = duration_ns(settings.lateness)
        self._gap = duration_ns(settings.gap or "0s")
        self._size = duration_ns(settings.size or "0s")
        self._every = settings.step_ns
        self._origin = settings.origin_ns() % self._every if self._every else 0
        # What both kernels read; see `GRID_*`. A session's gap stands for the size.
        self._grid = np.array(
            [
                self._origin,
                self._size or self._gap,
                self._every,
                self._lateness,
                _MODES[settings.revisions],
            ],
            np.int64,
        )
        self._kernel, self._resume = _kernels(sessions=bool(self._gap))
        self._columns = WindowColumns(settings, context, whole=False)
        self._schema = Schema("window", ())
        self._table = None if settings.calendar is None else SessionTable(settings.calendar)

    # The operator's calls

    def process(self, batch: Batch) -> Outputs:
        """Take rows into their windows."""
        if not len(batch):
            return ()
        rows = self._rows_of(batch.schema)
        progress = batch.progress
        times = np.ascontiguousarray(batch.times)
        if progress is None:
            watermarks, end = np.full(len(times), TIME_MIN), TIME_MIN
        else:
            watermarks, end = np.ascontiguousarray(progress.watermarks(times)), progress.end
        late, outside = self._take(rows, batch, times, watermarks, end)
        outputs = self._given(rows)
        for port, positions in (("late", late), ("outside", outside)):
            if len(positions):
                self._context.account.add(port, len(positions))
                outputs.append((port, batch.take(positions)))
        return outputs

    def advance(self, watermark: int) -> Outputs:
        """Give the windows that are due at a watermark."""
        rows = self._columns.rows
        if rows is None or watermark <= rows.watermark:
            return ()
        self._take(rows, None, _NO_TIMES, _NO_TIMES, watermark)
        return self._given(rows)

    def finish(self) -> Outputs:
        """Give all windows."""
        return self.advance(TIME_MAX)

    def output_watermark(self, watermark: int) -> int:
        """Return the start of the first window still to come, of a session its end."""
        if watermark in {TIME_MIN, TIME_MAX}:
            return watermark
        if self._gap:
            return max(watermark - self._lateness, TIME_MIN)
        # The first start whose window is not final yet.
        last = watermark - self._lateness - self._size
        if self._table is not None:
            return max(self._start_after(last, self._table), TIME_MIN)
        start = last - (last - self._origin) % self._every + self._every
        return max(start, TIME_MIN)

    def _start_after(self, last: int, table: SessionTable) -> int:
        """Return the first start after a time as far as the sessions are known."""
        place = int(np.searchsorted(table.opens, max(last, TIME_MIN), "right"))
        if place == 0:
            return last + 1
        opened, closed = int(table.opens[place - 1]), int(table.closes[place - 1])
        start = last - (last - opened) % self._every + self._every
        if start < closed:
            return start
        return int(table.opens[place]) if place < len(table.opens) else last + 1

    # Rows

    def _rows_of(self, schema: Schema) -> WindowRows:
        if schema is self._columns.schema and self._columns.rows is not None:
            return self._columns.rows
        rows = self._columns.of(schema)
        self._schema = self._settings.schema_of_windows(schema, self._columns.bound)
        return rows

    def _take(
        self, rows: WindowRows, batch: Batch | None, times: Int64s, watermarks: Int64s, end: int
    ) -> tuple[Int64s, Int64s]:
        """Give rows to the kernel; return the positions of late ones and those outside."""
        count = len(times)
        late, outside, opens, closes = np.empty(count, np.int64), *3 * (_NO_TIMES,)
        if self._table is not None:
            if count:
                self._table.cover(int(times.min()), int(times.max()))
            outside = np.empty(count, np.int64)
            opens, closes = _intervals(self._table)
        if batch is None:
            keys, values = _NO_TIMES, np.empty((len(rows.columns), 0), np.int64)
        else:
            keys, values = rows.keys_of(batch), rows.values_of(batch)
        meta = rows.meta
        meta[store.META_LATE] = meta[store.META_OUTSIDE] = meta[store.META_DROPPED] = 0
        take = self._kernel
        sessions = () if self._gap else (opens, closes)

        def call(first: int) -> tuple[int, int]:
            kept = (
                rows.slots,
                rows.arena,
                rows.heap,
                self._columns.program,
                rows.out,
                rows.gather,
            )
            skipped = () if self._gap else (outside,)
            found: tuple[int, int] = take(
                *(first, end, times, watermarks, keys, values, self._grid, *sessions),
                *(meta, *kept, late, *skipped),
            )
            return found

        rows.drained(call)
        late, outside = late[: meta[store.META_LATE]], outside[: meta[store.META_OUTSIDE]]
        account = self._context.account
        dropped = int(meta[store.META_DROPPED])
        account.held += count - len(late) - len(outside) - dropped
        account.add("aggregated", dropped)
        return late, outside

    def _given(self, rows: WindowRows) -> list[tuple[str, Batch]]:
        given, gathered = self._columns.taken()
        if self._settings.revisions == "final" and self._lateness:
            keep = given[:, output.OUT_FINAL] == 1
            if self._gap and not keep.all():
                if gathered.shape[1]:
                    gathered = gathered[np.repeat(keep, given[:, output.OUT_ROWS])]
                given = given[keep]
        if not len(given):
            return []
        self._context.account.created += len(given)
        return [("out", self._batch(rows, given, gathered))]

    def _batch(self, rows: WindowRows, given: Int64s, gathered: Int64s) -> Batch:
        columns: dict[str, Column] = rows.key_columns(given[:, output.OUT_SLOT])
        columns["ts_open"] = column_of(given, output.OUT_START)
        columns["ts_close"] = column_of(given, output.OUT_END)
        columns |= self._columns.results(given, gathered)
        columns["is_final"] = given[:, output.OUT_FINAL] == 1
        columns["revision"] = column_of(given, output.OUT_REVISION)
        if self._settings.revisions == "retract":
            columns["op"] = column_of(given, output.OUT_OP)
        # What comes later ends no earlier than what was due, lateness aside.
        span = self._lateness + (0 if self._gap else self._size)
        due = given[:, output.OUT_DUE]
        marks = np.where(due >= TIME_MIN + span, due, TIME_MIN + span) - span
        end = max(self.output_watermark(rows.watermark), int(marks[-1]))
        progress = Progress(int(marks[0]), 0, end, marks)
        return Batch(self._schema, columns, self._context.symbols, progress)

    # State

    def snapshot(self) -> Snapshot:
        """Return the rows of open windows."""
        rows = self._columns.rows
        if rows is None:
            return Snapshot()
        saved = rows.saved()
        scalars = {**self._shape(), "watermark": rows.watermark, **self._columns.scalars()}
        return Snapshot(saved.key_groups, saved.keyed, scalars)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over open windows. They come out in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of windows of this shape.
        """
        scalars = snapshot.scalars
        if not scalars:
            return
        shape = self._shape()
        if any(scalars.get(name) != value for name, value in shape.items()):
            theirs = {name: scalars.get(name) for name in shape}
            msg = f"the state is of other windows: {theirs}, these are {shape}"
            raise SnapshotError(msg)
        rows = self._columns.load(scalars)
        self._schema = self._settings.schema_of_windows(self._columns.kept, self._columns.bound)
        rows.load(snapshot, scalars["watermark"])
        self._context.account.held += len(snapshot.keyed["rows"])
        if self._gap:
            self._resume(self._grid, rows.meta, rows.slots, rows.arena, rows.heap)
        else:
            opens = closes = _NO_TIMES
            if self._table is not None:
                times = snapshot.keyed["rows"][:, store.ROW_TIME]
                if len(times):
                    self._table.cover(int(times.min()), int(times.max()))
                opens, closes = _intervals(self._table)
            self._resume(
                *(self._grid, opens, closes, rows.meta, rows.slots, rows.arena, rows.heap)
            )

    def _shape(self) -> dict[str, int]:
        names = ("origin", "gap" if self._gap else "size", "every", "lateness", "revisions")
        return dict(zip(names, self._grid.tolist(), strict=True))


def _intervals(table: SessionTable) -> tuple[Int64s, Int64s]:
    """Return opens and closes, at least one: a kernel takes none for no calendar."""
    never = np.array([TIME_MAX], np.int64)
    return (table.opens, table.closes) if len(table.opens) else (never, never)


def _kernels(*, sessions: bool) -> tuple[Any, Any]:
    """Return the kernels that take rows and that go on; those not needed are not compiled."""
    if sessions:
        from market_data_pipeline.kernels.session_windows import resume_sessions, take_sessions

        return take_sessions, resume_sessions
    from market_data_pipeline.kernels.fixed_windows import resume_fixed, take_fixed

    return take_fixed, resume_fixed
