"""Quotes of Interactive Brokers under the arguments of version 0.8 (extra `ibkr`)."""

from __future__ import annotations

__all__ = ("IBKRSource",)

from collections.abc import Sequence
from typing import Any, ClassVar

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.pacing import Budget, budget_of
from market_data_pipeline.source.capabilities import SourceCapabilities
from market_data_pipeline.source.quote_stream import QuoteStream


class IBKRSource(QuoteStream):
    """Streams quotes of a gateway or workstation; in a graph it is the source `provider`.

    Attributes:
        symbols: The stocks.
        ctx: Whose pipeline it is for, as it was given.
    """

    type_name: ClassVar[str] = "ibkr"
    capabilities: ClassVar[SourceCapabilities] = SourceCapabilities.QUOTES

    def __init__(
        self,
        symbols: Sequence[str],
        host: str = "localhost",
        port: int = 7497,
        client_id: int = 1,
        pacing_budget: Budget | tuple[float, float] = (1000, 1000),
        ctx: Any = None,
        *,
        ticks_per_sec: float | None = None,
    ) -> None:
        """Settle what to ask for, and where.

        Args:
            symbols: Stocks, at least one.
            host: Where the gateway runs.
            port: Its port.
            client_id: Number of this client, unlike that of any other.
            pacing_budget: Rows in a second, and how many at once.
            ctx: Whose pipeline it is for.
            ticks_per_sec: Most rows in a second, where that is less; None for no such limit.

        Raises:
            ConfigError: If there are no symbols.
        """
        if not symbols:
            msg = "`IBKRSource` needs `symbols`, at least one"
            raise ConfigError(msg, parameter="symbols")
        budget = budget_of(pacing_budget)
        if ticks_per_sec is not None:
            rate = min(budget.max_msgs_per_sec, ticks_per_sec)
            budget = Budget(rate, min(budget.burst, max(rate, 1)))
        self.symbols = tuple(symbols)
        self.ctx = ctx
        self._where: dict[str, Any] = {"host": host, "port": port, "client_id": client_id}
        self._budget = budget

    def component(self) -> Any:
        """Return the source of a graph that gives the same quotes.

        Raises:
            MissingDependencyError: If market_data_ibkr is not installed.
        """
        from market_data_pipeline.adapters.ibkr import ibkr_source

        return ibkr_source(self.symbols, **self._where, budget=self._budget)

    async def start(self) -> None:
        """Do nothing: the source is opened when it is streamed."""

    def as_streamed(self) -> Any:
        """Return the source that is opened when it is streamed."""
        return self.component()
