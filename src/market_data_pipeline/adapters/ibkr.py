"""Interactive Brokers, through market_data_ibkr (extra `ibkr`)."""

from __future__ import annotations

__all__ = ("IbkrFeed", "ibkr_source", "make_ibkr_provider")

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from market_data_pipeline.adapters.given_settings import settings_of
from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.adapters.provider_source import ProviderSource
from market_data_pipeline.pacing import Budget, budget_of

# What the provider turns into whole numbers, and cannot while there is none.
_WHOLE: Final = frozenset({"volume", "bidSize", "askSize"})


def make_ibkr_provider(**settings: Any) -> IbkrFeed:
    """Make a provider that connects once it is entered.

    Args:
        settings: Settings of `market_data_ibkr.IBKRSettings`, as `host`, `port`,
            `client_id`, `market_data_type`.

    Raises:
        ConfigError: If there is no such setting, or its value is wrong.
        MissingDependencyError: If market_data_ibkr is not installed.
    """
    package: Any = require_optional("market_data_ibkr", extra="ibkr")
    with settings_of("ibkr"):
        checked = package.IBKRSettings(**settings)
    return IbkrFeed(package.IBKRProvider(checked))


def ibkr_source(
    symbols: Sequence[str],
    *,
    host: str = "localhost",
    port: int = 7497,
    client_id: int = 1,
    budget: Budget | tuple[float, float] = (1000, 1000),
    **settings: Any,
) -> ProviderSource:
    """Return the source of a graph that streams quotes of Interactive Brokers.

    Args:
        symbols: Stocks.
        host: Where the gateway or the workstation runs.
        port: Its port.
        client_id: Number of this client, unlike that of any other.
        budget: Rows in a second, and how many at once.
        settings: Further settings of `ProviderSource`.

    Raises:
        MissingDependencyError: If market_data_ibkr is not installed.
    """
    require_optional("market_data_ibkr", extra="ibkr")
    paced = budget_of(budget)
    return ProviderSource(
        "ibkr",
        tuple(symbols),
        settings={"host": host, "port": port, "client_id": client_id},
        rate=paced.max_msgs_per_sec,
        burst=paced.burst,
        drop_unchanged=True,
        **settings,
    )


class IbkrFeed:
    """`market_data_ibkr.IBKRProvider`, kept off what is known to fail in it.

    Its `stream_bars` can never give a bar, and each failure says that another try is worth
    while, so bars are refused before anything is subscribed. Its quotes are lost as long as
    a figure that it makes a whole number is not known; such a figure is left out instead.

    Args:
        provider: The provider.
    """

    name = "ibkr"

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        provider.session.ib = _SafeClient(provider.session.ib)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._provider.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel what is subscribed, and disconnect."""
        await self._provider.close()

    def stream_quotes(self, instruments: Iterable[Any]) -> AsyncIterator[Any]:
        """Stream quotes; the same one comes again and again while nothing changes."""
        found: AsyncIterator[Any] = self._provider.stream_quotes(instruments)
        return found

    def stream_trades(self, instruments: Iterable[Any]) -> Any:
        """Stream trades, where the package can."""
        return self._provider.stream_trades(instruments)

    async def stream_bars(self, resolution: str, instruments: Iterable[Any]) -> Any:
        """Refuse.

        Raises:
            NotImplementedError: Always.
        """
        msg = (
            "market_data_ibkr waits for bars in a way that always fails; stream `quotes` and "
            f"make bars of `{resolution}` with the operator `bars`"
        )
        raise NotImplementedError(msg)

    def request_historical_bars(self, *arguments: Any, **named: Any) -> AsyncIterator[Any]:
        """Ask for bars of the past, as the package does."""
        found: AsyncIterator[Any] = self._provider.request_historical_bars(*arguments, **named)
        return found

    async def close(self) -> None:
        """Cancel what is subscribed, and disconnect."""
        await self._provider.close()


class _SafeClient:
    """The client of the gateway, whose tickers do not say that a number is no number."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def reqMktData(self, *arguments: Any, **named: Any) -> Any:  # noqa: N802  the client's own name
        return _SafeTicker(self._client.reqMktData(*arguments, **named))


class _SafeTicker:
    def __init__(self, ticker: Any) -> None:
        self._ticker = ticker

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ticker, name)
        if name in _WHOLE and isinstance(value, float) and math.isnan(value):
            return None
        return value
