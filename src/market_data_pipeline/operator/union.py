"""Merge streams of the same columns into one."""

from __future__ import annotations

__all__ = ("Union",)

from collections.abc import Mapping
from typing import ClassVar

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Schema


@component("union")
class Union:
    """Merge streams of the same columns into one.

    Where a node reads several streams, the runtime merges them by their watermarks, in an
    order that does not depend on which stream was faster. This operator adds nothing to
    that: it gives the merged stream a name.

    Backpressure: reads the input that is behind; the others wait in their channels, which
    fill up.

    Lateness: none of its own. The watermark is the least of the inputs that are neither idle
    nor at their end, so no input makes rows of another late.

    Delivery: every row of every input once.

    Memory: none.
    """

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come."""
        return {"out": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted of the output."""
        return wanted

    def build(self, context: NodeContext) -> UnionOperator:  # noqa: ARG002
        """Make the running half."""
        return UnionOperator()


class UnionOperator(Stateless):
    """The running half of `Union`."""

    def process(self, batch: Batch) -> Outputs:
        """Return the rows as they come."""
        return (("out", batch),) if len(batch) else ()
