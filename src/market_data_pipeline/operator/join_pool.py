"""The right rows of a join, column by column, as long as a left row may ask for them."""

from __future__ import annotations

__all__ = ("JoinPool",)

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.kernels.gather import gather_matches
from market_data_pipeline.operator.join_columns import missing_value
from market_data_pipeline.operator.join_keys import JoinKeys
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_LEAST_ROWS: Final = 1024
_NOTHING: Final = np.empty(0, np.int64)

Int64s = npt.NDArray[np.int64]


class JoinPool:
    """Rows in the order of a time, added at the end and forgotten from the beginning.

    Attributes:
        rows: How many there are.
        times: (c,) int64, the first `rows` of which are the times in order.
        ids: (c,) int32, the numbers of their keys.
        carried: By column, the last value of each key, which rows without one are given.
    """

    def __init__(self, schema: Schema, time: str, keys: JoinKeys, symbols: SymbolTable) -> None:
        """Make an empty pool.

        Args:
            schema: The columns of the rows.
            time: The column they are ordered by.
            keys: Numbers their keys.
            symbols: The symbol table of the run.
        """
        self._schema = schema
        self._time = time
        self._keys = keys
        self._symbols = symbols
        self.rows = 0
        self.carried: dict[str, Int64s] = {}
        self._columns: dict[str, Any] = {}
        self._chunks: dict[str, list[pa.Array]] = {}
        self._allot(_LEAST_ROWS)

    def _allot(self, capacity: int) -> None:
        self.capacity = capacity
        self.ids = np.empty(capacity, np.int32)
        for field in self._schema:
            if field.kind is Kind.ARROW:
                self._chunks[field.name] = []
            else:
                self._columns[field.name] = np.empty(capacity, field.dtype)
        self.times: Int64s = self._columns[self._time]

    def fits(self, rows: int) -> bool:
        """Tell whether so many rows can be added before some must be forgotten."""
        return self.rows + rows <= self.capacity

    def add(self, batch: Batch) -> None:
        """Take rows that come after those that are there, and fit."""
        start, stop = self.rows, self.rows + len(batch)
        self.ids[start:stop] = self._keys.ids(batch, adding=True)
        for name, column in self._columns.items():
            column[start:stop] = batch[name]
        for name, chunks in self._chunks.items():
            chunks.append(batch[name])
        for name in self.carried:
            self._carry(name, start, stop)
        self.rows = stop

    def _carry(self, name: str, start: int, stop: int) -> None:
        from market_data_pipeline.kernels.carry import carry_forward

        known = self.carried[name]
        missing = self._keys.count - len(known)
        if missing > 0:
            more = np.full(max(missing, len(known), 64), UNDEFINED)
            known = self.carried[name] = np.concatenate([known, more])
        carry_forward(self.ids, start, stop, self._columns[name], known)

    def kept(self, places: Int64s) -> Batch:
        """Return some rows as a batch of their own."""
        columns: dict[str, Column] = {}
        for field in self._schema:
            if field.kind is Kind.ARROW:
                columns[field.name] = self._text(field.name).take(pa.array(places))
            else:
                columns[field.name] = self._columns[field.name][places]
        return Batch(self._schema, columns, self._symbols)

    def keep_only(self, places: Int64s, room: int) -> None:
        """Forget all rows but some, and make room for more.

        Args:
            places: (n,) int64, ascending: the rows that stay, numbered anew in this order.
            room: Rows that must fit besides.
        """
        stay = self.kept(places)
        self._keys.forget()
        # Those that stay bring the values to carry with them.
        self.carried = dict.fromkeys(self.carried, _NOTHING)
        self.rows = 0
        self._allot(max(_LEAST_ROWS, 1 << (2 * (len(stay) + room) - 1).bit_length()))
        if len(stay):
            self.add(stay)

    def matched(self, name: str, field: Field, places: Int64s) -> Column:
        """Return a column of the rows at some places, -1 standing for none.

        Args:
            name: The column here.
            field: What it is to be: Arrow where the column cannot say "none".
            places: (n,) int64.
        """
        if field.kind is Kind.ARROW:
            return self._matched_arrow(name, field, places)
        values = self._columns[name]
        missing = missing_value(field)
        out = np.empty(len(places), values.dtype)
        if field.kind is Kind.FLOAT:
            nan = int(np.array([missing]).view(np.int64)[0])
            gather_matches(values.view(np.int64), places, nan, out.view(np.int64))
        else:
            gather_matches(values, places, missing, out)
        return out

    def _matched_arrow(self, name: str, field: Field, places: Int64s) -> pa.Array:
        none = places < 0
        kind = self._schema[name].kind
        if kind is Kind.ARROW:
            return self._text(name).take(pa.array(places, mask=none))
        if not self.rows:
            return pa.nulls(len(places), field.arrow)
        values = self._columns[name][np.maximum(places, 0)]
        if kind is Kind.BOOL:
            return pa.array(values, field.arrow, mask=none)
        used, inverse = np.unique(values, return_inverse=True)
        names = pa.array([self._symbols.name(code) for code in used.tolist()], field.arrow)
        return names.take(pa.array(inverse, mask=none))

    def _text(self, name: str) -> pa.Array:
        chunks: Sequence[pa.Array] = self._chunks[name]
        if len(chunks) != 1:
            whole = pa.concat_arrays(chunks) if chunks else pa.nulls(0, self._schema[name].arrow)
            self._chunks[name] = [whole]
        return self._chunks[name][0]
