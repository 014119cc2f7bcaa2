"""The rows of open windows by key: the arrays that the kernels of windows work on."""

from __future__ import annotations

__all__ = ("WindowRows",)

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Column
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.kernels import row_store as store
from market_data_pipeline.kernels import window_keys
from market_data_pipeline.operator.keys import key_of
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

_LEAST_SLOTS: Final = 64
_LEAST_ROWS: Final = 1_024
_LEAST_OUT: Final = 1_024
_MOST_KEPT: Final = 65_536
"""Buffers of output that grew longer than this are not kept for the next batch."""


class WindowRows:
    """Rows by key, as `kernels.row_store` describes them, and room for what they give.

    Attributes:
        meta: Counters shared with the kernels.
        slots: A slot per key.
        arena: The rows.
        heap: What is due.
        out: Windows given.
        gather: Rows of the windows given, where functions of the user need them.
        sums: (S, n) what a kernel keeps for each slot besides.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        key: Sequence[str],
        columns: Sequence[str],
        aggregates: int,
        gathers: bool,
        sums: int = 0,
        node: str,
        symbols: SymbolTable,
    ) -> None:
        """Make empty arrays.

        Args:
            schema: The rows' columns.
            key: Columns that tell rows apart.
            columns: Columns that aggregates read.
            aggregates: Number of aggregates.
            gathers: Whether the rows of each window are needed.
            sums: Words to keep for each slot besides.
            node: Name of the node, for messages.
            symbols: The symbol table of the run.

        Raises:
            SchemaError: If the key cannot be compared.
        """
        from market_data_pipeline.kernels.window_output import OUT_VALUES

        self.columns = tuple(columns)
        self.key = tuple(key)
        self._symbols = symbols
        self._fields = [schema[name] for name in key]
        self._value_fields = [schema[name] for name in columns]
        self._key = key_of(schema, key, node) if key else None
        words = store.ROW_VALUES + len(columns)
        self.meta = np.zeros(store.META, np.int64)
        self.meta[store.META_WATERMARK] = TIME_MIN
        self.slots = np.zeros((_LEAST_SLOTS, store.SLOT), np.int64)
        self.arena = np.empty((_LEAST_ROWS, words), np.int64)
        self.heap = np.empty((2 * _LEAST_SLOTS, 3), np.int64)
        self.out = np.empty((_LEAST_OUT, OUT_VALUES + aggregates), np.int64)
        self.sums = np.zeros((_LEAST_SLOTS, sums), np.int64)
        self._gather_words = words if gathers else 0
        self.gather = np.empty((_LEAST_OUT, self._gather_words), np.int64)
        self._key_values: list[npt.NDArray[Any]] = [
            np.zeros(_LEAST_SLOTS, object if field.kind is Kind.ARROW else field.dtype)
            for field in self._fields
        ]
        self._free = np.zeros(2 + _LEAST_SLOTS, np.int64)
        window_keys.free_slots(self.slots, self._free)
        self._table = np.full((4 * _LEAST_SLOTS, 3), -1, np.int64)

    @property
    def watermark(self) -> int:
        """Event-time progress so far, nanoseconds."""
        return int(self.meta[store.META_WATERMARK])

    # What goes in

    def keys_of(self, batch: Batch) -> Int64s:
        """Return the slot of each row's key, (n,) int64."""
        rows = len(batch)
        first, second = np.zeros(1, np.int64), np.zeros(rows, np.int64)
        if self._key is not None:
            first, second = self._key.halves(batch)
            if len(self.key) == 1 and not self._key.hashed:
                first = first[:1]
        first = np.ascontiguousarray(first, np.int64)
        second = np.ascontiguousarray(second, np.int64)
        keys, fresh = np.empty(rows, np.int64), np.zeros(rows, np.int64)
        begin, made = 0, np.zeros(rows, np.int64)
        while True:
            done = window_keys.find_slots(
                begin, first, second, self._table, self.slots, self._free, keys, fresh
            )
            if done == rows:
                break
            # Slots taken for rows of this batch have none yet and are given up, too.
            begin = 0
            self._make_slots(made)
            made += 1
        self._note_keys(batch, keys, np.flatnonzero(fresh))
        return keys

    def values_of(self, batch: Batch) -> Int64s:
        """Return the columns that aggregates read, (C, n) int64; floats by their bits."""
        values = np.empty((len(self.columns), len(batch)), np.int64)
        for place, name in enumerate(self.columns):
            column = batch[name]
            if column.dtype == np.float64:
                values[place].view(np.float64)[:] = column
            else:
                values[place] = column
        return values

    def _note_keys(self, batch: Batch, keys: Int64s, rows: Int64s) -> None:
        if not len(rows):
            return
        slots = keys[rows]
        for name, kept in zip(self.key, self._key_values, strict=True):
            column = batch[name]
            if isinstance(column, pa.Array):
                kept[slots] = column.take(pa.array(rows)).to_pylist()
            else:
                kept[slots] = column[rows]

    def _make_slots(self, again: Int64s) -> None:
        used = window_keys.free_slots(self.slots, self._free)
        size = len(self.slots)
        if 2 * used >= size or (len(again) and again[0]):
            grown = np.zeros((2 * size, store.SLOT), np.int64)
            grown[:size] = self.slots
            self.slots = grown
            self.sums = np.concatenate([self.sums, np.zeros_like(self.sums)])
            self._free = np.zeros(2 + 2 * size, np.int64)
            window_keys.free_slots(self.slots, self._free)
            self._key_values = [
                np.concatenate([kept, np.zeros_like(kept)]) for kept in self._key_values
            ]
        if len(self._table) != 4 * len(self.slots):
            self._table = np.empty((4 * len(self.slots), 3), np.int64)
        self._table.fill(-1)
        self._free[0] = window_keys.fill_table(self._table, self.slots)

    # Room

    def make_room(self, reason: int) -> None:
        """Make room for what a kernel ran out of."""
        wanted = int(self.meta[store.META_WANTED])
        if reason == store.NEEDS_OUT:
            self.out = _longer(self.out, wanted)
        elif reason == store.NEEDS_GATHER:
            self.gather = _longer(self.gather, wanted)
        elif reason == store.NEEDS_HEAP:
            left = store.prune_due(self.meta, self.slots, self.heap)
            if 2 * left >= len(self.heap):
                self.heap = _longer(self.heap, 0)
        else:
            self._repack()

    def _repack(self) -> None:
        needed = int(store.room_needed(self.slots))
        packed = np.empty((max(2 * needed, _LEAST_ROWS), self.arena.shape[1]), np.int64)
        self.meta[store.META_ARENA] = store.repack(self.slots, self.arena, packed)
        self.arena = packed

    def taken(self) -> tuple[Int64s, Int64s]:
        """Return what was given, and the rows gathered; forget both."""
        meta = self.meta
        given = self.out[: meta[store.META_OUT]].copy()
        gathered = self.gather[: meta[store.META_GATHERED]].copy()
        meta[store.META_OUT] = meta[store.META_GATHERED] = 0
        if len(self.out) > _MOST_KEPT:
            self.out = np.empty((_LEAST_OUT, self.out.shape[1]), np.int64)
        if len(self.gather) > _MOST_KEPT:
            self.gather = np.empty((_LEAST_OUT, self._gather_words), np.int64)
        return given, gathered

    # What comes out

    def key_columns(self, slots: Int64s) -> dict[str, Column]:
        """Return the values of the key columns for some slots."""
        return {
            field.name: pa.array(kept[slots].tolist(), field.arrow)
            if field.kind is Kind.ARROW
            else kept[slots]
            for field, kept in zip(self._fields, self._key_values, strict=True)
        }

    # State

    def saved(self) -> Snapshot:
        """Return all rows by key."""
        heads = self.slots[:, store.SLOT_HEAD]
        counts = self.slots[:, store.SLOT_TAIL] - heads
        slots = np.repeat(np.arange(len(self.slots)), counts)
        starts = np.repeat(heads - (np.cumsum(counts) - counts), counts)
        rows = self.arena[starts + np.arange(len(slots))]
        keyed: dict[str, npt.NDArray[Any]] = {
            "birth": self.slots[slots, store.SLOT_BIRTH],
            "rows": rows,
        }
        for field, kept in zip(self._fields, self._key_values, strict=True):
            values = kept[slots]
            if field.kind is Kind.SYMBOL:
                values = self._symbols.texts(values)
            elif field.kind is Kind.ARROW:
                keyed[f"null.{field.name}"] = np.array([v is None for v in values], np.bool_)
                values = np.array([v or "" for v in values], np.str_)
            keyed[f"key.{field.name}"] = values
        groups = np.zeros(len(slots), np.int16)
        if self._key is not None and len(slots):
            halves = (
                self.slots[slots, store.SLOT_FIRST],
                self.slots[slots, store.SLOT_SECOND],
            )
            groups = self._key.groups(halves, self._symbols)
        return Snapshot(groups, keyed)

    def load(self, snapshot: Snapshot, watermark: int) -> None:
        """Take over rows by key."""
        rows, births = snapshot.keyed["rows"], snapshot.keyed["birth"]
        columns: dict[str, Column] = {"ts_event": rows[:, store.ROW_TIME]}
        fields = [Field("ts_event", Kind.TIME)]
        for field in self._fields:
            values: Any = snapshot.keyed[f"key.{field.name}"]
            if field.kind is Kind.SYMBOL:
                values = self._symbols.encode_texts(values)
            elif field.kind is Kind.ARROW:
                nulls = snapshot.keyed[f"null.{field.name}"]
                values = pa.array(values.tolist(), field.arrow, mask=nulls)
            columns[field.name] = values
            fields.append(field)
        batch = Batch(Schema("saved", tuple(fields)), columns, self._symbols)
        keys = self.keys_of(batch)
        order = np.argsort(keys, kind="stable")
        if len(self.arena) < len(rows):
            self.arena = np.empty((2 * len(rows), rows.shape[1]), np.int64)
        self.heap = np.empty((4 * len(self.slots), 3), np.int64)
        self.meta[store.META_ARENA] = store.load_rows(
            keys[order],
            np.ascontiguousarray(births[order]),
            np.ascontiguousarray(rows[order]),
            self.slots,
            self.arena,
        )
        self.meta[store.META_WATERMARK] = watermark
        self.meta[store.META_ROWS_SEEN] = int(births.max()) + 1 if len(births) else 0

    def drained(self, kernel: Callable[[int], tuple[int, int]]) -> None:
        """Call a kernel until it has taken all rows, making room when it asks for it.

        Args:
            kernel: Takes rows from a position on; returns the first not taken, and why.
        """
        position, reason = kernel(0)
        while reason != store.ALL_TAKEN:
            self.make_room(reason)
            position, reason = kernel(position)


def _longer(array: Int64s, wanted: int) -> Int64s:
    grown = np.empty((2 * len(array) + wanted, array.shape[1]), np.int64)
    grown[: len(array)] = array
    return grown
