"""A file's columns to a batch; rows that cannot be taken are put aside with the reason."""

from __future__ import annotations

__all__ = ("Converter",)

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.batch import Column as BatchColumn
from market_data_pipeline.kernels import status as st
from market_data_pipeline.records import BAR, QUOTE_BAR, UNDEFINED, Field, Kind
from market_data_pipeline.source.cells import (
    Bytes,
    Column,
    Text,
    cell_text,
    filled,
    row_text,
    to_array,
    to_bools,
    to_fixed,
    to_ints,
    to_sides,
    to_typed,
)
from market_data_pipeline.source.columns import Plan
from market_data_pipeline.source.encoding import SymbolEncoder
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.source.times import to_times
from market_data_pipeline.source.zones import LocalTimes
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.trade_actions import CANCEL, action_codes

Rows = npt.NDArray[np.int64]

_DEFECTS: Final = {
    st.EMPTY: ("missing", "`{name}` is empty"),
    st.MALFORMED: ("malformed", "`{name}` is `{cell}`, which is no {what}"),
    st.INEXACT: ("inexact", "`{name}` is `{cell}`, which has more than {places} decimal places"),
    st.OVERFLOW: ("overflow", "`{name}` is `{cell}`, which is out of range"),
    st.NOT_FINITE: ("not_finite", "`{name}` is `{cell}`, which is no finite number"),
    st.NEGATIVE: ("negative", "`{name}` is `{cell}`, which is negative"),
    st.NEGATIVE_PRICE: (
        "negative",
        "`{name}` is `{cell}`, which is negative; where prices may be, say `negative_prices`",
    ),
    st.NONEXISTENT: ("nonexistent", "`{name}` is `{cell}`, which the clocks of {zone} jump over"),
    st.BAD_TEXT: ("encoding", "`{name}` is `{cell}`, which is not UTF-8"),
}
_WHAT: Final = {
    Kind.TIME: "time",
    Kind.FIXED: "number",
    Kind.INT: "whole number",
    Kind.CHAR: "side",
    Kind.SYMBOL: "symbol",
    Kind.BOOL: "truth value",
    Kind.FLOAT: "number",
}
_NOT_OF_CANCELS: Final = frozenset({"price", "size"})
_SIZES: Final = frozenset({"size", "bid_size", "ask_size"})
_PRICES: Final = frozenset({"price", "bid_price", "ask_price"})
_SIZES_OF_BARS: Final = frozenset({"volume", "count"})
_OPTIONAL: Final = frozenset({
    *("bid_price", "bid_size", "ask_price", "ask_size", "last", "ts_recv", "missing_seq"),
    *(field.name for bar in (BAR, QUOTE_BAR) for field in bar if field.kind is Kind.FIXED),
})  # fmt: skip


