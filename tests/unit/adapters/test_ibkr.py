"""Interactive Brokers, with a stand-in for the package and its client."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest
from pydantic import BaseModel

from market_data_pipeline.adapters.ibkr import IbkrFeed, ibkr_source, make_ibkr_provider
from market_data_pipeline.adapters.provider_source import ProviderSource
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, MissingDependencyError, SourceError
from support.manual_clock import ManualClock
from support.providers import START, Quote

NAN = float("nan")


@dataclass
class Client:
    """The gateway's client: gives the ticker it is told to."""

    ticker: Any
    log: list[str] = field(default_factory=list)

    def reqMktData(self, *_: Any, **__: Any) -> Any:  # noqa: N802  the client's own name
        self.log.append("subscribed")
        return self.ticker

    def isConnected(self) -> bool:  # noqa: N802
        return True


class Provider:
    """Does with a ticker what the package does."""

    def __init__(self, settings: Any = None, ticker: Any = None) -> None:
        self.settings = settings
        self.session = SimpleNamespace(ib=Client(ticker))
        self.log: list[str] = []

    async def __aenter__(self) -> Self:
        self.log.append("connected")
        return self

    async def stream_quotes(self, _: Any) -> AsyncIterator[Quote]:
        ticker = self.session.ib.reqMktData("contract")
        for _ in range(3):
            volume = int(ticker.volume) if ticker.volume else 0
            size = int(ticker.bidSize) if ticker.bidSize else None
            yield Quote("A", START, bid=Decimal(str(ticker.bid)), bid_size=size, volume=volume)

    async def stream_trades(self, _: Any) -> Any:
        raise NotImplementedError

    async def stream_bars(self, *_: Any) -> AsyncIterator[Any]:
        self.session.ib.reqMktData("bars")
        yield None

    async def close(self) -> None:
        self.log.append("closed")


class Settings(BaseModel, extra="forbid"):
    """Some of the settings that the package knows."""

    host: str = "localhost"
    port: int = 4002
    client_id: int = 17


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[Provider]:
    """Stand in for the package; the providers it makes."""
    made: list[Provider] = []

    def provider(checked: Any) -> Provider:
        ticker = SimpleNamespace(bid=1.5, bidSize=NAN, volume=NAN, contract="A")
        made.append(Provider(checked, ticker))
        return made[-1]

    stand_in: Any = ModuleType("market_data_ibkr")
    stand_in.IBKRSettings, stand_in.IBKRProvider = Settings, provider
    monkeypatch.setitem(sys.modules, "market_data_ibkr", stand_in)
    monkeypatch.setitem(sys.modules, "market_data_core", None)
    return made


def read(source: ProviderSource) -> list[Any]:
    async def main() -> list[Any]:
        reader = await source.open(NodeContext("ib", clock=ManualClock()))
        given: list[Any] = []
        try:
            while (more := await reader.read()) is not None:
                given += more
        finally:
            await reader.close()
        return given

    return asyncio.run(main())


def test_quotes_come_although_a_figure_is_no_number(package: list[Provider]) -> None:
    """The package loses each quote until it knows the volume; it is left out instead.

    And the same quote comes again and again, of which one is kept.
    """
    given = read(ProviderSource("ibkr", ("A",), settings={"port": 4002}, drop_unchanged=True))
    batches = [item for port, item in given if port == "out" and hasattr(item, "columns")]
    assert [len(batch) for batch in batches] == [1]
    assert batches[0]["bid_price"].tolist() == [1_500_000_000]
    assert batches[0]["volume"].tolist() == [0]
    assert package[0].settings.port == 4002
    assert package[0].log == ["connected", "closed"]


def test_bars_are_refused_before_anything_is_subscribed(package: list[Provider]) -> None:
    """The package would fail for ever, and call each failure transient."""
    with pytest.raises(
        SourceError, match=r"`ibkr` does not support bars.*with the operator `bars`"
    ):
        read(ProviderSource("ibkr", ("A",), kind="bars", resolution="5s"))
    assert package[0].session.ib.log == []
    assert package[0].log == ["connected", "closed"]


def test_trades_are_not_supported_by_the_package(package: list[Provider]) -> None:
    """As it says itself."""
    with pytest.raises(SourceError, match="`ibkr` does not support trades"):
        read(ProviderSource("ibkr", ("A",), kind="trades"))


@pytest.mark.usefixtures("package")
def test_setting_that_is_none_is_told() -> None:
    """When the source is opened, with the words of the package."""
    with pytest.raises(ConfigError, match="`settings` of the provider `ibkr`: `porrt`: extra"):
        read(ProviderSource("ibkr", ("A",), settings={"porrt": 1}))


def test_rest_of_the_client_is_the_client_itself() -> None:
    """Only tickers are seen to."""
    provider = Provider(ticker=SimpleNamespace(last=NAN, volume=3.0, contract="A"))
    feed = IbkrFeed(provider)
    assert provider.session.ib.isConnected()
    ticker = provider.session.ib.reqMktData()
    assert (ticker.volume, ticker.contract) == (3.0, "A")
    assert math.isnan(ticker.last)  # the package knows what to do with it
    asyncio.run(feed.close())
    assert provider.log == ["closed"]


@pytest.mark.usefixtures("package")
def test_source_of_version_0_8_is_one_of_a_graph() -> None:
    """With its arguments and defaults; the budget is the rate."""
    source = ibkr_source(["A"], budget=(50, 5))
    assert source.settings == {"host": "localhost", "port": 7497, "client_id": 1}
    assert (source.rate, source.burst, source.drop_unchanged) == (50, 5, True)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first use, by each door."""
    monkeypatch.setitem(sys.modules, "market_data_ibkr", None)
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[ibkr\]"):
        make_ibkr_provider()
    with pytest.raises(MissingDependencyError, match=r"market-data-pipeline\[ibkr\]"):
        ibkr_source(["A"])
