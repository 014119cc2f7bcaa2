"""Rows in the order of event time, for operators that must see them so."""

from __future__ import annotations

__all__ = ("Reorder",)

from collections import deque
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

# Batches of few rows are put together once this many wait: each costs some kilobytes, and
# putting them together costs a copy of all that wait.
_MOST_CHUNKS: Final = 256
_NONE: Final = np.empty(0, np.int64)
_VIEWS: Final = {
    np.dtype(np.bool_): np.dtype(np.uint8),
    np.dtype(np.float64): np.dtype(np.int64),
}
_PREFIX: Final = "row."
_ORDER: Final = "(order)"
_WATERMARK: Final = "reorder.watermark"


class _Chunk(NamedTuple):
    """Rows that ascend, with their first and last event time."""

    rows: Batch
    first: int
    last: int


class Reorder:
    """Holds rows until the watermark has reached them; gives them by (time, arrival).

    A row is late iff its event time is below the watermark before it, whatever the batch
    it comes in. All others are given in the order of their event times, those of one
    instant in the order of arrival: a row may go once the watermark is at its event time,
    since whatever comes later is not below the watermark, and behind it if equal.

    Rows that ascend are kept as they came; a row behind one that came before it is put
    aside, and woven in when its turn comes.

    What is given carries the watermark: each row's own event time, then the watermark
    reached. Rows that come in order are not copied. What is held is bounded by the rows
    that the source's `out_of_order` bound spans.

    Attributes:
        held: Rows held.
        watermark: Event-time progress so far, nanoseconds.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        # Kernels are loaded when something runs, not when it is described.
        from market_data_pipeline.kernels.compact import copy_masked
        from market_data_pipeline.kernels.event_order import place_rows, weave

        self._place = place_rows
        self._weave = weave
        self._copy = copy_masked
        self._symbols = symbols
        self._spine: deque[_Chunk] = deque()
        self._top = TIME_MIN
        self._strays: list[Batch] = []
        self._first_stray = TIME_MAX
        self._schema: Schema | None = None
        self._saved: Snapshot | None = None
        self.held = 0
        self.watermark = TIME_MIN

    def take(self, batch: Batch) -> tuple[list[Batch], Int64s]:
        """Take rows; return those whose turn it is, and the positions of late ones.

        Returns:
            Batches in order, each ascending; and (l,) int64 positions in `batch`.
        """
        rows = len(batch)
        if not rows:
            return self.advance(batch.watermark), _NONE
        if batch.schema is not self._schema:
            self.bind(batch.schema)
        times = np.ascontiguousarray(batch.times)
        clocks, bound, highest = self._clock(batch, times)
        plain = Batch(batch.schema, batch.columns, batch.symbols)
        late = _NONE
        if rows == 1:
            time = int(times[0])
            if time < max(highest, int(clocks[0])) - bound:
                late = np.zeros(1, np.int64)
            elif time >= self._top:
                self._append(plain, time, time)
            else:
                self._put_aside(plain, time)
        else:
            ascends = np.empty(rows, np.bool_)
            behind, late = np.empty(rows, np.int64), np.empty(rows, np.int64)
            strays, lates = self._place(
                times, clocks, bound, highest, self._top, ascends, behind, late
            )
            late = late[:lates] if lates else _NONE
            if strays:
                aside = plain.reorder(behind[:strays])
                self._put_aside(aside, int(aside.times.min()))
            left = rows - strays - lates
            if left:
                if left < rows:
                    plain = self._kept(plain, ascends, left)
                times = plain.times
                self._append(plain, int(times[0]), int(times[-1]))
        self.held += rows - len(late)
        return self.advance(batch.watermark), late

    def advance(self, watermark: int) -> list[Batch]:
        """Take event-time progress; return the rows whose turn it is."""
        before = self.watermark
        if watermark < before or (self._saved is not None):
            return []
        self.watermark = watermark
        spine = self._spine
        strays = None
        if self._strays and self._first_stray <= watermark:
            strays = self._due_strays(watermark)
        ready: list[Batch] = []
        while spine and spine[0].first <= watermark:
            rows, _, last = spine.popleft()
            if last > watermark:
                cut = int(np.searchsorted(rows.times, watermark, "right"))
                rest = rows.slice(cut, len(rows))
                spine.appendleft(_Chunk(rest, int(rest.times[0]), last))
                rows = rows.slice(0, cut)
            more = bool(spine) and spine[0].first <= watermark
            if strays is not None:
                # A stray came after all rows of its own time that were in order.
                stop = len(strays)
                if more:
                    stop = int(np.searchsorted(strays.times, spine[0].first, "left"))
                if stop:
                    rows = self._woven(rows, strays.slice(0, stop))
                    strays = strays.slice(stop, len(strays)) if stop < len(strays) else None
            ready.append(rows)
        if strays is not None:
            ready.append(strays)
        for place, rows in enumerate(ready):
            last = int(rows.times[-1])
            end = watermark if place == len(ready) - 1 else last
            ready[place] = rows.with_progress(Progress(before, 0, end))
            before = max(before, last)
            self.held -= len(rows)
        return ready

    def finish(self) -> list[Batch]:
        """Return all rows that are held.

        Raises:
            SnapshotError: If rows were taken over and nobody said what columns they have.
        """
        if self._saved is not None:
            msg = "rows were taken over from a snapshot, and nobody said what columns they have"
            raise SnapshotError(msg)
        return self.advance(TIME_MAX)

    def _clock(self, batch: Batch, times: Int64s) -> tuple[Int64s, int, int]:
        """Return clocks, bound and running maximum as the kernel takes them."""
        progress = batch.progress
        if progress is None:
            return np.full(len(times), TIME_MIN), 0, self.watermark
        clocks = times if progress.column is None else np.ascontiguousarray(progress.column)
        # What was learnt between batches counts, too.
        known = min(self.watermark + progress.bound, TIME_MAX)
        return clocks, progress.bound, max(progress.start, known)

    def _append(self, batch: Batch, first: int, last: int) -> None:
        spine = self._spine
        spine.append(_Chunk(batch, first, last))
        self._top = last
        if len(spine) > _MOST_CHUNKS:
            whole = Batch.concat([chunk.rows for chunk in spine])
            first = spine[0].first
            spine.clear()
            spine.append(_Chunk(whole, first, last))

    def _put_aside(self, batch: Batch, first: int) -> None:
        self._strays.append(batch)
        self._first_stray = min(self._first_stray, first)
        if len(self._strays) > _MOST_CHUNKS:
            self._strays = [Batch.concat(self._strays)]

    def _due_strays(self, watermark: int) -> Batch:
        """Take out the strays up to a watermark, in order."""
        strays = Batch.concat(self._strays)
        strays = strays.reorder(np.argsort(strays.times, kind="stable"))
        due = int(np.searchsorted(strays.times, watermark, "right"))
        rest = strays.slice(due, len(strays))
        self._strays = [rest] if len(rest) else []
        self._first_stray = int(rest.times[0]) if len(rest) else TIME_MAX
        return strays.slice(0, due)

    def _kept(self, batch: Batch, keep: npt.NDArray[np.bool_], count: int) -> Batch:
        columns: dict[str, Column] = {}
        mask: pa.Array | None = None
        for name, column in batch.columns.items():
            if isinstance(column, pa.Array):
                mask = pa.array(keep) if mask is None else mask
                columns[name] = column.filter(mask)
            else:
                out = np.empty(count + 1, column.dtype)
                self._copy(keep, _as_integers(column), _as_integers(out))
                columns[name] = out[:count]
        return Batch(batch.schema, columns, batch.symbols)

    def _woven(self, rows: Batch, strays: Batch) -> Batch:
        before = np.searchsorted(rows.times, strays.times, "right")
        columns: dict[str, Column] = {}
        order: pa.Array | None = None
        for name, column in rows.columns.items():
            other = strays.columns[name]
            if isinstance(column, pa.Array):
                if order is None:
                    places = np.arange(len(rows) + len(strays))
                    both = np.empty_like(places)
                    self._weave(places[: len(rows)], places[len(rows) :], before, both)
                    order = pa.array(both)
                columns[name] = pa.concat_arrays([column, other]).take(order)
            else:
                out = np.empty(len(rows) + len(strays), column.dtype)
                self._weave(
                    *(_as_integers(column), _as_integers(other)), before, _as_integers(out)
                )
                columns[name] = out
        return Batch(rows.schema, columns, rows.symbols)

    # State

    def waiting(self) -> list[Batch]:
        """Return the rows that are held: those that ascend, then those put aside.

        In the order of event time, and where that is equal in this order, they are as they
        will be given.
        """
        return [*(chunk.rows for chunk in self._spine), *self._strays]

    def bind(self, schema: Schema) -> None:
        """Say what columns the rows have; the first batch says so, too.

        Raises:
            SnapshotError: If rows were taken over that have others.
        """
        saved, self._schema = self._saved, schema
        if saved is None:
            return
        names = {name.removeprefix(_PREFIX) for name in saved.keyed} - {_ORDER}
        if names != set(schema.names):
            msg = f"the state holds rows with {sorted(names)}, these are {sorted(schema.names)}"
            raise SnapshotError(msg)
        columns: dict[str, Column] = {}
        for field in schema:
            column = saved.keyed[_PREFIX + field.name]
            if field.kind is Kind.SYMBOL:
                columns[field.name] = self._symbols.encode_texts(column)
            elif field.kind is Kind.ARROW:
                columns[field.name] = _thawed(column, field.arrow)
            else:
                columns[field.name] = column
        self._saved = None
        batch = Batch(schema, columns, self._symbols)
        batch = batch.reorder(np.lexsort((saved.keyed[_PREFIX + _ORDER], batch.times)))
        self._append(batch, int(batch.times[0]), int(batch.times[-1]))

    def snapshot(self) -> Snapshot:
        """Return the rows held and the watermark; a row belongs to the key group of its symbol.

        Columns are named `row.` and their name; there are none before a row has come. Values
        of an Arrow column are serialized one by one. Rows without a symbol belong to key
        group 0.
        """
        if self._schema is None:
            return self._saved or Snapshot()
        empty = {field.name: _empty(field) for field in self._schema}
        rows = Batch(self._schema, empty, self._symbols)
        waiting = self.waiting()
        if waiting:
            rows = Batch.concat(waiting)
        groups = np.zeros(len(rows), np.int16)
        # Rows of one instant keep their order when parts are put together.
        keyed: dict[str, npt.NDArray[Any]] = {_PREFIX + _ORDER: np.arange(len(rows))}
        for field in rows.schema:
            column = rows[field.name]
            if field.kind is Kind.SYMBOL:
                groups = self._symbols.key_groups(column)
                column = np.array([self._symbols.name(code) for code in column.tolist()], np.str_)
            elif field.kind is Kind.ARROW:
                column = _frozen(column)
            keyed[_PREFIX + field.name] = column
        return Snapshot(groups, keyed, {_WATERMARK: self.watermark})

    def restore(self, snapshot: Snapshot) -> int:
        """Take over rows; return how many. They wait for `bind`, or for the first batch.

        Raises:
            SnapshotError: If it is no state of a reordering.
        """
        if not snapshot.scalars:
            return 0
        if _WATERMARK not in snapshot.scalars or _PREFIX + _ORDER not in snapshot.keyed:
            msg = "the state holds no rows in the order of event time"
            raise SnapshotError(msg)
        self.watermark = snapshot.scalars[_WATERMARK]
        self.held = len(snapshot.keyed[_PREFIX + _ORDER])
        if self.held:
            self._saved = snapshot
        return self.held


def _as_integers(column: Any) -> Any:
    """Return the same memory as one of the types that kernels copy."""
    column = np.ascontiguousarray(column)
    return column.view(_VIEWS.get(column.dtype, column.dtype))


def _empty(field: Field) -> Column:
    return pa.array([], field.arrow) if field.kind is Kind.ARROW else np.empty(0, field.dtype)


def _frozen(column: pa.Array) -> npt.NDArray[np.bytes_]:
    """Return each value of an Arrow column as bytes."""
    texts: list[bytes] = []
    for i in range(len(column)):
        sink = pa.BufferOutputStream()
        one = pa.record_batch([column.slice(i, 1)], names=["value"])
        with pa.ipc.new_stream(sink, one.schema) as writer:
            writer.write_batch(one)
        # NumPy drops zeros at the end of bytes.
        texts.append(sink.getvalue().to_pybytes() + b".")
    return np.array(texts, np.bytes_)


def _thawed(column: npt.NDArray[np.bytes_], arrow: pa.DataType | None) -> pa.Array:
    tables = [pa.ipc.open_stream(text[:-1]).read_all() for text in column.tolist()]
    parts = [chunk for table in tables for chunk in table["value"].chunks]
    return pa.concat_arrays(parts) if parts else pa.array([], arrow)
