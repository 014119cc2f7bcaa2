"""Add columns computed from others."""

from __future__ import annotations

__all__ = ("Assign",)

from collections.abc import Mapping
from typing import ClassVar

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.compaction import with_own_progress
from market_data_pipeline.operator.expression import BoundExpression, Expression
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Kind, Schema


@component("assign")
class Assign:
    """Add columns computed from others, or replace columns.

    An expression sees the columns as they come in, not those assigned beside it.
    Arithmetic on prices and sizes is exact: see `Expression` for what can be written.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once.

    Memory: none.

    Attributes:
        columns: Names of the columns to their expressions, such as
            `{notional: price * size}`.
    """

    columns: dict[str, str]

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what is no expression.

        Raises:
            ConfigError: If there are no columns, or an expression cannot be read.
        """
        if not self.columns:
            msg = "`columns` of `assign` must name at least one column"
            raise ConfigError(msg, parameter="columns")
        self.expressions()

    def expressions(self) -> dict[str, Expression]:
        """Return the expressions by the name of their column."""
        return {name: Expression(text, f"columns.{name}") for name, text in self.columns.items()}

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns with those assigned.

        Raises:
            SchemaError: If an expression does not fit the columns.
        """
        return {"out": _assigned(schema, bound_expressions(self.expressions(), schema))}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns the expressions read, and those that pass through."""
        if wanted is None:
            return None
        read = [e.names for name, e in self.expressions().items() if name in wanted]
        return (wanted - self.columns.keys()).union(*read)

    def build(self, context: NodeContext) -> AssignOperator:
        """Make the running half."""
        return AssignOperator(self, context)


class AssignOperator(Stateless):
    """The running half of `Assign`."""

    def __init__(self, settings: Assign, context: NodeContext) -> None:
        self._expressions = settings.expressions()
        self._node = context.node
        self._input: Schema | None = None
        self._output: Schema | None = None
        self._bound: dict[str, BoundExpression] = {}

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with the columns assigned."""
        if not len(batch):
            return ()
        if batch.schema is not self._input or self._output is None:
            # Columns nobody behind reads may not have been read at all.
            there = {
                n: e for n, e in self._expressions.items() if e.names <= {*batch.schema.names}
            }
            self._bound = bound_expressions(there, batch.schema, self._node)
            self._input, self._output = batch.schema, _assigned(batch.schema, self._bound)
        columns = dict(batch.columns)
        columns.update((name, bound.evaluate(batch)) for name, bound in self._bound.items())
        progress = batch.progress
        if batch.schema.time in self._bound:
            progress = with_own_progress(batch)
        return (("out", Batch(self._output, columns, batch.symbols, progress)),)


def bound_expressions(
    expressions: Mapping[str, Expression], schema: Schema, node: str = "assign"
) -> dict[str, BoundExpression]:
    """Return the expressions over the columns of a schema.

    Raises:
        SchemaError: If one does not fit, or would make the event time no time.
    """
    bound = {name: expression.bind(schema, node) for name, expression in expressions.items()}
    if schema.time in bound and bound[schema.time].kind is not Kind.TIME:
        msg = f"`{node}` assigns `{schema.time}`, the event time, what is no time"
        raise SchemaError(msg, node=node)
    return bound


def _assigned(schema: Schema, bound: Mapping[str, BoundExpression]) -> Schema:
    return schema.having(*(expression.field(name) for name, expression in bound.items()))
