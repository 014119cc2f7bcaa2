"""Say of each trade which figures of a bar it may update, by its sale conditions."""

from __future__ import annotations

__all__ = ("Conditions", "ConditionsOperator")

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.condition_tables import ALL, NONE, table_of
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema

_UPDATES: Final = Field("updates", Kind.INT)
_MARKS: Final = {"lean_us_equity": "flags"}
_UNKNOWN: Final = 8
# Conditions are few; a column of free text must not fill the memory.
_REMEMBERED: Final = 65_536
# For fewer rows it costs more to find out which are equal than to look at each.
_FEW: Final = 16


@component("conditions")
class Conditions:
    """Say of each trade which figures of a bar it may update, by its sale conditions.

    On a consolidated tape not every trade counts for everything: one after hours adds to
    the volume but sets no price, an average price is no high. The column `updates` is the
    sum of 1 for volume, number of trades and vwap, 2 for high and low, 4 for open and
    close; `bars` acts on it. Of several conditions on one row the most restrictive wins.
    No condition is a regular trade. A row that is marked as suspicious updates nothing.

    Built-in tables: `us_equity`, letters of both tapes' sale conditions (a `B`, which the
    tapes use for different things, counts for volume only); `us_equity_cts` and
    `us_equity_utp`, those of one tape; `lean_us_equity`, the mask in tick files of the
    LEAN engine, with `flags` as the mark. They follow the rules for consolidated high,
    low, last and volume of the CTS and UTP specifications as they are today; odd lots
    were not on the tapes before December 2013, and until July 2015 stock-option trades
    set prices.

    A table of one's own is a mapping of codes to words, as `{"@": all, "T": volume,
    "W": [volume, high_low]}`, or the path of a CSV file with the columns `code`,
    `volume`, `high_low`, `open_close`. If all its codes are single letters, each letter of
    a row's text is a condition; else they stand apart by spaces or commas.

    A condition that the table does not have takes nothing away, and the row is counted as
    `unknown_condition` beside the account. With `unknown: reject` such rows go to the
    output `unknown` and are counted under that word.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once, in order.

    Memory: the table, and what was found for up to 65,536 different conditions.

    Attributes:
        table: Name of a built-in table, a mapping, or the path of a CSV file.
        column: The column of conditions: text, letters, numbers, or lists of them.
        suspicious: A column that is true or not 0 for rows that are not to be trusted; the
            column `suspicious` if there is one, unless another is named.
        unknown: What is done with rows of conditions that are not in the table.
        bits: The codes of a table of one's own are bits, in hexadecimal, of a number.
    """

    table: str | dict[str, str | int | list[str]] = "us_equity"
    column: str = "condition"
    suspicious: str | None = None
    unknown: Literal["keep", "reject"] = "keep"
    bits: bool = False

    outputs: ClassVar[tuple[str, ...]] = ("out", "unknown")
    side_outputs: ClassVar[tuple[str, ...]] = ("unknown",)

    def __post_init__(self) -> None:
        """Refuse what is no table.

        Raises:
            ConfigError: If there is none of the name, or it cannot be understood.
        """
        table_of(self.table, bits=self.bits)

    @property
    def mark(self) -> str:
        """The column of suspicious rows; it need be there only if it was named."""
        if self.suspicious is not None:
            return self.suspicious
        return (
            _MARKS.get(self.table, "suspicious") if isinstance(self.table, str) else "suspicious"
        )

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns with `updates`; rows that are refused are as they came.

        Raises:
            SchemaError: If a column is missing or cannot hold what it should.
        """
        named = [] if self.suspicious is None else [self.suspicious]
        check_columns(schema, [self.column, *named], "conditions")
        if not _holds_conditions(schema[self.column]):
            msg = (
                f"`conditions` reads text, letters, numbers or lists of them, and "
                f"`{self.column}` is {schema[self.column]}"
            )
            raise SchemaError(msg, node="conditions")
        if self.mark in schema and not _holds_mark(schema[self.mark]):
            msg = (
                f"`conditions` takes a mark that is true, false or a number, and "
                f"`{self.mark}` is {schema[self.mark]}"
            )
            raise SchemaError(msg, node="conditions")
        return {"out": schema.having(_UPDATES), "unknown": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted, the conditions and the mark."""
        if wanted is None:
            return None
        return (wanted - {_UPDATES.name}) | {self.column, self.mark}

    def build(self, context: NodeContext) -> ConditionsOperator:
        """Make the running half."""
        return ConditionsOperator(self, context)


