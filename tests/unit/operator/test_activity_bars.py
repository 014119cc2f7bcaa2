"""Bars that activity closes: prices of quotes, settings, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import (
    ArithmeticOverflowError,
    ConfigError,
    SchemaError,
    SnapshotError,
)
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

TRADES = TRADE.only(("ts_event", "symbol", "price", "size"))
QUOTES = QUOTE.only(
    ("ts_event", "symbol", "bid_price", "bid_size", "ask_price", "ask_size", "sequence")
)
ONE = 10**9


def rows(schema: Schema, symbols: Sequence[str] = (), **columns: Sequence[int]) -> Batch:
    """A batch with the watermarks of a source without disorder."""
    table = SymbolTable()
    count = len(next(iter(columns.values())))
    made: dict[str, Any] = {}
    for field in schema:
        values = columns.get(field.name, range(count))
        made[field.name] = np.array(values, field.dtype)
    made["symbol"] = table.encode(symbols or ["AAA"] * count)
    highest = int(made["ts_event"].max())
    return Batch.from_columns(schema, made, table).with_progress(Progress(TIME_MIN, 0, highest))


def run(bars: Bars, batch: Batch) -> tuple[list[dict[str, int]], dict[str, list[Batch]], Account]:
    """The bars as rows, all other outputs, and the account."""
    account = Account("bars", rows_in=len(batch))
    operator = bars.build(NodeContext("bars", batch.symbols, account))
    found: list[dict[str, int]] = []
    others: dict[str, list[Batch]] = {}
    for port, given in (*operator.process(batch), *operator.finish()):
        if port == "out":
            names = ("ts_open", "ts_close", "open", "high", "low", "close", "volume", "count")
            account.rows_out += len(given)
            found += [{name: int(given[name][i]) for name in names} for i in range(len(given))]
            assert given.schema == bars.output_schemas(batch.schema)["out"]
        else:
            others.setdefault(port, []).append(given)
    assert account.unaccounted == account.held == 0
    return found, others, account


def quotes() -> Batch:
    """Four quotes; the third has no bid."""
    return rows(
        QUOTES,
        bid_price=[100, 102, UNDEFINED, 105],
        ask_price=[103, 103, 104, 106],
        bid_size=[1, 2, UNDEFINED, 4],
        ask_size=[10, 20, 30, 40],
    )


def test_mid_is_exact_with_one_more_decimal_place() -> None:
    """Half of an odd sum is not rounded; the sizes of both sides are added."""
    found, _, account = run(Bars("3tick", price="mid"), quotes())
    [bar] = found
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (1_015, 1_055, 1_015, 1_055)
    assert bar["volume"] == 11 + 22 + 44
    assert account.reasons == {"undefined": 1, "aggregated": 3}
    schema = Bars("3tick", price="mid").output_schemas(QUOTES)["out"]
    assert schema is not None
    assert schema["open"].scale == 10


@pytest.mark.parametrize(("price", "closes"), [("bid", [102, 105]), ("ask", [103, 104, 106])])
def test_a_side_of_quotes_has_its_own_size(price: Any, closes: list[int]) -> None:
    """Volume bars of the bid count the sizes of the bid."""
    every = {"bid": "0.000000003vol", "ask": "0.00000003vol"}[price]
    found, _, _ = run(Bars(every, price=price), quotes())
    assert [bar["close"] for bar in found] == closes


def test_time_bars_of_one_price_of_quotes() -> None:
    """They are bars of trades at this price; a quote without it is in none."""
    found, _, account = run(Bars("1s", price="bid"), quotes())
    [bar] = found
    assert (bar["open"], bar["close"], bar["volume"], bar["count"]) == (100, 105, 7, 3)
    assert account.reasons["undefined"] == 1


@pytest.mark.parametrize("text", ["AAA.XNAS-1-TICK-LAST", "AAA.XNAS-1-SECOND-LAST"])
def test_an_instrument_is_found_with_its_venue_and_without(text: str) -> None:
    """Rows of others are counted as filtered."""
    batch = rows(TRADES, ["AAA", "BBB", "AAA.XNAS"], price=[1, 2, 3], size=[1, 1, 1])
    found, _, account = run(Bars(text), batch)
    assert sorted(bar["open"] for bar in found) == [1, 3]
    assert account.reasons["filtered"] == 1


@pytest.mark.parametrize("every", ["1s", "1tick"])
def test_late_quotes_leave_as_they_came(every: str) -> None:
    """Also where bars are made of one price of them."""
    batch = rows(
        QUOTES,
        ts_event=[5 * ONE, 1 * ONE],
        bid_price=[100, 101],
        ask_price=[102, 103],
        bid_size=[1, 1],
        ask_size=[1, 1],
        sequence=[7, 8],
    )
    _, others, account = run(Bars(every, price="ask"), batch)
    [late] = others["late"]
    assert late.schema == QUOTES
    assert late["sequence"].tolist() == [8]
    assert late["bid_price"].tolist() == [101]
    assert account.reasons["late"] == 1


@pytest.mark.parametrize("every", ["2tick", "2vol", "20val", "5range", "2tick_run"])
def test_what_cancels_or_corrects_a_trade_is_no_trade(every: str) -> None:
    """It goes to `late` with late trades, in the order in which they came."""
    schema = TRADES.having(TRADE["trade_id"], Field("action", Kind.CHAR))
    batch = rows(
        schema,
        ts_event=[1, 2, 3, 4, 1, 5, 6],
        price=[10, 10, 99, 10, 10, 99, 20],
        size=[ONE] * 7,
        trade_id=[1, 2, 2, 3, 4, 3, 5],
        action=list(b"NNCNNRN"),
    )
    found, others, account = run(Bars(every, partial=True), batch)
    assert sum(bar["count"] for bar in found) == 4
    assert max(bar["high"] for bar in found) == 20
    [late] = others["late"]
    assert late["ts_event"].tolist() == [3, 1, 5]
    assert late.schema == schema
    assert account.reasons == {"late": 3, "aggregated": 4}


def test_a_volume_beyond_64_bits_fails() -> None:
    """It does not wrap round."""
    batch = rows(TRADES, price=[1, 1], size=[2**62, 2**62])
    with pytest.raises(ArithmeticOverflowError, match="left the range of 64 bits"):
        run(Bars("5tick"), batch)


def test_a_million_bricks_of_one_row_fail() -> None:
    """A wrong price must not fill the memory."""
    batch = rows(TRADES, price=[1, 2**60], size=[1, 1])
    with pytest.raises(ArithmeticOverflowError, match="more than a million bars"):
        run(Bars("0.000000001renko"), batch)


def test_many_bricks_of_one_row_are_given() -> None:
    """More than one buffer of bars holds."""
    found, _, _ = run(Bars("0.000000001renko"), rows(TRADES, price=[0, 9_000], size=[1, 1]))
    assert [bar["close"] for bar in found] == list(range(1, 9_001))
    assert sum(bar["count"] for bar in found) == 2


def test_renko_of_smallest_steps() -> None:
    """Their number times the step is the height."""
    batch = rows(TRADES, ["A.X"] * 2, price=[10 * ONE, 11 * ONE], size=[1, 1])
    found, _, _ = run(Bars("A.X-50-RENKO-LAST", tick_size="0.01"), batch)
    assert [bar["close"] for bar in found] == [10 * ONE + ONE // 2, 11 * ONE]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": "5tick", "split": True}, "`split` does not go with `5tick`"),
        ({"every": "5tick", "lateness": "1s"}, "only with bars of time"),
        ({"every": "5tick", "adaptive": {"span": 2, "ticks": 3}}, "does not go with `5tick`"),
        ({"every": "1s", "partial": True}, "`partial` does not go with `1s`"),
        ({"every": "A.X-5-TICK-BID", "price": "ask"}, "`A.X-5-TICK-BID` says `bid`"),
        ({"every": "5tick_run", "adaptive": {"span": 2}}, "needs `span` and `ticks`"),
        ({"every": "5tick_run", "adaptive": {"spam": 2}}, "did you mean `span`?"),
        ({"every": "5tick_run", "adaptive": {"span": 0, "ticks": 1}}, "must be 1 to"),
        (
            {"every": "5tick_run", "adaptive": {"span": 1, "ticks": 5, "ticks_min": 9}},
            "ticks_min <= ticks",
        ),
        ({"every": "1renko", "tick_size": "x"}, "positive decimal number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    """When the component is made, not when it runs."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        Bars(**settings)


