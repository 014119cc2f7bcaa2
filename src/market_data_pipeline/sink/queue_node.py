"""A sink object for bars as a node of a graph."""

from __future__ import annotations

__all__ = ("BarSink", "sink_node")

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SinkNode, SinkWriter
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import OutputError
from market_data_pipeline.objects import OBJECTS, awaited
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.bar_objects import bars_of, check_bars
from market_data_pipeline.sink.write_queue import Counters


def sink_node(sink: Any, *, batch_rows: int = 500) -> SinkNode:
    """Return a sink object as a node, to be given to a graph.

    Args:
        sink: A `StoreSink`, a `DatabaseSink`, a `KafkaSink`, or anything with `write(bars)`
            and `close(drain=True)`; what it has of `start`, `flush`, `counters` and
            `pressure` is used. The run starts and closes it.
        batch_rows: How many bars it is given at a time, at most.
    """
    return BarSink(sink, batch_rows)


@component("bar_sink")
class BarSink:
    """Hands bars to a sink object, as lists of `Bar`; other objects as they are.

    Backpressure: that of the object; where its queue is full and it blocks, so does this.

    Delivery: at least once.

    Attributes:
        sink: The object.
        batch_rows: How many bars it is given at a time, at most.
    """

    sink: Any
    batch_rows: Annotated[int, Field(ge=1)] = 500

    def check(self) -> None:
        """Do nothing: the object is looked at when it starts."""

    async def open(self, context: NodeContext, schema: Schema | None) -> SinkWriter:
        """Start the object.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            SchemaError: If the rows are no bars.
        """
        if schema is not None and schema != OBJECTS:
            check_bars(schema)
        start: Any = getattr(self.sink, "start", None)
        if callable(start):
            await awaited(start())
        if not callable(getattr(self.sink, "pressure", None)):
            return _BarWriter(self, context.account)
        return _PressedBarWriter(self, context.account)

    def read(self) -> pa.Table:
        """Refuse: what the object wrote lies where only its owner can read it.

        Raises:
            OutputError: Always.
        """
        msg = f"`{type(self.sink).__name__}` cannot be read back; look where it writes to"
        raise OutputError(msg)


class _BarWriter:
    """Keeps the account of a sink object, from its counters where it has some."""

    def __init__(self, settings: BarSink, account: Account) -> None:
        sink = self._sink = settings.sink
        self._batch_rows = settings.batch_rows
        self._account = account
        self._schema: Schema | None = None
        self._given = 0
        counters = getattr(sink, "counters", None)
        self._counters = counters if isinstance(counters, Counters) else None
        self._before = Counters(**self._counters.to_dict()) if self._counters else Counters()

    async def write(self, batch: Batch) -> None:
        if batch.schema is not self._schema:
            if batch.schema != OBJECTS:
                check_bars(batch.schema)
            self._schema = batch.schema
        for group in _groups(batch):
            await self._write(group)

    async def _write(self, group: Batch) -> None:
        self._account.held += len(group)
        if group.schema == OBJECTS:
            bars = list(group.columns["object"])
        else:
            bars = [bar for bar in bars_of(group) if bar is not None]
        empty = len(group) - len(bars)
        self._account.held -= empty
        self._account.add("rejected", empty)
        for start in range(0, len(bars), self._batch_rows):
            part = bars[start : start + self._batch_rows]
            await awaited(self._sink.write(part))
            self._given += len(part)
            self._settle()

    def _settle(self) -> None:
        """Move rows in the account to where they have come meanwhile."""
        account, now, before = self._account, self._counters, self._before
        if now is None:
            account.rows_out += self._given
            account.held -= self._given
            self._given = 0
            return
        kept = now.items_dead_lettered - before.items_dead_lettered
        ends = {
            "dropped": now.items_dropped - before.items_dropped,
            "rejected": kept,
            "failed": now.items_failed - before.items_failed - kept,
        }
        written = now.items_written - before.items_written
        account.rows_out += written
        for reason, rows in ends.items():
            account.add(reason, rows)
        account.held -= written + sum(ends.values())
        self._before = Counters(**now.to_dict())

    async def flush(self) -> None:
        flush: Any = getattr(self._sink, "flush", None)
        if flush is not None:
            try:
                await flush()
            finally:
                self._settle()

    async def finish(self) -> None:
        try:
            await awaited(self._sink.close(drain=True))
        finally:
            self._settle()

    async def abort(self) -> None:
        try:
            await awaited(self._sink.close(drain=False))
        finally:
            self._settle()


class _PressedBarWriter(_BarWriter):
    def pressure(self) -> Pressure:
        pressure: Pressure = self._sink.pressure()
        return pressure


def _groups(batch: Batch) -> list[Batch]:
    """Return objects by what is to be written together; of columns all is."""
    if batch.schema != OBJECTS:
        return [batch]
    ends = [*(np.flatnonzero(np.diff(batch.columns["group"])) + 1).tolist(), len(batch)]
    return [batch.slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]
