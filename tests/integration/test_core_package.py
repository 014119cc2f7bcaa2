"""The real package market_data_core: its records, errors and protocols, and that it imports us."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from market_data_pipeline.adapters.core_records import from_core, to_core
from market_data_pipeline.adapters.provider_source import ProviderSource
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import SourceError
from support.manual_clock import ManualClock
from support.optional_packages import real_package

AT = datetime(2024, 5, 6, 13, 30, 0, 123456)  # noqa: DTZ001  core takes times without a zone
AT_NS = 1_715_002_200_123_456_000


@pytest.fixture(autouse=True)
def real_core() -> None:
    """These tests are about the package itself."""
    real_package("market_data_core", "core")


class Provider:
    """As the protocol of core is written: coroutines that return something to iterate over."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.asked: list[Any] = []

    async def stream_quotes(self, instruments: Any) -> AsyncIterator[Any]:
        self.asked.append(instruments)
        return self._play()

    stream_trades = stream_quotes

    async def stream_bars(self, resolution: str, instruments: Any) -> AsyncIterator[Any]:
        self.asked.append((resolution, instruments))
        return self._play()

    async def request_historical_bars(self, *_: Any) -> Any:
        raise NotImplementedError

    async def stream_options(self, *_: Any) -> Any:
        raise NotImplementedError

    async def _play(self) -> AsyncIterator[Any]:
        while self._script:
            item = self._script.pop(0)
            if isinstance(item, Exception):
                raise item
            yield item


def read(source: ProviderSource, clock: ManualClock) -> list[Batch]:
    async def main() -> list[Batch]:
        reader = await source.open(NodeContext("feed", clock=clock))
        batches: list[Batch] = []
        try:
            while (given := await reader.read()) is not None:
                batches += [b for port, b in given if port == "out" and isinstance(b, Batch)]
        finally:
            await reader.close()
        return batches

    return asyncio.run(main())


def test_provider_of_core_is_read() -> None:
    """Core's own instruments go in, its records come out, and its pacing is kept to."""
    from market_data_core import Instrument, MarketDataProvider, PacingViolation, Quote

    provider = Provider(
        Quote(symbol="A", bid=Decimal("1.5"), timestamp=AT),
        PacingViolation("too fast", retry_after_sec=600),
        Quote(symbol="A", bid=Decimal("1.75"), timestamp=AT),
    )
    assert isinstance(provider, MarketDataProvider)
    clock = ManualClock()
    batches = read(ProviderSource(provider, ({"symbol": "A", "exchange": "NYSE"},)), clock)
    prices = [price for batch in batches for price in batch["bid_price"].tolist()]
    assert prices == [1_500_000_000, 1_750_000_000]
    assert {time for batch in batches for time in batch.times.tolist()} == {AT_NS}
    assert clock.slept == [600]
    assert provider.asked[0] == [Instrument(symbol="A", exchange="NYSE")]


def test_errors_that_core_calls_final_are_final() -> None:
    """Only `RetryableProviderError` is tried again, up to the cap."""
    from market_data_core import FarmTransient, PermissionsMissing

    with pytest.raises(PermissionsMissing):
        read(ProviderSource(Provider(PermissionsMissing("no")), ("A",)), ManualClock())
    failing = Provider(*[FarmTransient("down")] * 3)
    with pytest.raises(SourceError, match=r"failed 3 times in a row.*FarmTransient: down"):
        read(ProviderSource(failing, ("A",), retries=2), ManualClock())


def test_bars_and_trades_of_core_go_there_and_back() -> None:
    """Every figure and time, through both converters."""
    from market_data_core import Bar, Quote, Trade

    utc = AT.replace(tzinfo=UTC)
    figures: Any = dict.fromkeys(("open", "high", "low", "close"), Decimal("7.123456789"))
    for record in (
        Bar(symbol="A", ts=utc, volume=Decimal("0.5"), resolution="5m", **figures),
        Trade(symbol="A", ts=utc, price=Decimal("0.1"), size=3, conditions=["@", "T"]),
        Quote(symbol="A", timestamp=utc, bid=Decimal(3), bid_size=2, last=Decimal("2.5")),
    ):
        assert to_core(from_core([record])) == [record]


def test_source_is_a_rate_controller_of_core() -> None:
    """By its protocol, with its adjustment, for its own provider."""
    from market_data_core import Quote
    from market_data_core.protocols import RateController
    from market_data_core.telemetry import BackpressureLevel, RateAdjustment

    source = ProviderSource(Provider(Quote(symbol="A", timestamp=AT)), ("A",))
    assert isinstance(source, RateController)

    async def main() -> int:
        reader = await source.open(NodeContext("feed", clock=ManualClock()))
        told: Any = {"reason": BackpressureLevel.hard, "ts": 0.0}
        await source.apply(RateAdjustment(provider="Provider", scale=0.0, **told))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reader.read()
        await source.apply(RateAdjustment(provider="Provider", scale=1.0, **told))
        given = await reader.read()
        await reader.close()
        return len(given or ())

    assert asyncio.run(main()) > 0


@pytest.mark.parametrize(
    "order",
    [("market_data_core", "market_data_pipeline"), ("market_data_pipeline", "market_data_core")],
)
def test_the_two_packages_import_in_either_order(order: tuple[str, str]) -> None:
    """Core imports us, so we may not import it where we are imported."""
    code = f"import {order[0]}, {order[1]}, sys; import market_data_pipeline as m; m.Dag"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    code = "import market_data_pipeline as m, sys; m.Dag; print('market_data_core' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
