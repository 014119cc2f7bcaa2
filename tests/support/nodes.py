"""Small nodes for tests of the engine: a scripted source, a sink that is slow or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.messages import Idle
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.records import TRADE, Schema
from market_data_pipeline.symbols import SymbolTable

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])
UNIT = 10**9


def trades(times: Sequence[int], symbols: SymbolTable, *, names: Sequence[str] = ("A",)) -> Batch:
    """Return trades at some times, of the names in turn, at the price of their place."""
    rows = len(times)
    columns = {
        "ts_event": np.array(times, np.int64),
        "symbol": symbols.encode(names[i % len(names)] for i in range(rows)),
        "price": np.arange(1, rows + 1, dtype=np.int64) * UNIT,
        "size": np.full(rows, UNIT, np.int64),
    }
    return Batch(SCHEMA, columns, symbols)


@component("scripted")
class ScriptedSource:
    """Gives a list of items: times of a batch, an exception to raise, or "wait".

    Attributes:
        items: What to give, in order.
        log: Where the source writes that it was closed.
    """

    items: Any
    log: Any = None

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema:
        return SCHEMA

    async def open(self, context: NodeContext) -> ScriptedReader:
        return ScriptedReader(self, context)


class ScriptedReader:
    def __init__(self, settings: ScriptedSource, context: NodeContext) -> None:
        self.schema = SCHEMA
        self._items = iter(settings.items)
        self._log = settings.log
        self._context = context
        self._highest = TIME_MIN

    async def read(self) -> Sequence[tuple[str, Batch | Idle]] | None:
        item: Any = next(self._items, None)
        if item is None:
            return None
        if isinstance(item, Exception):
            raise item
        if isinstance(item, str):
            await asyncio.get_running_loop().create_future()
            return None
        batch = trades(item, self._context.symbols)
        self._context.account.rows_in += len(batch)
        before, self._highest = self._highest, max(self._highest, *item)
        return (("out", batch.with_progress(Progress(before, 0, self._highest))),)

    def fraction(self) -> float | None:
        return None

    async def close(self) -> None:
        if self._log is not None:
            self._log.append("source closed")


@component("recording")
class RecordingSink:
    """Writes down what happens to it; can fail or be slow.

    Attributes:
        log: Where it writes.
        fail_at: Rows after which a write fails.
        turns: Turns of the loop that a write takes.
    """

    log: Any
    fail_at: int | None = None
    turns: int = 0

    def check(self) -> None:
        pass

    async def open(self, context: NodeContext, schema: Schema | None) -> RecordingWriter:
        return RecordingWriter(self, context)

    def read(self) -> pa.Table:
        return pa.table({})


class RecordingWriter:
    def __init__(self, settings: RecordingSink, context: NodeContext) -> None:
        self._settings = settings
        self._context = context
        self._rows = 0

    async def write(self, batch: Batch) -> None:
        for _ in range(self._settings.turns):
            await asyncio.sleep(0)
        self._rows += len(batch)
        if self._settings.fail_at is not None and self._rows >= self._settings.fail_at:
            msg = "the disk is on fire"
            raise OSError(msg)
        self._settings.log.append(batch.columns["symbol"].tolist())
        self._context.account.rows_out += len(batch)

    async def finish(self) -> None:
        self._settings.log.append("published")

    async def abort(self) -> None:
        self._settings.log.append("aborted")
