"""Batches for tests of operators: a few symbols, disorder, duplicates, undefined prices."""

from __future__ import annotations

__all__ = ("ROW", "batches_of", "random_batches", "with_progress")

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.records import TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

ROW = TRADE.only(("ts_event", "symbol", "price", "size", "side", "sequence")).having(
    Field("note", Kind.ARROW, arrow=pa.string())
)
"""Trades with a text column."""


def with_progress(batches: Sequence[Batch], bound: int) -> list[Batch]:
    """Return consecutive batches with the watermarks a source with this bound gives them."""
    highest, done = TIME_MIN + bound, []
    for batch in batches:
        after = max(highest, int(batch.times.max())) if len(batch) else highest
        done.append(batch.with_progress(Progress(highest, bound, after - bound)))
        highest = after
    return done


def batches_of(
    columns: Mapping[str, Sequence[Any]],
    *,
    cuts: Sequence[int] = (),
    bound: int = 0,
    schema: Schema = ROW,
) -> list[Batch]:
    """Return rows as batches, cut at some positions; columns left out get a plain value."""
    symbols = SymbolTable(["AAA", "BBB", "CCC"])
    rows = len(columns["ts_event"])
    made: dict[str, Any] = {}
    for field in schema:
        values = columns.get(field.name)
        if field.kind is Kind.ARROW:
            made[field.name] = pa.array(values or ["note"] * rows, field.arrow)
        elif values is None:
            made[field.name] = np.zeros(rows, field.dtype)
        else:
            made[field.name] = np.array(values, field.dtype)
    whole = Batch.from_columns(schema, made, symbols)
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < rows), rows]
    parts = [whole.slice(a, b) for a, b in pairwise(edges) if b > a]
    return with_progress(parts, bound)


def random_batches(seed: int = 1, rows: int = 120, bound: int = 15) -> list[Batch]:
    """Return rows with disorder beyond the bound, keys that come again, undefined prices."""
    rng = np.random.default_rng(seed)
    price = rng.integers(1, 50, rows) * 250_000_000
    price[rng.random(rows) < 0.05] = UNDEFINED
    columns: dict[str, Any] = {
        "ts_event": np.arange(rows) * 2 + rng.integers(-20, 20, rows),
        "symbol": rng.integers(0, 3, rows),
        "price": price,
        "size": rng.integers(0, 10, rows) * 1_000_000_000,
        "side": rng.choice(np.frombuffer(b"BAN", np.uint8), rows),
        "sequence": rng.integers(0, 25, rows),
        "note": [None if i % 7 == 0 else f"n{i % 5}" for i in rng.integers(0, 50, rows).tolist()],
    }
    return batches_of(columns, cuts=rng.integers(0, rows, 8).tolist(), bound=bound)
