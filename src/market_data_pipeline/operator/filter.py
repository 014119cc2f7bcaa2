"""Let rows pass for which a condition holds."""

from __future__ import annotations

__all__ = ("Filter",)

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.expression import Expression
from market_data_pipeline.operator.frames import polars
from market_data_pipeline.operator.ordered import ordered_results
from market_data_pipeline.operator.predicates import (
    Mask,
    RowCheck,
    Unit,
    argument_of,
    checked_mask,
    mask_maker,
)
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema


@component("filter")
class Filter:
    """Let rows pass for which a condition holds; the others are counted as `filtered`.

    The condition is an expression over the columns, such as
    `price > 0 and symbol in ['BTC', 'ETH']`, or a function, plain or `async`. On rows it is
    given one row and returns True or False; on batches, a `Batch`, and returns an array of
    truth values; on frames, a Polars frame, and returns a Series of them or an expression.
    An expression is as fast as the columns can be read; a function on rows costs about a
    microsecond a row.

    Backpressure: takes no rows while a channel behind it is full, nor while calls of an
    `async` function are under way.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row that passes once, in order.

    Memory: none is kept from one batch to the next.

    Attributes:
        where: The condition.
        on: What a function is given.
        concurrency: Calls of an `async` function on rows that may be under way at a time.
    """

    where: str | Callable[..., Any]
    on: Unit = "rows"
    concurrency: int = Field(default=1, ge=1)

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what is no condition.

        Raises:
            ConfigError: If the text is no expression, or is to be given frames or batches.
            MissingDependencyError: If frames are asked for without Polars.
        """
        if isinstance(self.where, str) and self.on != "rows":
            msg = f"`on` of `filter` is for functions; an expression needs no `on: {self.on}`"
            raise ConfigError(msg, parameter="on")
        if self.on == "frames":
            polars()
        self.condition()

    def condition(self) -> Expression | Callable[..., Any]:
        """Return the condition, the text as an expression."""
        return Expression(self.where, "where") if isinstance(self.where, str) else self.where

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come.

        Raises:
            SchemaError: If the expression does not fit them.
        """
        condition = self.condition()
        if isinstance(condition, Expression):
            condition.bind_condition(schema, "filter")
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted and those the expression reads; all for a function."""
        condition = self.condition()
        if wanted is None or not isinstance(condition, Expression):
            return None
        return wanted | condition.names

    def build(self, context: NodeContext) -> FilterOperator | AsyncFilterOperator:
        """Make the running half."""
        if inspect.iscoroutinefunction(self.where):
            return AsyncFilterOperator(self, context)
        return FilterOperator(self, context)


class FilterOperator(Stateless):
    """The running half of `Filter`."""

    def __init__(self, settings: Filter, context: NodeContext) -> None:
        self._mask = mask_maker(settings.condition(), settings.on, context.node)
        self._account = context.account

    def process(self, batch: Batch) -> Outputs:
        """Return the rows that pass."""
        if not len(batch):
            return ()
        mask = self._mask(batch)
        kept = int(np.count_nonzero(mask))
        self._account.add("filtered", len(batch) - kept)
        return (("out", keep_rows(batch, mask, kept)),) if kept else ()


class AsyncFilterOperator(Stateless):
    """The running half of `Filter` with an `async` function."""

    def __init__(self, settings: Filter, context: NodeContext) -> None:
        self._settings = settings
        where: Any = settings.where
        self._fn = where
        self._check = RowCheck(where, context.node)
        self._account = context.account

    async def process(self, batch: Batch) -> Outputs:
        """Return the rows that pass."""
        if not len(batch):
            return ()
        mask = await self._mask(batch)
        kept = int(np.count_nonzero(mask))
        self._account.add("filtered", len(batch) - kept)
        return (("out", keep_rows(batch, mask, kept)),) if kept else ()

    async def _mask(self, batch: Batch) -> Mask:
        unit, check = self._settings.on, self._check
        if unit != "rows":
            result = await self._fn(argument_of(batch, unit))
            return checked_mask(result, batch, unit, check.node)
        results = await ordered_results(
            *(self._fn, check.rows(batch), self._settings.concurrency),
            lambda position: check.place(batch, position),
        )
        mask = check.mask(batch, results)
        check.seen += len(batch)
        return mask
