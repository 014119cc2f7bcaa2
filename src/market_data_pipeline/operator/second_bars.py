"""Bars of quotes that are given one by one: a door to the bars of the engine."""

from __future__ import annotations

__all__ = ("SecondBarAggregator",)

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from market_data_pipeline.batch import TIME_MIN, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Operator, Outputs
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.objects import batch_of_quotes, objects_of
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import Bar


@dataclass(slots=True)
class _Symbol:
    """The bars of one symbol, which follow its own event time alone."""

    account: Account
    symbols: SymbolTable
    operator: Operator
    watermark: int = TIME_MIN
    ready: deque[Bar] = field(default_factory=deque)


class SecondBarAggregator:
    """Makes bars of the quotes of each symbol, on windows aligned to the epoch.

    In a pipeline its settings become a node `bars`; given quotes by hand it drives the
    same operator, one symbol at a time.
    """

    def __init__(self, window_sec: float = 1, *, allowed_lateness_sec: float = 0) -> None:
        """Settle the windows.

        Args:
            window_sec: Seconds a bar covers, > 0.
            allowed_lateness_sec: Seconds past its end in which a bar takes quotes, >= 0.

        Raises:
            ConfigError: If one is out of range.
        """
        for name, value, least in (
            ("window_sec", window_sec, "above 0"),
            ("allowed_lateness_sec", allowed_lateness_sec, "0 or more"),
        ):
            # Whatever is no number is refused when the bars are made.
            if isinstance(value, int | float) and (
                value < 0 or (value == 0 and least == "above 0")
            ):
                msg = f"`{name}` must be {least}, was {value}"
                raise ConfigError(msg, parameter=name)
        self.window_sec = window_sec
        self.allowed_lateness_sec = allowed_lateness_sec
        self._symbols: dict[str, _Symbol] = {}
        self._quotes = 0
        self._bars = 0
        self._last: dict[str, str] = {}

    def component(self, schema: Schema | None = None) -> Bars:
        """Return the node that makes the same bars in a graph.

        Args:
            schema: The columns of its input; rows with only bid and ask are taken at their
                middle.
        """
        quotes = schema is not None and "price" not in schema and "bid_price" in schema
        return Bars(
            timedelta(seconds=self.window_sec),
            lateness=timedelta(seconds=self.allowed_lateness_sec),
            revisions="final",
            price="mid" if quotes else None,
            turnover=True,
        )

    async def handle(self, quote: Any) -> Bar | None:
        """Take a quote; return the bar whose window its time has ended, if there is one.

        A quote that ends several windows gives their bars one a call, the oldest first.

        Raises:
            RecordError: If its price or size is no number.
        """
        state = self._symbols.get(quote.symbol) or self._opened(quote.symbol)
        batch = batch_of_quotes((quote,), state.symbols)
        before = state.watermark
        state.watermark = max(before, int(batch.times[0]))
        batch = batch.with_progress(Progress(before, 0, state.watermark))
        self._quotes += 1
        state.account.rows_in += 1
        self._last[quote.symbol] = getattr(quote, "source", "unknown")
        self._take(quote.symbol, state, state.operator.process(batch))
        self._take(quote.symbol, state, state.operator.advance(state.watermark))
        return state.ready.popleft() if state.ready else None

    async def flush_symbol(self, symbol: str) -> Bar | None:
        """Return the open bar of a symbol, None if it has none; ready bars come first."""
        bars = self._finished(symbol)
        if not bars:
            return None
        first, *others = bars
        if others:
            self._opened(symbol).ready.extend(others)
        return first

    async def flush_all(self) -> list[Bar]:
        """Return the open bars of all symbols, and begin anew."""
        return [bar for symbol in list(self._symbols) for bar in self._finished(symbol)]

    def status(self) -> dict[str, int]:
        """Return what was taken and given, and the quotes that came too late."""
        accounts = [state.account for state in self._symbols.values()]
        return {
            "quotes_in": self._quotes,
            "bars_out": self._bars,
            "late": sum(account.reasons.get("late", 0) for account in accounts),
            "open_symbols": sum(account.held > 0 for account in accounts),
        }

    def _opened(self, symbol: str) -> _Symbol:
        account = Account("bars")
        symbols = SymbolTable()
        operator = self.component().build(NodeContext("bars", symbols, account))
        state = self._symbols[symbol] = _Symbol(account, symbols, operator)
        return state

    def _finished(self, symbol: str) -> list[Bar]:
        state = self._symbols.get(symbol)
        if state is None:
            return []
        self._take(symbol, state, state.operator.finish())
        bars = list(state.ready)
        # An operator that has finished takes no more.
        fresh = self._opened(symbol)
        self._symbols[symbol] = replace(state, operator=fresh.operator, symbols=fresh.symbols)
        self._symbols[symbol].watermark = TIME_MIN
        self._symbols[symbol].ready = deque()
        return bars

    def _take(self, symbol: str, state: _Symbol, outputs: Outputs) -> None:
        for port, batch in outputs:
            if port == "out":
                bars = objects_of(batch, self._last[symbol])
                self._bars += len(bars)
                state.ready.extend(bars)
