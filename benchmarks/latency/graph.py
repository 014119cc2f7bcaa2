"""The engine between a socket and a sink that looks at the clock."""

from __future__ import annotations

__all__ = ("GraphLatency",)

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

import market_data_pipeline as mdp
from benchmarks.latency.producer import ROW, SYMBOLS
from benchmarks.latency.task import LEAST_SIZE, Arrivals, LatencyTask
from benchmarks.ticks import symbol_names
from market_data_pipeline.batch import Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext

_SCHEMA = mdp.TRADE.only(("ts_event", "symbol", "price", "size", "trade_id"))


@component("feed")
class Feed:
    """Reads rows from a socket as they come.

    Attributes:
        reading: The socket.
    """

    reading: Any

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> mdp.Schema:
        """Return the columns."""
        return _SCHEMA

    async def open(self, context: NodeContext) -> _FeedReader:
        """Start."""
        return _FeedReader(*await asyncio.open_connection(sock=self.reading), context)


class _FeedReader:
    def __init__(
        self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter, context: NodeContext
    ) -> None:
        self.schema = _SCHEMA
        self._stream = stream
        self._writer = writer
        self._symbols = context.symbols
        self._symbols.encode(symbol_names(SYMBOLS))
        self._account = context.account
        self._rest = b""
        self._highest = -(2**63)

    async def read(self) -> Sequence[tuple[str, mdp.Batch]] | None:
        """Return what has come since the last call, waiting for at least a row."""
        while True:
            data = await self._stream.read(65_536)
            if not data:
                return None
            if self._rest:
                data = self._rest + data
            count = len(data) // ROW.itemsize
            self._rest = data[count * ROW.itemsize :]
            if count:
                return (("out", self._batch(data, count)),)

    def _batch(self, data: bytes, count: int) -> mdp.Batch:
        rows = np.frombuffer(data, np.int64, count * 5).reshape(count, 5).T.copy()
        times, codes, prices, sizes, trade_ids = rows
        before = self._highest
        # The feed counts its rows in order.
        self._highest = int(times[-1])
        self._account.rows_in += count
        columns = {
            "ts_event": times,
            "symbol": codes.astype(np.int32),
            "price": prices,
            "size": sizes,
            "trade_id": trade_ids,
        }
        progress = Progress(before, 0, self._highest)
        return mdp.Batch(_SCHEMA, columns, self._symbols, progress)

    def fraction(self) -> float | None:
        """Return nothing: a feed does not know its end."""
        return None

    async def close(self) -> None:
        """Close the socket."""
        self._writer.close()


@component("stopwatch")
class Stopwatch:
    """A sink that notes when rows came.

    Attributes:
        stored: Where it notes them: pairs of trade ids and latencies.
    """

    stored: Any

    def check(self) -> None:
        """Do nothing."""

    async def open(self, context: NodeContext, schema: mdp.Schema | None) -> _StopwatchWriter:
        """Start."""
        del schema
        return _StopwatchWriter(self.stored, context)

    def read(self) -> pa.Table:
        """Return nothing."""
        return pa.table({})


class _StopwatchWriter:
    def __init__(self, stored: list[Any], context: NodeContext) -> None:
        self._stored = stored
        self._account = context.account

    async def write(self, batch: mdp.Batch) -> None:
        """Note the rows."""
        now = time.monotonic_ns()
        self._stored.append((batch["trade_id"], now - batch["ts_event"]))
        self._account.rows_out += len(batch)

    async def finish(self) -> None:
        """Do nothing."""

    async def abort(self) -> None:
        """Do nothing."""


class GraphLatency(LatencyTask):
    """The engine."""

    def serve(self, reading: socket.socket) -> Arrivals:
        """Run the graph."""
        sink = Stopwatch([])
        dag = mdp.Dag("latency")
        clean = dag.source(Feed(reading)).dedupe(["symbol", "trade_id"], ttl="1s")
        clean.filter(f"size >= {LEAST_SIZE}").sink(sink)
        mdp.run(dag)
        ids, latencies = zip(*sink.stored, strict=True)
        self.batches = len(ids)
        return Arrivals(np.concatenate(ids), np.concatenate(latencies))

    def figures(self, answer: Any) -> dict[str, Any]:
        """Return the rows of a batch, too."""
        return {**super().figures(answer), "rows_per_batch": len(answer.latencies) / self.batches}