@pytest.mark.parametrize(
    ("bars", "schema", "message"),
    [
        (Bars("5tick"), QUOTES, "say `price: bid`, `ask` or `mid`"),
        (Bars("5tick", price="last"), QUOTES, "these are quotes"),
        (Bars("5tick", price="mid"), TRADES, "`bars` needs `bid_price`"),
        (Bars("5vol", price="bid"), QUOTES.only(("ts_event", "symbol", "bid_price")), "bid_size"),
        (Bars("5tick"), TRADES.only(("ts_event", "symbol", "price")), "needs `size`"),
    ],
)
def test_columns_that_do_not_fit_are_refused(bars: Bars, schema: Schema, message: str) -> None:
    """Before anything runs, and the way out is said."""
    with pytest.raises(SchemaError, match=re.escape(message)):
        bars.output_schemas(schema)


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        (Bars("0.00000000001range"), "is finer than the prices, which have 9 decimal places"),
        (Bars("1e40vol"), "is more than a sum of sizes can reach"),
        (Bars("A.X-5-RENKO-LAST"), "say with `tick_size` how large"),
    ],
)
def test_thresholds_that_cannot_be_compared_are_refused(bars: Bars, message: str) -> None:
    """They are exact, so one that is too fine would never be met."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        bars.output_schemas(TRADES)


def test_state_of_other_bars_is_refused() -> None:
    """The error names what differs."""
    batch = rows(TRADES, price=[1], size=[1])
    operator = Bars("5tick").build(NodeContext("bars", batch.symbols))
    operator.process(batch)
    other = Bars("6tick").build(NodeContext("bars", batch.symbols))
    with pytest.raises(SnapshotError, match=r"`threshold\.low` is 5, here it is 6"):
        other.restore(operator.snapshot())
