"""Every join gives the same rows however the two sides come, are cut, stopped and restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import JoinNode
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.operator.interval_join import IntervalJoin
from market_data_pipeline.operator.trades_with_quotes import TradesWithQuotes
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_join
from support.operator_batches import ROW, batches_of, with_progress

_LEFT = ROW.having(Field("ts_recv", Kind.TIME), Field("venue", Kind.INT))
_RIGHT = Schema(
    "quote",
    (
        *_LEFT.fields,
        Field("bid_price", Kind.FIXED, 9),
        Field("ask_price", Kind.FIXED, 9),
        Field("spread", Kind.FLOAT),
        Field("firm", Kind.BOOL),
    ),
)

JOINS: dict[str, Callable[[], JoinNode]] = {
    "as of": AsofJoin,
    "as of, strictly before": lambda: AsofJoin(strict=True, tolerance="9ns"),
    "as of, inner": lambda: AsofJoin(tolerance="2ns", how="inner"),
    "as of, after": lambda: AsofJoin(direction="forward", tolerance="12ns"),
    "as of, strictly after": lambda: AsofJoin(direction="forward", tolerance="5ns", strict=True),
    "as of, nearest": lambda: AsofJoin(direction="nearest", tolerance="7ns"),
    "as of, nearest but not equal": lambda: AsofJoin(
        direction="nearest", tolerance="0ns", strict=True, by=[]
    ),
    "as of, without key": lambda: AsofJoin([], columns=["price"]),
    "as of, by number": lambda: AsofJoin(["venue"]),
    "as of, by text and symbol": lambda: AsofJoin(["note", "symbol"], tolerance="30ns"),
    "as known": lambda: AsofJoin(on="ts_recv"),
    "as known, looking ahead": lambda: AsofJoin(on="ts_recv", look_ahead=True, how="inner"),
    "as known, after": lambda: AsofJoin(on="ts_recv", direction="forward", tolerance="4ns"),
    "trades with quotes": TradesWithQuotes,
    "trades with both sides of quotes": lambda: TradesWithQuotes(each_side=True, tolerance="8ns"),
    "as of, after, with values carried": lambda: AsofJoin(
        direction="forward", tolerance="4ns", carry=["price", "size"], columns=["price", "size"]
    ),
    "interval": lambda: IntervalJoin("-6ns", "3ns"),
    "interval, left": lambda: IntervalJoin("0s", "0s", by=["note"], how="left"),
    "interval after, without key": lambda: IntervalJoin("4ns", "6ns", by=[], columns=["firm"]),
    "interval before": lambda: IntervalJoin("-30ns", "-9ns", by=["venue", "symbol"]),
}


def _side(
    rng: np.random.Generator, rows: int, schema: Schema, symbols: SymbolTable
) -> list[Batch]:
    times = np.arange(rows) * 2 + rng.integers(-20, 20, rows)
    received = times + rng.integers(-1, 12, rows)
    received[rng.random(rows) < 0.03] = UNDEFINED
    columns: dict[str, Any] = {
        "ts_event": times,
        "ts_recv": received,
        "symbol": rng.integers(0, 3, rows),
        "price": rng.integers(1, 50, rows) * 250_000_000,
        "size": rng.integers(0, 10, rows),
        "sequence": np.arange(rows),
        "venue": rng.integers(-1, 2, rows),
        "note": [None if i == 0 else f"n{i}" for i in rng.integers(0, 3, rows).tolist()],
        "bid_price": np.where(rng.random(rows) < 0.4, UNDEFINED, rng.integers(1, 50, rows)),
        "ask_price": np.where(rng.random(rows) < 0.4, UNDEFINED, rng.integers(1, 50, rows)),
        "spread": rng.random(rows),
        "firm": rng.random(rows) < 0.5,
    }
    plain = batches_of(columns, schema=schema, cuts=rng.integers(0, rows, 6).tolist())
    return with_progress([Batch(b.schema, b.columns, symbols) for b in plain], 15)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", JOINS)
def test_join_is_what_the_engine_needs(name: str, seed: int) -> None:
    """Cuts, order of the sides and restarts change nothing; all rows are accounted for."""
    rng = np.random.default_rng(seed)
    symbols = SymbolTable(["AAA", "BBB", "CCC"])
    left = _side(rng, 90, _LEFT, symbols)
    right = _side(rng, 120 if seed != 2 else 40, _RIGHT, symbols)
    check_join(JOINS[name], left, right)
