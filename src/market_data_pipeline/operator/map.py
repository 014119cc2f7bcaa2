"""Apply a function to rows, batches or Polars frames."""

from __future__ import annotations

__all__ = ("Map",)

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.frames import polars
from market_data_pipeline.operator.mapping import BatchMapping, RowMapping, field_of_word
from market_data_pipeline.operator.ordered import ordered_results
from market_data_pipeline.operator.predicates import Unit
from market_data_pipeline.operator.rows import CHUNK_ROWS
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema

Word = Literal["int", "float", "bool", "decimal", "text", "time", "symbol", "letter"]


@component("map")
class Map:
    """Apply a function, plain or `async`.

    On rows, the function is given one row and returns `row.replace(price=...)`, or a
    mapping of only the columns it changes or adds, or None to drop the row (counted as
    `filtered`). Prices and sizes are `Decimal`; what is returned for them is rounded half
    to even at their scale, floats are refused. The first row kept tells which columns are
    added and their types (int, float, str, bool, Decimal); name them in `columns` where it
    cannot.

    On batches, it is given a `Batch` and returns one, or None. On frames, it is given a
    Polars `DataFrame` with prices and sizes as Decimal(38, 9), times as Datetime and
    symbols as strings, and returns one; the column `__row__` in it tells the engine which
    row is which and may be left out if no row is. Such a function sees rows as they were
    cut into batches, so let it look at each row by itself.

    Backpressure: takes no rows while a channel behind it is full, nor while calls of an
    `async` function are under way.

    Lateness: none of its own; a row keeps the watermark it had, also if its event time is
    changed.

    Delivery: every row once, in order.

    Memory: none is kept from one batch to the next.

    Attributes:
        fn: The function.
        on: What it is given.
        columns: Types of the columns a function on rows adds: int, float, bool, decimal,
            text, time, symbol or letter.
        concurrency: Calls of an `async` function on rows that may be under way at a time.
    """

    fn: Callable[..., Any]
    on: Unit = "rows"
    columns: dict[str, Word] | None = None
    concurrency: int = Field(default=1, ge=1)

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            ConfigError: If `columns` is given for a function that is not on rows.
            MissingDependencyError: If frames are asked for without Polars.
        """
        if self.columns is not None and self.on != "rows":
            msg = f"`columns` of `map` is for functions on rows, `on` was `{self.on}`"
            raise ConfigError(msg, parameter="columns")
        if self.on == "frames":
            polars()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns where they are declared; else they are told by the rows."""
        if self.columns is None:
            return {"out": None}
        added = (field_of_word(name, word) for name, word in self.columns.items())
        return {"out": schema.having(*(field for field in added if field.name not in schema))}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return all columns: what a function reads is its own affair."""
        return None

    def build(self, context: NodeContext) -> MapOperator | AsyncMapOperator | RowMapOperator:
        """Make the running half."""
        if inspect.iscoroutinefunction(self.fn):
            return AsyncMapOperator(self, context)
        if self.on == "rows":
            return RowMapOperator(self.fn, context, self.columns)
        return MapOperator(self, context)


class RowMapOperator(RowMapping):
    """The running half of `Map` on rows."""

    def process(self, batch: Batch) -> Outputs:
        """Return what the function makes of the rows."""
        rows = len(batch)
        if rows <= CHUNK_ROWS:
            return self.outputs_of(batch, self.changes(batch)) if rows else ()
        made: list[Batch] = []
        for start in range(0, rows, CHUNK_ROWS):
            part = batch.slice(start, min(rows, start + CHUNK_ROWS))
            made += (out for _, out in self.outputs_of(part, self.changes(part)))
        return (("out", Batch.concat(made)),) if made else ()


class MapOperator(Stateless):
    """The running half of `Map` on batches or frames."""

    def __init__(self, settings: Map, context: NodeContext) -> None:
        self._fn = settings.fn
        self._mapping = BatchMapping(context, frames=settings.on == "frames")

    def process(self, batch: Batch) -> Outputs:
        """Return what the function makes of the batch."""
        if not len(batch):
            return ()
        return self._mapping.outputs_of(batch, self._fn(self._mapping.argument(batch)))


class AsyncMapOperator(RowMapping):
    """The running half of `Map` with an `async` function."""

    def __init__(self, settings: Map, context: NodeContext) -> None:
        super().__init__(settings.fn, context, settings.columns)
        self._concurrency = settings.concurrency
        self._mapping: BatchMapping | None = None
        if settings.on != "rows":
            self._mapping = BatchMapping(context, frames=settings.on == "frames")

    async def process(self, batch: Batch) -> Outputs:
        """Return what the function makes of the rows, in their order."""
        if not len(batch):
            return ()
        if self._mapping is not None:
            result = await self.check.fn(self._mapping.argument(batch))
            return self._mapping.outputs_of(batch, result)
        results = await ordered_results(
            *(self.check.fn, self.check.rows(batch), self._concurrency),
            lambda position: self.check.place(batch, position),
        )
        return self.outputs_of(batch, [self.change(result) for result in results])
