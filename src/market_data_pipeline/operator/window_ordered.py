"""Windows over rows in the order of event time, running: counted and sliding ones."""

from __future__ import annotations

__all__ = ("OrderedWindowsOperator",)

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.reorder import Reorder
from market_data_pipeline.dag.state import Snapshot, stack, unstack
from market_data_pipeline.durations import duration_ns
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import ordered_windows as ordered
from market_data_pipeline.kernels import row_store as store
from market_data_pipeline.kernels import window_output as output
from market_data_pipeline.operator.window_columns import WindowColumns, column_of
from market_data_pipeline.operator.window_rows import WindowRows
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.windows import Windows

Int64s = npt.NDArray[np.int64]


class OrderedWindowsOperator:
    """Rows that wait for their turn, and the windows of those that had it."""

    def __init__(self, settings: Windows, context: NodeContext) -> None:
        self._settings = settings
        self._context = context
        self._sliding = settings.sliding
        self._columns = WindowColumns(settings, context, whole=settings.sliding)
        self._reorder = Reorder(context.symbols)
        size = duration_ns(settings.size or "0s")
        # A window by time holds nothing of a key that was silent for its size.
        idle = size or duration_ns(settings.ttl or "0s")
        self._order = np.array([size, settings.rows or 0, idle], np.int64)
        self._schema = Schema("window", ())
        self._input: Schema | None = None

    def process(self, batch: Batch) -> Outputs:
        """Take rows; give the windows of those whose turn it is."""
        if not len(batch):
            return self.advance(batch.watermark)
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        rows = batch if self._sliding else batch.select(self._columns.kept.names)
        ready, late = self._reorder.take(rows)
        account = self._context.account
        account.held += len(batch) - len(late)
        outputs = [given for part in ready for given in self._through(part)]
        if len(late):
            account.add("late", len(late))
            outputs.append(("late", batch.take(late)))
        return outputs

    def advance(self, watermark: int) -> Outputs:
        """Give the windows of rows whose turn it is at a watermark."""
        if self._columns.rows is None:
            return ()
        return [
            given for part in self._reorder.advance(watermark) for given in self._through(part)
        ]

    def finish(self) -> Outputs:
        """Give the windows of all rows; rows that are too few for a window end here."""
        outputs = self.advance(TIME_MAX)
        rows = self._columns.rows
        if rows is not None and not self._sliding:
            left = int((rows.slots[:, store.SLOT_TAIL] - rows.slots[:, store.SLOT_HEAD]).sum())
            self._context.account.held -= left
            self._context.account.add("incomplete", left)
        return outputs

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark, behind which the counted windows of later rows end."""
        if self._sliding or watermark in {TIME_MIN, TIME_MAX}:
            return watermark
        return watermark + 1

    def _set_input(self, schema: Schema) -> None:
        bound = self._columns.of(schema)
        self._schema = self._settings.schema_of_windows(schema, self._columns.bound)
        # Rows that were taken over wait for this.
        self._reorder.bind(self._columns.kept if not self._sliding else schema)
        self._input = schema
        if self._reorder.watermark > bound.watermark:
            bound.meta[store.META_WATERMARK] = self._reorder.watermark

    def _through(self, batch: Batch) -> list[tuple[str, Batch]]:
        """Return what rows give whose turn it is."""
        rows = self._columns.of(self._input or batch.schema)
        meta = rows.meta
        meta[store.META_DROPPED] = meta[store.META_INCOMPLETE] = 0
        times = np.ascontiguousarray(batch.times)
        keys, values = rows.keys_of(batch), rows.values_of(batch)
        take: Any = ordered.take_sliding if self._sliding else ordered.take_counted

        def call(first: int) -> tuple[int, int]:
            found: tuple[int, int] = take(
                *(first, batch.watermark, times, keys, values, self._order, meta),
                *(rows.slots, rows.arena, rows.heap, rows.sums),
                *(self._columns.program, rows.out, rows.gather),
            )
            return found

        rows.drained(call)
        given, gathered = self._columns.taken()
        account = self._context.account
        if self._sliding:
            account.held -= len(batch)
            fields = [aggregate.field for aggregate in self._columns.bound]
            return [("out", batch.with_columns(fields, self._columns.results(given, gathered)))]
        incomplete = int(meta[store.META_INCOMPLETE])
        dropped = int(meta[store.META_DROPPED])
        account.held -= dropped
        account.add("incomplete", incomplete)
        account.add("aggregated", dropped - incomplete)
        account.created += len(given)
        return [("out", self._batch(rows, given, gathered, batch.watermark))] if len(given) else []

    def _batch(self, rows: WindowRows, given: Int64s, gathered: Int64s, reached: int) -> Batch:
        columns: dict[str, Column] = rows.key_columns(given[:, output.OUT_SLOT])
        columns["ts_open"] = column_of(given, output.OUT_START)
        columns["ts_close"] = ends = column_of(given, output.OUT_END)
        columns |= self._columns.results(given, gathered)
        columns["is_final"] = np.ones(len(given), np.bool_)
        columns["revision"] = np.zeros(len(given), np.int64)
        # Rows of the same instant may follow, and no earlier ones.
        end = max(self.output_watermark(reached), int(ends[-1]))
        return Batch(
            self._schema, columns, self._context.symbols, Progress(int(ends[0]), 0, end, ends)
        )

    # State

    def snapshot(self) -> Snapshot:
        """Return the rows of open windows, and those that wait for their turn."""
        rows = self._columns.rows
        if rows is None:
            return Snapshot()
        saved = rows.saved()
        scalars = {**self._shape(), "watermark": rows.watermark, **self._columns.scalars()}
        windows = Snapshot(saved.key_groups, saved.keyed, scalars)
        return stack({"windows": windows, "waiting": self._reorder.snapshot()})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over rows. They come out in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of windows of this shape.
        """
        if not snapshot.scalars:
            return
        parts = unstack(snapshot, ("windows", "waiting"))
        windows, shape = parts["windows"], self._shape()
        theirs = {name: windows.scalars.get(name) for name in shape}
        if theirs != shape:
            msg = f"the state is of other windows: {theirs}, these are {shape}"
            raise SnapshotError(msg)
        rows = self._columns.load(windows.scalars)
        rows.load(windows, windows.scalars["watermark"])
        ordered.resume_ordered(
            *(self._order, rows.meta, rows.slots, rows.arena, rows.heap, rows.sums),
            self._columns.program,
        )
        waiting = self._reorder.restore(parts["waiting"])
        held = 0 if self._sliding else len(windows.keyed["rows"])
        self._context.account.held += waiting + held
        self._set_input(self._columns.kept)

    def _shape(self) -> dict[str, int]:
        names = ("size", "rows", "idle")
        return {
            **dict(zip(names, self._order.tolist(), strict=True)),
            "sliding": int(self._sliding),
        }
