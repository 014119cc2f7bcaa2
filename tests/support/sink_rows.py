"""Rows for the tests of sinks, and a way to write them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SinkNode
from market_data_pipeline.records import BAR, TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

SYMBOLS = SymbolTable(["EURUSD", "GC", "ÅÄÖ 1"])
START_NS = 1_700_000_000_123_456_789
NOTES = Field("note", Kind.ARROW, arrow=pa.string())


def bars(count: int, *, seed: int = 1) -> Batch:
    """Return bars whose every fifth has no vwap, and prices of either sign."""
    random = np.random.default_rng(seed)
    columns: dict[str, Column] = {}
    for field in BAR:
        if field.kind is Kind.TIME:
            columns[field.name] = START_NS + np.arange(count) * 1_000_000_000
        elif field.kind is Kind.SYMBOL:
            columns[field.name] = random.integers(0, len(SYMBOLS), count).astype(np.int32)
        elif field.kind is Kind.FIXED:
            columns[field.name] = random.integers(-(10**15), 10**15, count)
        elif field.kind is Kind.BOOL:
            columns[field.name] = np.ones(count, np.bool_)
        elif field.kind is Kind.FLOAT:
            columns[field.name] = random.random(count)
        elif field.kind is Kind.ARROW:
            one = "live" if field.name == "feed_state" else None
            columns[field.name] = pa.array([one] * count, field.arrow)
        else:
            columns[field.name] = random.integers(1, 1000, count)
    columns["missing_seq"][::7] = UNDEFINED
    columns["vwap"][::5] = UNDEFINED
    return Batch.from_columns(BAR, columns, SYMBOLS)


def trades(count: int, notes: Sequence[str | None] | None = None) -> Batch:
    """Return trades, with a column of text where `notes` are given."""
    schema: Schema = TRADE if notes is None else TRADE.having(NOTES)
    columns: dict[str, Column] = {
        "ts_event": START_NS + np.arange(count),
        "ts_recv": np.full(count, UNDEFINED, np.int64),
        "symbol": (np.arange(count) % len(SYMBOLS)).astype(np.int32),
        "price": np.arange(count) * 250_000_000 - 1_000_000_000,
        "size": np.full(count, 10**18 + 1, np.int64),
        "side": np.frombuffer((b"BAN\0" * count)[:count], np.uint8),
        "trade_id": np.arange(count),
        "sequence": np.arange(count),
        "flags": np.zeros(count, np.int64),
    }
    if notes is not None:
        columns["note"] = pa.array(notes, pa.string())
    return Batch.from_columns(schema, columns, SYMBOLS)


def context() -> NodeContext:
    """Return what a node is given when it is opened."""
    return NodeContext("store", SYMBOLS, Account("store"))


def write(sink: SinkNode, batches: Sequence[Batch], schema: Schema | None = None) -> Account:
    """Run a sink as the runtime does, and return its account at the end."""

    async def run() -> Account:
        sink.check()
        given = context()
        account = given.account
        writer = await sink.open(given, schema)
        try:
            for batch in batches:
                account.rows_in += len(batch)
                await writer.write(batch)
                assert account.unaccounted == 0
            await writer.finish()
        except BaseException:
            await writer.abort()
            assert account.unaccounted == 0
            raise
        assert account.unaccounted == 0
        return account

    return asyncio.run(run())
