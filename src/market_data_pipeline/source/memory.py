"""Rows that are already in memory: data frames, Arrow tables, batches."""

from __future__ import annotations

__all__ = ("MemorySource",)

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import Field

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import CheckpointError, ColumnError, ConfigError
from market_data_pipeline.records import Schema
from market_data_pipeline.source.columns import Plan, plan_columns
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.feed import Given
from market_data_pipeline.source.progress import FeedProgress
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.source.rewinding import Standing
from market_data_pipeline.source.translation import Translation
from market_data_pipeline.symbols import SymbolTable

_PLACE: Final = "the table in memory"
_TABLE_ROWS: Final = 65_536


@component("memory")
class MemorySource:
    """Give rows that are in memory, in their order.

    Backpressure: waits.

    Delivery: every row once, each time the source is opened.

    Attributes:
        data: A Polars or pandas data frame, an Arrow table, or a list of `Batch` of one
            schema. Tables are read as files are: columns are found by their usual names,
            floats become exact decimals, and rows that cannot be taken go to `rejected`.
        out_of_order: The watermark is the highest event time seen minus this.
        batch_rows: Most rows in one batch; None for 65,536 of a table, and to leave batches
            as they are. The result does not depend on it.
        kind: What a row of a table is, where its columns do not say.
        symbol: Symbol of all rows of a table without symbols.
        columns: Our column names to the table's own, where they differ.
        timezone: Zone of a table's times that name none.
        strict: Fail on the first row that cannot be taken, instead of rejecting it.
        negative_prices: Take prices of a table that are below zero, as of spreads and power;
            they are rejected otherwise.
    """

    data: Any
    out_of_order: Duration = "0s"
    batch_rows: int | None = Field(default=None, ge=1)
    kind: Literal["trades", "quotes"] | None = None
    symbol: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    timezone: str = "UTC"
    strict: bool = False
    negative_prices: bool = False

    tuning: ClassVar[tuple[str, ...]] = ("batch_rows",)
    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    def __post_init__(self) -> None:
        """Refuse what holds no rows of market data.

        Raises:
            ConfigError: If `data` is neither a table nor a list of batches of one schema.
        """
        if _as_table(self.data) is not None:
            return
        if not isinstance(self.data, Sequence) or not all(isinstance(b, Batch) for b in self.data):
            msg = (
                f"`data` of `memory` must be a data frame, an Arrow table or a list of Batch, "
                f"was {type(self.data).__name__}"
            )
            raise ConfigError(msg, parameter="data")
        if not self.data or any(b.schema != self.data[0].schema for b in self.data):
            msg = "`data` of `memory` must be batches of one schema, and at least one"
            raise ConfigError(msg, parameter="data")

    def schema(self) -> Schema:
        """Return the columns of the rows.

        Raises:
            ColumnError: If a table lacks a column.
        """
        table = _as_table(self.data)
        schema: Schema = self.data[0].schema if table is None else self._plan(table, None).schema
        return schema

    async def open(self, context: NodeContext) -> _MemoryReader:
        """Start from the first row.

        Raises:
            ColumnError: If a table lacks a column.
        """
        table = _as_table(self.data)
        if table is None:
            rows = sum(len(batch) for batch in self.data)
            own = Translation(context.symbols).own
            steps = ((own(batch), None) for batch in _cut(self.data, self.batch_rows))
            return _MemoryReader(self, self.schema(), steps, rows, context)
        plan = self._plan(table, context.columns)
        converted = self._convert(table, plan, context.symbols)
        return _MemoryReader(self, plan.schema, converted, table.num_rows, context)

    def _options(self, wanted: frozenset[str] | None) -> ReadOptions:
        return ReadOptions(
            kind=self.kind,
            symbol=self.symbol,
            columns=self.columns,
            timezone=self.timezone,
            batch_rows=self.batch_rows or _TABLE_ROWS,
            strict=self.strict,
            wanted=wanted,
            negative_prices=self.negative_prices,
        )

    def _plan(self, table: pa.Table, wanted: frozenset[str] | None) -> Plan:
        options = self._options(wanted)
        plan = plan_columns(_PLACE, table.schema, options, default_symbol="")
        if not plan.symbol and "symbol" in plan.schema and "symbol" not in plan.sources:
            names = ", ".join(f"`{name}`" for name in table.column_names)
            msg = (
                f"no column is the `symbol` (columns: {names}); "
                f"say which rows these are with `symbol`"
            )
            raise ColumnError(msg, place=_PLACE)
        return plan

    def _convert(
        self, table: pa.Table, plan: Plan, symbols: SymbolTable
    ) -> Iterator[tuple[Batch, Batch | None]]:
        rejects = Rejects(_PLACE, strict=self.strict)
        converter = Converter(plan, self._options(None), symbols, rejects)
        first = 1
        for part in table.to_batches(max_chunksize=self.batch_rows or _TABLE_ROWS):
            columns = {name: part.column(name) for name in plan.read}
            batch = converter.convert(columns, part.num_rows, first)
            first += part.num_rows
            rejects.settle()
            yield batch, rejects.take(symbols)


class _MemoryReader:
    def __init__(
        self,
        settings: MemorySource,
        schema: Schema,
        steps: Iterator[tuple[Batch, Batch | None]],
        rows: int,
        context: NodeContext,
    ) -> None:
        self.schema = schema
        self._context = context
        self._progress = FeedProgress(duration_ns(settings.out_of_order))
        self._steps = steps
        self._rows = rows
        self._given = Standing.at(context.position)
        self._dropping = Standing.at(context.position)

    async def read(self) -> Outputs | None:
        """Return the next rows.

        Raises:
            CheckpointError: If there are fewer than were given before.
        """
        step = next(self._steps, None)
        if step is None:
            if not self._dropping.is_none:
                msg = (
                    f"there are {self._dropping.rows:,} rows less than when the checkpoint was "
                    "taken; begin anew with `--from-scratch`"
                )
                raise CheckpointError(msg)
            return None
        left = self._dropping.without(Given([self._progress.stamped(step[0])], 0, step[1], 0.0))
        account, outputs = self._context.account, []
        for item in left.items:
            if isinstance(item, Batch):
                account.rows_in += len(item)
                self._given.rows += len(item)
                outputs.append(("out", item))
        if left.rejected is not None:
            account.rows_in += len(left.rejected)
            account.add("rejected", len(left.rejected))
            self._given.rejected += len(left.rejected)
            outputs.append(("rejected", left.rejected))
        return outputs

    def position(self) -> Position:
        """Return what was given."""
        return self._given.position()

    def fraction(self) -> float | None:
        """Return how much was given."""
        given = self._given.rows + self._given.rejected
        return given / self._rows if self._rows else 1.0

    async def close(self) -> None:
        """Do nothing: the rows are the caller's."""


def _as_table(data: Any) -> pa.Table | None:
    """Return a data frame or table as an Arrow table, None for anything else."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    # Told by their modules, so that neither package need be installed.
    home = type(data).__module__.partition(".")[0]
    if home == "polars" and hasattr(data, "to_arrow"):
        return pa.table(data)
    if home == "pandas" and hasattr(data, "columns"):
        return pa.Table.from_pandas(data, preserve_index=False)
    return None


def _cut(batches: Iterable[Batch], rows: int | None) -> Iterator[Batch]:
    for batch in batches:
        if rows is None or len(batch) <= rows:
            yield batch
        else:
            for at in range(0, len(batch), rows):
                yield batch.slice(at, min(at + rows, len(batch)))
