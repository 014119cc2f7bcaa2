"""Rows kept in memory, for notebooks and tests."""

from __future__ import annotations

__all__ = ("MemorySink",)

from typing import ClassVar, Final, final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows, Prices
from market_data_pipeline.sink.keyed import check_key, last_rows

_CHUNK_ROWS: Final = 1_048_576


@final
class _Collected:
    """What the last run delivered, shared by a sink and its writer."""

    def __init__(self) -> None:
        self.schema: Schema | None = None
        self.batches: list[Batch] = []


@final
class _MemoryWriter:
    def __init__(self, collected: _Collected, account: Account) -> None:
        self._collected = collected
        self._account = account

    async def write(self, batch: Batch) -> None:
        self._collected.batches.append(batch)
        self._account.rows_out += len(batch)

    async def finish(self) -> None:
        """Do nothing: rows in memory are visible at once."""

    async def abort(self) -> None:
        """Keep what came: after a failure it shows how far the run got."""


@component("memory")
class MemorySink:
    """Keeps rows in memory; `read` returns them as an Arrow table.

    A new run starts with an empty sink.

    Backpressure: never makes anyone wait; its memory grows with the rows.

    Delivery: every row once, visible at once, also those of a run that fails. What is in
    memory ends with the process, so a run that goes on from a checkpoint starts with an empty
    sink: in a run with checkpoints at least once.

    Attributes:
        prices: How `read` gives fixed-point columns: `float64`, or exact as `decimal`.
        key: Columns that tell rows apart, as `[symbol, ts_open]` for bars: of rows with the
            same key `read` gives only the last. All are kept.
    """

    prices: Prices = "float64"
    key: tuple[str, ...] = ()

    delivery: ClassVar[Delivery] = "at_least_once"

    def __post_init__(self) -> None:
        check_key(self.key)
        # Not a setting, so not a field.
        object.__setattr__(self, "_collected", _Collected())

    def _rows(self) -> _Collected:
        collected: _Collected = self.__dict__["_collected"]
        return collected

    def check(self) -> None:
        """Do nothing: memory is always there."""

    async def open(self, context: NodeContext, schema: Schema | None) -> _MemoryWriter:
        """Forget the rows of the run before.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.
        """
        collected = self._rows()
        collected.schema = schema
        collected.batches = []
        return _MemoryWriter(collected, context.account)

    def read(self) -> pa.Table:
        """Return the rows in the order they came; symbols are strings.

        Raises:
            SchemaError: If the rows do not have a column of `key`.
        """
        collected = self._rows()
        batches = collected.batches
        schema = batches[0].schema if batches else collected.schema
        if schema is None:
            return pa.table({})
        rows = ArrowRows(schema, prices=self.prices)
        tables = [rows.schema.empty_table()]
        chunk: list[Batch] = []
        chunk_rows = 0
        for batch in batches:
            chunk.append(batch)
            chunk_rows += len(batch)
            if chunk_rows >= _CHUNK_ROWS:
                tables.append(rows.table(chunk))
                chunk, chunk_rows = [], 0
        tables.append(rows.table(chunk))
        table = pa.concat_tables(tables)
        if self.key:
            check_key(self.key, schema)
            table = table.take(pa.array(last_rows(table, self.key)))
        return table
