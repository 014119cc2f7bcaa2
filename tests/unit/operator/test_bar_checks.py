"""Numbers that bars cannot be made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ArithmeticOverflowError, RecordError
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, UNDEFINED, Field, Kind
from market_data_pipeline.symbols import SymbolTable

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])
UPDATES = SCHEMA.having(Field("updates", Kind.INT))


def trades(prices: list[int], sizes: list[int], *, updates: bool = False) -> Batch:
    symbols = SymbolTable(["A", "B"])
    rows = len(prices)
    columns: dict[str, Any] = {
        "ts_event": np.arange(rows, dtype=np.int64) * 1_000,
        "symbol": (np.arange(rows) % 2).astype(np.int32),
        "price": np.array(prices, np.int64),
        "size": np.array(sizes, np.int64),
    }
    if updates:
        columns["updates"] = np.full(rows, 7, np.int64)
    schema = UPDATES if updates else SCHEMA
    return Batch(schema, columns, symbols, Progress(TIME_MIN, 0, 1_000 * rows - 1_000))


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize(
    ("prices", "sizes", "said"),
    [
        (
            [1, 2, UNDEFINED, 4],
            [1, 1, 1, 1],
            "`price` of row 2 of the batch \\(A, .*000002000Z\\) is undefined",
        ),
        (
            [1, 2, 3, 4],
            [1, 1, 1, -5],
            "`size` of row 3 of the batch \\(B, .*000003000Z\\) is negative",
        ),
        (
            [1, 2, 3, 4],
            [1, UNDEFINED, 1, 1],
            "`size` of row 1 of the batch \\(B, .*000001000Z\\) is undefined",
        ),
        ([UNDEFINED] * 4, [-1] * 4, "`price` of row 0 "),
    ],
)
def test_a_price_or_size_that_is_none_is_refused_with_its_row(
    prices: list[int], sizes: list[int], said: str, updates: bool
) -> None:
    """It says which column, row and node, whatever the windows."""
    for every, more in (("1us", 0), ("1s", 0), ("1s", 20), ("1us", 20)):
        rest = [1] * more
        batch = trades([*prices, *rest], [*sizes, *rest], updates=updates)
        operator = Bars(every).build(NodeContext("candles", batch.symbols))
        with pytest.raises(RecordError, match=said + ".*`candles` makes no bars of that"):
            operator.process(batch)


def test_a_volume_that_leaves_its_range_is_an_overflow() -> None:
    """Good sizes may be too many."""
    batch = trades([1] * 4, [UNDEFINED - 1] * 4)
    operator = Bars("1s").build(NodeContext("candles", batch.symbols))
    with pytest.raises(ArithmeticOverflowError, match="a volume or average of `candles`"):
        operator.process(batch)


def test_the_largest_price_and_volume_are_taken() -> None:
    """One unit below what stands for none."""
    most = UNDEFINED - 1
    batch = trades([most, -most - 1], [most, most])
    operator = Bars("1s").build(NodeContext("candles", batch.symbols))
    [(_, bars)] = [*operator.process(batch), *operator.finish()]
    assert bars["high"].tolist() == [most, -most - 1]
    assert bars["volume"].tolist() == [most, most]


@pytest.mark.parametrize(
    ("price", "size", "said"),
    [
        (UNDEFINED, 5, "`price` of row 2 .* is undefined"),
        (UNDEFINED, 0, "`price` of row 2 .* is undefined"),
        (3, UNDEFINED, "`size` of row 2 .* is undefined"),
        (3, -10, "`size` of row 2 .* is negative"),
    ],
)
def test_a_correction_to_no_number_is_refused_as_such(price: int, size: int, said: str) -> None:
    """It is told where it is, not what became of the bar's sums."""
    fields = ["ts_event", "symbol", "price", "size", "trade_id"]
    schema = TRADE.only(fields).having(Field("action", Kind.CHAR))
    symbols = SymbolTable(["A"])
    columns: dict[str, Any] = {
        "ts_event": np.arange(3, dtype=np.int64),
        "symbol": np.zeros(3, np.int32),
        "price": np.array([10, 20, price], np.int64),
        "size": np.array([1, 1, size], np.int64),
        "trade_id": np.array([1, 2, 2], np.int64),
        "action": np.frombuffer(b"NNR", np.uint8),
    }
    operator = Bars("1s").build(NodeContext("bars", symbols))
    with pytest.raises(RecordError, match=said):
        operator.process(Batch(schema, columns, symbols, Progress(TIME_MIN, 0, 0)))
