"""Batches to records of market_data_core and back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.adapters.core_records import (
    from_core,
    length_of,
    resolution_of,
    to_core,
)
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import (
    ConfigError,
    MissingDependencyError,
    RecordError,
    SchemaError,
)
from market_data_pipeline.records import BAR, QUOTE, QUOTE_BAR, TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable

AT = datetime(2024, 5, 6, 13, 30, 0, 123456, tzinfo=UTC)
AT_NS = 1_715_002_200_123_456_000


class Quote(SimpleNamespace):
    pass


class Trade(SimpleNamespace):
    pass


class Bar(SimpleNamespace):
    pass


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the package: its three records, without their checks."""
    stand_in: Any = ModuleType("market_data_core")
    stand_in.Quote, stand_in.Trade, stand_in.Bar = Quote, Trade, Bar
    monkeypatch.setitem(sys.modules, "market_data_core", stand_in)


def batch_of(schema: Any, **columns: list[Any]) -> Batch:
    symbols = SymbolTable()
    chosen = schema.only(columns)
    made: dict[str, Any] = {
        name: symbols.encode(values) if name == "symbol" else np.array(values, chosen[name].dtype)
        for name, values in columns.items()
    }
    return Batch(chosen, made, symbols)


@pytest.mark.usefixtures("core")
def test_quote_goes_there_and_back() -> None:
    """Every figure is the same, and an empty side is None."""
    quote = Quote(symbol="A", timestamp=AT, bid=Decimal("1.25"), ask=None, bid_size=3)
    batch = from_core([quote])
    assert batch["ask_price"].tolist() == [UNDEFINED]
    assert "ts_recv" not in batch.schema
    (back,) = to_core(batch)
    assert (back.symbol, back.timestamp, back.bid, back.bid_size) == ("A", AT, Decimal("1.25"), 3)
    assert (back.ask, back.ask_size, back.volume) == (None, None, 0)


@pytest.mark.usefixtures("core")
def test_prices_are_exact_whatever_the_decimal_context() -> None:
    """The context of whoever calls must not round."""
    batch = batch_of(
        TRADE, ts_event=[AT_NS], symbol=["A"], price=[123_456_789_123_456_789], size=[2 * 10**9]
    )
    with localcontext() as context:
        context.prec = 4
        (trade,) = to_core(batch)
    assert str(trade.price) == "123456789.123456789"
    assert (str(trade.size), trade.ts) == ("2", AT)


@pytest.mark.usefixtures("core")
def test_size_that_core_cannot_hold_is_refused() -> None:
    """Its sizes are whole numbers, and ours are not cut."""
    batch = batch_of(TRADE, ts_event=[AT_NS], symbol=["A"], price=[1], size=[500_000_000])
    with pytest.raises(SchemaError, match=r"`size` of row 0 is 0\.5"):
        to_core(batch)


@pytest.mark.usefixtures("core")
def test_bar_has_its_end_as_time_and_its_length_in_words() -> None:
    """In core the time of a bar is its end."""
    bar = Bar(symbol="A", ts=AT, volume=Decimal("0.5"), resolution="5m")
    for name in ("open", "high", "low", "close"):
        setattr(bar, name, Decimal(7))
    batch = from_core([bar])
    assert batch["ts_close"].tolist() == [AT_NS]
    assert batch["ts_open"].tolist() == [AT_NS - 300 * 10**9]
    (back,) = to_core(batch)
    assert (back.ts, back.resolution, back.open, back.volume) == (AT, "5m", 7, Decimal("0.5"))


@pytest.mark.usefixtures("core")
def test_rows_that_core_has_no_record_for_are_refused() -> None:
    """Another kind of rows, a column that is not there, a bar without a price."""
    with pytest.raises(SchemaError, match="no record for rows of `quote_bar`"):
        to_core(Batch.empty(QUOTE_BAR, SymbolTable()))
    with pytest.raises(SchemaError, match="a quote of market_data_core needs `ask_price`"):
        to_core(Batch.empty(QUOTE.only(["ts_event", "symbol", "bid_price"]), SymbolTable()))
    whole = {name: [UNDEFINED] for name in ("open", "high", "low", "close", "volume")}
    bar = batch_of(BAR, symbol=["A"], ts_open=[0], ts_close=[10**9], **whole)
    with pytest.raises(SchemaError, match="row 0 has no `open`"):
        to_core(bar)


def test_records_must_be_of_one_class_that_is_known() -> None:
    """Nothing is guessed."""
    with pytest.raises(SchemaError, match="were none"):
        from_core([])
    with pytest.raises(SchemaError, match="were `Quote`, `Trade`"):
        from_core([Quote(), Trade()])
    with pytest.raises(SchemaError, match="must be of one resolution"):
        from_core([Bar(resolution="1m"), Bar(resolution="5m")])
    with pytest.raises(RecordError, match="more than 9 decimal places"):
        from_core([Trade(symbol="A", ts=AT, price=Decimal("1E-10"), size=1)])


def test_without_core_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first use."""
    monkeypatch.setitem(sys.modules, "market_data_core", None)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[core\]"):
        to_core(Batch.empty(TRADE, SymbolTable()))


def test_lengths_have_the_words_of_core() -> None:
    """A minute is `1m` there."""
    words = {"1s": 10**9, "5m": 300 * 10**9, "1h": 3600 * 10**9, "1d": 86_400 * 10**9}
    assert {resolution_of(length): length for length in words.values()} == words
    assert {word: length_of(word) for word in words} == words
    assert length_of("2w") == 14 * 86_400 * 10**9
    with pytest.raises(ConfigError):
        length_of("1M")