class ConditionsOperator(Stateless):
    """The running half of `Conditions`."""

    def __init__(self, settings: Conditions, context: NodeContext) -> None:
        self._table = table_of(settings.table, bits=settings.bits)
        self._column = settings.column
        self._mark = settings.mark
        self._rejects = settings.unknown == "reject"
        self._is_read = context.is_read("unknown")
        self._account = context.account
        self._known: dict[Any, int] = {}
        self._input: Schema | None = None
        self._output: Schema | None = None

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with what they update, and those refused."""
        rows = len(batch)
        if not rows:
            return ()
        found = self._found(batch)
        unknown = found >= _UNKNOWN
        count = int(np.count_nonzero(unknown))
        if count:
            found = found & ALL
        if self._mark in batch.schema:
            found = np.where(_marked(batch, self._mark), NONE, found)
        full = self._with_column(batch, found)
        if not count:
            return (("out", full),)
        if not self._rejects:
            self._account.mark("unknown_condition", count)
            return (("out", full),)
        self._account.add("unknown", count)
        if count == rows:
            return (("unknown", batch),)
        out = ("out", keep_rows(full, ~unknown, rows - count))
        if not self._is_read:
            return (out,)
        return (out, ("unknown", keep_rows(batch, unknown, count)))

    def _with_column(self, batch: Batch, found: npt.NDArray[np.int64]) -> Batch:
        if batch.schema is not self._input or self._output is None:
            self._input, self._output = batch.schema, batch.schema.having(_UPDATES)
        columns = {**batch.columns, _UPDATES.name: found}
        return Batch(self._output, columns, batch.symbols, batch.progress)

    def _found(self, batch: Batch) -> npt.NDArray[np.int64]:
        """Return what each row updates, and `_UNKNOWN` more if a condition is not known."""
        column = batch[self._column]
        kind = batch.schema[self._column].kind
        if kind is Kind.ARROW and pa.types.is_nested(column.type):
            return self._of_lists(column)
        if kind is Kind.ARROW:
            return self._of_values(column, lambda value: value)
        if kind is Kind.CHAR:
            return self._of_values(pa.array(column), lambda value: chr(value) if value else None)
        return self._of_values(
            pa.array(column), lambda value: None if value == UNDEFINED else value
        )

    def _of_values(self, values: Any, plain: Any) -> npt.NDArray[np.int64]:
        if pa.types.is_null(values.type):
            return np.full(len(values), ALL, np.int64)
        if len(values) <= _FEW:
            return np.array([self._updates(plain(v)) for v in values.to_pylist()], np.int64)
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        updates = [self._updates(plain(value)) for value in values.dictionary.to_pylist()]
        # A null has no place in the dictionary: it takes the last.
        table = np.array([*updates, ALL], np.int64)
        places = values.indices.fill_null(len(updates)) if values.null_count else values.indices
        result: npt.NDArray[np.int64] = table[places.to_numpy()]
        return result

    def _of_lists(self, lists: Any) -> npt.NDArray[np.int64]:
        each = self._of_values(lists.flatten(), lambda value: value)
        sizes = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        result = np.full(len(lists), ALL, np.int64)
        filled = np.flatnonzero(sizes)
        if len(filled):
            starts = (np.cumsum(sizes) - sizes)[filled]
            kept = np.bitwise_and.reduceat(each & ALL, starts)
            odd = np.bitwise_or.reduceat(each & _UNKNOWN, starts)
            result[filled] = kept | odd
        return result

    def _updates(self, value: str | int | None) -> int:
        found = self._known.get(value)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            updates, known = self._table.updates(value)
            found = self._known[value] = updates | (NONE if known else _UNKNOWN)
        return found


def _holds_conditions(field: Field) -> bool:
    if field.kind is not Kind.ARROW:
        return field.kind in {Kind.CHAR, Kind.INT}
    kind: Any = field.arrow
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        holds(kind)
        for holds in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_integer,
            pa.types.is_null,
        )
    )


def _holds_mark(field: Field) -> bool:
    if field.kind is Kind.ARROW:
        return bool(pa.types.is_boolean(field.arrow) or pa.types.is_integer(field.arrow))
    return field.kind in {Kind.BOOL, Kind.INT, Kind.CHAR}


def _marked(batch: Batch, name: str) -> npt.NDArray[np.bool_]:
    column = batch[name]
    if batch.schema[name].kind is Kind.ARROW:
        column = column.cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False)
    elif batch.schema[name].kind is Kind.INT:
        column = (column != 0) & (column != UNDEFINED)
    marked: npt.NDArray[np.bool_] = column.astype(np.bool_)
    return marked