class Converter:
    """Turns the columns of one file into batches.

    A price or size that is not exactly a decimal of nine places, a time or symbol that
    is missing, a negative price or size and the like cost the row, never the file. A side of a
    quote may be empty, and so may price and size of a row that cancels a trade. Whether a
    row is taken depends on the columns that are read.

    Attributes:
        plan: Which column is which.
        numbers: Numbers in the file of the rows converted last, or that of the first.
    """

    def __init__(
        self, plan: Plan, options: ReadOptions, symbols: SymbolTable, rejects: Rejects
    ) -> None:
        self.plan = plan
        self.numbers: int | Rows = 0
        self._symbols = symbols
        self._rejects = rejects
        self._timezone = options.timezone
        self._zone = LocalTimes(options.timezone)
        self._encoder = SymbolEncoder(symbols)
        self._sizes = _SIZES_OF_BARS if plan.schema.time == BAR.time else _SIZES
        self._prices = frozenset[str]() if options.negative_prices else _PRICES

    def convert(self, columns: Mapping[str, Column], length: int, rows: int | Rows) -> Batch:
        """Return the rows that can be taken.

        Args:
            columns: The file's columns that the plan reads, each of `length` rows.
            length: How many rows there are.
            rows: Their numbers in the file, or the number of the first one.
        """
        made: dict[str, BatchColumn] = {}
        defects: list[tuple[Field, Bytes]] = []
        for field in self.plan.schema:
            source = self.plan.sources.get(field.name)
            if source is None:
                made[field.name] = np.full(length, self._symbols.code(self.plan.symbol), np.int32)
                continue
            values, status = self._column(field, columns[source])
            if status is not None:
                values, status = _allow_empty(field, values, status)
            if field.name in self._sizes:
                status = _refuse_negative(values, status, st.NEGATIVE)
            elif field.name in self._prices:
                status = _refuse_negative(values, status, st.NEGATIVE_PRICE)
            made[field.name] = values
            if status is not None:
                defects.append((field, status))
        _empty_sides(made)
        if defects and "action" in made and "trade_id" in made:
            defects = _without_cancels(made, defects)
        self.numbers = rows
        batch = Batch(self.plan.schema, made, self._symbols)
        return self._without(batch, defects, columns, rows) if defects else batch

    def _column(self, field: Field, column: Column) -> tuple[BatchColumn, Bytes | None]:
        match field.kind:
            case Kind.TIME:
                return to_times(column, self._zone)
            case Kind.FIXED:
                return to_fixed(column, field.scale)
            case Kind.SYMBOL:
                return self._encoder.encode(column)
            case Kind.CHAR:
                return to_sides(column)
            case Kind.FLOAT:
                floats, status = to_typed(column, pa.float64())
                return to_array(filled(floats, np.nan), np.float64), status
            case Kind.BOOL:
                return to_bools(column)
            case Kind.INT if _rides(field) and not isinstance(column, Text):
                return to_array(filled(column, UNDEFINED), np.int64), None
            case Kind.INT:
                return to_ints(column)
            case _:
                return to_typed(column, field.arrow)

    def _without(
        self,
        batch: Batch,
        defects: list[tuple[Field, Bytes]],
        columns: Mapping[str, Column],
        rows: int | Rows,
    ) -> Batch:
        bad = np.zeros(len(batch), np.bool_)
        for _, status in defects:
            bad |= status != st.OK
        for row in np.flatnonzero(bad).tolist():
            field, status = next(found for found in defects if found[1][row] != st.OK)
            source = self.plan.sources[field.name]
            reason, text = _DEFECTS[int(status[row])]
            detail = text.format(
                name=source,
                cell=cell_text(columns[source], row),
                what=_WHAT.get(field.kind, "text"),
                places=field.scale if field.kind is Kind.FIXED else 9,
                zone=self._timezone,
            )
            number = rows + row if isinstance(rows, int) else int(rows[row])
            self._rejects.add(number, reason, detail, row_text(columns, row))
        self.numbers = (np.arange(len(bad)) + rows if isinstance(rows, int) else rows)[~bad]
        return batch.take(~bad)


def _rides(field: Field) -> bool:
    return field.name not in {"trade_id", "sequence", "flags"}


def _taken(column: Column, rows: Rows) -> Column:
    if isinstance(column, Text):
        return Text(column.starts[rows], column.ends[rows], column.data)
    return column.take(pa.array(rows))


def _allow_empty(
    field: Field, values: BatchColumn, status: Bytes
) -> tuple[BatchColumn, Bytes | None]:
    if field.name not in _OPTIONAL and field.name != "flags":
        return values, status
    empty = status == st.EMPTY
    if not empty.any():
        return values, status
    values, status = np.array(values), status.copy()
    values[empty] = 0 if field.name == "flags" else UNDEFINED
    status[empty] = st.OK
    return values, status if status.any() else None


def _refuse_negative(values: BatchColumn, status: Bytes | None, as_what: int) -> Bytes | None:
    if not len(values) or values.min() >= 0:
        return status
    negative = values < 0
    status = np.zeros(len(values), np.uint8) if status is None else status
    status[negative & (status == st.OK)] = as_what
    return status


def _without_cancels(
    made: dict[str, BatchColumn], defects: list[tuple[Field, Bytes]]
) -> list[tuple[Field, Bytes]]:
    """Let rows pass that cancel a trade: they name it, and need no price or size."""
    cancels = action_codes(made["action"]) == CANCEL
    left = []
    for field, found in defects:
        status = found
        if field.name in _NOT_OF_CANCELS:
            empty = cancels & (status == st.EMPTY)
            made[field.name] = np.where(empty, UNDEFINED, made[field.name])
            status = np.where(empty, st.OK, status).astype(status.dtype)
        if status.any():
            left.append((field, status))
    return left


def _empty_sides(made: dict[str, BatchColumn]) -> None:
    # A side without a price is empty; its size means nothing.
    for side in ("bid", "ask"):
        price, size = made.get(f"{side}_price"), made.get(f"{side}_size")
        if price is None or size is None or not len(price) or price.max() != UNDEFINED:
            continue
        empty = price == UNDEFINED
        made[f"{side}_size"] = np.where(empty, UNDEFINED, size)
