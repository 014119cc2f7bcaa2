"""Keep some columns."""

from __future__ import annotations

__all__ = ("Select",)

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema


@component("select")
class Select:
    """Keep some columns, in the order they are named.

    Sources that can, such as Parquet files, do not even read the others. The event time
    must be among them: the nodes behind cannot do without.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once.

    Memory: none.

    Attributes:
        columns: The columns to keep.
    """

    columns: list[str]

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse a selection of nothing, or of a column twice.

        Raises:
            ConfigError: If `columns` is empty or names a column twice.
        """
        if not self.columns:
            msg = "`columns` of `select` must name at least one column"
            raise ConfigError(msg, parameter="columns")
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            msg = f"`columns` of `select` names `{twice[0]}` twice"
            raise ConfigError(msg, parameter="columns")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns kept.

        Raises:
            SchemaError: If one is not there, or the event time is not among them.
        """
        return {"out": self._selected(schema)}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns kept, as far as somebody wants them."""
        kept = frozenset(self.columns)
        return kept if wanted is None else kept & wanted

    def build(self, context: NodeContext) -> SelectOperator:  # noqa: ARG002
        """Make the running half."""
        return SelectOperator(self)

    def _selected(self, schema: Schema) -> Schema:
        check_columns(schema, self.columns, "select")
        if schema.time and schema.time not in self.columns:
            msg = (
                f"`select` leaves out `{schema.time}`, the event time; "
                f"add it to `columns`, and leave it out where the rows are written"
            )
            raise SchemaError(msg, node="select")
        return replace(schema, fields=tuple(schema[name] for name in self.columns))


class SelectOperator(Stateless):
    """The running half of `Select`."""

    def __init__(self, settings: Select) -> None:
        self._settings = settings
        self._input: Schema | None = None
        self._output: Schema | None = None

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with the columns to keep."""
        if not len(batch):
            return ()
        if batch.schema is not self._input or self._output is None:
            self._input = batch.schema
            there = [name for name in self._settings.columns if name in batch.schema]
            fields = tuple(batch.schema[name] for name in there)
            self._output = replace(batch.schema, fields=fields)
        columns = {name: batch.columns[name] for name in self._output.names}
        return (("out", Batch(self._output, columns, batch.symbols, batch.progress)),)
