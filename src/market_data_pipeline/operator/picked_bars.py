"""Bars of time of one price of quotes, or of one instrument."""

from __future__ import annotations

__all__ = ("PickedBars", "picked_schema")

from dataclasses import replace
from typing import Any, Final

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Operator, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.bar_rows import BarRows
from market_data_pipeline.operator.bar_spec import BarSpec, Price
from market_data_pipeline.records import UNDEFINED, Schema

_OF_THE_INPUT: Final = "input."
# What bars of time read of every kind of row.
_SHARED: Final = ("symbol", "missing", "updates", "trade_id", "action")


def picked_schema(rows: BarRows, schema: Schema) -> Schema:
    """Return the columns that bars of time are given for rows of a schema.

    They see trades; the columns that were renamed for this ride along, so that a late row
    leaves as it came.
    """
    picked = rows.schema
    fields = [picked["price"], picked["size"]]
    fields.extend(replace(field, name=_renamed(field.name, schema)) for field in schema)
    return replace(schema, name="trade", fields=tuple(fields), conflatable=False)


def _renamed(name: str, schema: Schema) -> str:
    return name if name in {*_SHARED, schema.time} else _OF_THE_INPUT + name


class PickedBars:
    """Picks rows and their price, and hands them to bars of time."""

    def __init__(self, spec: BarSpec, price: Price, inner: Operator, context: NodeContext) -> None:
        self._spec = spec
        self._price: Price = price
        self._inner = inner
        self._context = context
        self._input: Schema | None = None
        self._schema: Schema | None = None
        self._rows: BarRows | None = None

    def process(self, batch: Batch) -> Outputs:
        """Hand on the rows that have a price."""
        from market_data_pipeline.operator.compaction import keep_rows

        if batch.schema is not self._input:
            if batch.schema != self._input:
                self._rows = BarRows(self._spec, self._price, batch.schema)
                self._schema = picked_schema(self._rows, batch.schema)
            self._input = batch.schema
        rows = self._rows
        assert rows is not None  # noqa: S101  bound above
        assert self._schema is not None  # noqa: S101
        account = self._context.account
        chosen = rows.only(batch, account)
        picked = rows.pick(chosen)
        columns: dict[str, Any] = {"price": picked["price"], "size": picked["size"]}
        for name, column in chosen.columns.items():
            columns[_renamed(name, chosen.schema)] = column
        given = Batch(self._schema, columns, batch.symbols, batch.progress)
        given = given.with_progress(chosen.progress) if chosen.progress is not None else given
        known = (picked["price"] != UNDEFINED) | rows.cancels(chosen)
        count = int(np.count_nonzero(known))
        account.add("undefined", len(chosen) - count)
        given = keep_rows(given, known, count)
        if (given["size"] == UNDEFINED).any():
            sizes = np.where(given["size"] == UNDEFINED, 0, given["size"])
            given = given.with_columns([], {"size": sizes})
        return self._restored(self._inner.process(given))

    def _restored(self, outputs: Outputs) -> Outputs:
        """Give rows that come back the columns that they came with."""
        schema = self._input
        if schema is None:
            return outputs
        return [
            (port, batch if port == "out" else self._as_it_came(batch, schema))
            for port, batch in outputs
        ]

    @staticmethod
    def _as_it_came(batch: Batch, schema: Schema) -> Batch:
        columns = {name: batch.columns[_renamed(name, schema)] for name in schema.names}
        return Batch(schema, columns, batch.symbols, batch.progress)

    def status(self, status: Status) -> Outputs:
        """Hand on a state of the feed."""
        inner: Any = self._inner
        outputs: Outputs = inner.status(status) if hasattr(inner, "status") else ()
        return self._restored(outputs)

    def advance(self, watermark: int) -> Outputs:
        """Hand on event-time progress."""
        return self._restored(self._inner.advance(watermark))

    def finish(self) -> Outputs:
        """Hand on the end of input."""
        return self._restored(self._inner.finish())

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark of the bars."""
        return self._inner.output_watermark(watermark)

    def snapshot(self) -> Snapshot:
        """Return the state of the bars: nothing is held here."""
        return self._inner.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the state of the bars.

        Raises:
            SnapshotError: If it is no state of bars like these.
        """
        self._inner.restore(snapshot)
