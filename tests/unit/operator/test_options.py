"""Options are told from their underlyings, and priced by what these were worth before."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.objects import objects_of
from market_data_pipeline.operator import GreeksPricer, OptionsChainOperator
from market_data_pipeline.operator.contracts import contract_of
from market_data_pipeline.operator.options import OPTION, OptionsChain
from market_data_pipeline.records import QUOTE, TRADE
from market_data_pipeline.source.scripted import batch_of_rows
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import OptionQuote, Quote

CALL, PUT = "AAPL240119C00185000", "AAPL  240119P00185000"
NOON = datetime(2024, 1, 2, 17, tzinfo=UTC)
NS = int(NOON.timestamp()) * 1_000_000_000


def run(rows: list[dict[str, Any]], **settings: Any) -> tuple[dict[str, Batch], Account]:
    symbols, account = SymbolTable(), Account("options")
    schema = (TRADE if "price" in rows[0] else QUOTE).only(rows[0])
    operator = OptionsChain(**settings).build(NodeContext("options", symbols, account))
    batch = batch_of_rows(schema, rows, symbols)
    account.rows_in += len(batch)
    outputs = dict(operator.process(batch))
    account.rows_out += len(outputs.get("out", ()))
    assert account.unaccounted == 0
    return outputs, account


def trade(symbol: str, price: str | None, at: int = 0) -> dict[str, Any]:
    return {"ts_event": NS + at, "symbol": symbol, "price": price, "size": 1}


@pytest.mark.parametrize("symbol", [CALL, PUT, "BRKB 240119C00350500", "F240119P00012345"])
def test_symbol_of_an_option_says_what_it_is(symbol: str) -> None:
    """Root, expiry, right and strike, with or without spaces."""
    found = contract_of(symbol)
    assert found is not None
    assert found.expiry == date(2024, 1, 19)
    assert found.is_call == ("C0" in symbol)
    assert found.strike % 1_000_000 == 0


@pytest.mark.parametrize(
    "symbol", ["AAPL", "", "AAPL241319C00185000", "AAPL240230P00185000", "AAPL240119X00185000"]
)
def test_other_symbols_are_underlyings(symbol: str) -> None:
    """Also those that only look like an option's."""
    assert contract_of(symbol) is None


def test_option_is_priced_by_the_underlying_before_it() -> None:
    """Each option has the price of its underlying last seen, in the order of arrival."""
    rows = [
        *(trade("AAPL", "185"), trade(CALL, "4.2"), trade("AAPL", "186"), trade(PUT, "2.9")),
        *(trade("MSFT", "400"), trade(CALL, "4.5")),
    ]
    outputs, account = run(rows, rate=0.05)
    found = objects_of(outputs["out"])
    assert [one.underlying_price for one in found] == [185, 186, 186]
    assert [(one.right, one.strike, one.underlying) for one in found] == [
        *(("C", 185, "AAPL"), ("P", 185, "AAPL"), ("C", 185, "AAPL"))
    ]
    assert account.reasons == {"underlying": 3}
    expires = datetime(2024, 1, 19, 21, tzinfo=UTC)
    years = (expires - NOON) / timedelta(days=365)
    pricer = GreeksPricer(0.05)
    volatility = pricer.implied_volatility(4.2, 185, 185, years, True)
    greeks = pricer.greeks(185, 185, years, volatility, True)
    assert found[0].implied_volatility == pytest.approx(volatility[0], rel=1e-12)
    for name in ("delta", "gamma", "vega", "theta", "rho"):
        assert getattr(found[0], name) == pytest.approx(greeks[name][0], rel=1e-12)


def test_option_before_its_underlying_is_unpriced() -> None:
    """It goes to an output of its own, and is counted."""
    outputs, account = run([trade(CALL, "4.2"), trade("AAPL", "185"), trade(CALL, None)])
    assert set(outputs) == {"unpriced"}
    assert len(outputs["unpriced"]) == 2
    assert account.reasons == {"underlying": 1, "unpriced": 2}


def test_quotes_are_taken_at_their_middle() -> None:
    """A quote with one side is no price."""

    def quote(symbol: str, bid: str | None, ask: str | None) -> dict[str, Any]:
        return {"ts_event": NS, "symbol": symbol, "bid_price": bid, "ask_price": ask}

    rows = [quote("AAPL", "184.9", "185.1"), quote("AAPL", None, "1"), quote(CALL, "4.1", "4.3")]
    outputs, _ = run(rows)
    (found,) = objects_of(outputs["out"])
    assert (found.price, found.underlying_price) == (Decimal("4.2"), Decimal(185))


def test_price_that_no_volatility_gives_has_no_greeks() -> None:
    """The row comes out all the same."""
    outputs, _ = run([trade("AAPL", "185"), trade(PUT, "900")])
    assert np.isnan(outputs["out"]["implied_volatility"]).all()
    (found,) = objects_of(outputs["out"])
    assert (found.implied_volatility, found.delta) == (None, None)


def test_settings_and_columns_that_cannot_be_are_refused() -> None:
    """Each is named."""
    with pytest.raises(ConfigError, match="expires"):
        OptionsChain(expires="late")
    with pytest.raises(ConfigError, match="timezone"):
        OptionsChain(timezone="Mars/Olympus")
    with pytest.raises(SchemaError, match="trades or quotes"):
        OptionsChain().output_schemas(TRADE.only(["ts_event", "symbol", "size"]))
    assert OptionsChain().output_schemas(TRADE)["out"] == OPTION


def test_door_gives_options_one_by_one() -> None:
    """By hand, the same operator gives the option, and keeps the chain."""

    def quote(symbol: str, price: str) -> Quote:
        return Quote(symbol, NOON, Decimal(price), Decimal(1))

    async def steps() -> None:
        chain = OptionsChainOperator(rate=0.05)
        assert await chain.handle(quote(CALL, "4.2")) is None
        assert await chain.handle(quote("AAPL", "185")) is None
        found = await chain.handle(quote(CALL, "4.2"))
        assert isinstance(found, OptionQuote)
        assert found.timestamp == NOON
        await chain.handle(quote(PUT, "4.2"))
        assert [one.right for one in chain.chain("AAPL")] == ["C", "P"]
        assert chain.status() == {"quotes_in": 4, "options_out": 2, "unpriced": 1, "underlying": 1}
        assert await chain.flush_all() == []

    asyncio.run(steps())
