"""Options that are given one by one: a door to the options chain of the engine."""

from __future__ import annotations

__all__ = ("OptionsChainOperator",)

from typing import Any

from market_data_pipeline.batch import TIME_MIN, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.objects import batch_of_quotes, objects_of
from market_data_pipeline.operator.options import OptionsChain
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import OptionQuote


class OptionsChainOperator:
    """Gives each quote of an option its implied volatility and Greeks.

    In a pipeline its settings become a node `options_chain`; given quotes by hand it drives
    the same operator.
    """

    def __init__(
        self,
        rate: float = 0.0,
        dividend: float = 0.0,
        *,
        expires: str = "16:00",
        timezone: str = "America/New_York",
    ) -> None:
        """Settle the model; see `OptionsChain`.

        Args:
            rate: Riskless rate of a year, continuous.
            dividend: Dividend yield of a year, continuous.
            expires: Time of day at which options expire.
            timezone: Zone of that time.

        Raises:
            ConfigError: If a setting cannot be.
        """
        self._component = OptionsChain(rate, dividend, expires, timezone)
        self._account = Account("options")
        self._symbols = SymbolTable()
        self._operator = self._component.build(
            NodeContext("options", self._symbols, self._account)
        )
        self._chains: dict[str, dict[str, OptionQuote]] = {}

    def component(self, schema: Schema | None = None) -> OptionsChain:  # noqa: ARG002
        """Return the node that does the same in a graph."""
        return self._component

    async def handle(self, quote: Any) -> OptionQuote | None:
        """Take a quote; return the option, None for an underlying, or before there is one.

        Raises:
            RecordError: If its price is no number.
        """
        batch = batch_of_quotes((quote,), self._symbols)
        batch = batch.with_progress(Progress(TIME_MIN, 0, int(batch.times[0])))
        self._account.rows_in += 1
        for port, given in self._operator.process(batch):
            if port == "out":
                (option,) = objects_of(given, getattr(quote, "source", "unknown"))
                self._chains.setdefault(option.underlying, {})[option.symbol] = option
                self._account.rows_out += 1
                priced: OptionQuote = option
                return priced
        return None

    async def flush_all(self) -> list[OptionQuote]:
        """Return nothing: no quote is held."""
        return []

    def chain(self, underlying: str) -> list[OptionQuote]:
        """Return the last quote of each option on an underlying, by expiry, strike and right."""
        options = self._chains.get(underlying, {}).values()
        return sorted(options, key=lambda one: (one.expiry, one.strike, one.right))

    def status(self) -> dict[str, int]:
        """Return what was taken and given, and why the rest was not."""
        account = self._account
        return {"quotes_in": account.rows_in, "options_out": account.rows_out, **account.reasons}
