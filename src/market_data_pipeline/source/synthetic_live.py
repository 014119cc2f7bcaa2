"""A synthetic market that happens now: ticks evenly spaced in the clock's time, for ever."""

from __future__ import annotations

__all__ = ("LiveMarket", "LiveReader")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Watermark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.pacing import Budget, Pacer
from market_data_pipeline.records import QUOTE, TRADE
from market_data_pipeline.source.synthetic_market import quote_columns, trade_columns
from market_data_pipeline.source.synthetic_prices import FairPrices
from market_data_pipeline.source.synthetic_tables import size_table

_MICROSECOND: Final = 1_000
_BEHIND_MAX_S: Final = 0.5
_NEVER_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMarket:
    """What to make.

    Attributes:
        names: The symbols, which take turns.
        kind: What a row is.
        rate: Ticks in a second, >= 0.
        budget: What may pass besides.
        seed: What prices and sizes follow from.
        batch_rows: Most rows in one batch.
    """

    names: tuple[str, ...]
    kind: Literal["trades", "quotes"]
    rate: float
    budget: Budget
    seed: int
    batch_rows: int


class LiveReader:
    """Gives each tick when it is due, at its time; ticks that could not be given are not made.

    Times are whole microseconds, so that they are the same as datetimes.

    Attributes:
        schema: The columns somebody reads.
        provider: Whose budget can be scaled; absent where no store can slow it down.
    """

    provider: str

    def __init__(
        self, market: LiveMarket, context: NodeContext, provider: str | None = None
    ) -> None:
        if provider is not None:
            self.provider = provider
        schema = TRADE if market.kind == "trades" else QUOTE
        if context.columns is not None:
            schema = schema.only(context.columns | {schema.time})
        self.schema = schema
        self._market = market
        self._context = context
        self._pacer = Pacer(market.budget, clock=context.clock)
        self._codes = context.symbols.encode(market.names)
        self._prices = FairPrices(market.seed, len(market.names), 0)
        self._words = np.random.PCG64(np.random.SeedSequence([market.seed, 3]))
        self._sizes = size_table()
        self._given = 0
        self._sequence = 0
        self._began_ns = self._last_ns = TIME_MIN
        self._next_s: float | None = None

    def throttle(self, scale: float) -> None:
        """Take from now on this share of the budget."""
        self._pacer.scale = scale

    @property
    def budget_scale(self) -> float:
        """The share of the budget that it may draw on."""
        return self._pacer.scale

    @property
    def pacing_waits(self) -> int:
        """How often it had to wait for a token."""
        return self._pacer.waits

    async def read(self) -> Sequence[tuple[str, Batch | Watermark]] | None:
        """Return the ticks that are due, waiting for the first."""
        rows = await self._due()
        await self._pacer.allow(rows)
        clock = self._context.clock
        now_ns = clock.now_ns() // _MICROSECOND * _MICROSECOND
        if self._next_s is not None:
            self._next_s += rows / self._market.rate
        batch = self._made(rows, max(now_ns, self._last_ns))
        self._context.account.rows_in += rows
        return (("out", batch),)

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def fraction(self) -> None:
        """Return None: it has no end."""

    async def _due(self) -> int:
        """Return how many ticks are due, at least one, once that is so."""
        clock, rate = self._context.clock, self._market.rate
        while rate == 0:
            await clock.sleep(_NEVER_S)
        now_s = clock.monotonic()
        if self._next_s is None:
            self._next_s = now_s
        while now_s < self._next_s:
            await clock.sleep(self._next_s - now_s)
            now_s = clock.monotonic()
        self._next_s = max(self._next_s, now_s - _BEHIND_MAX_S)
        due = 1 + int((now_s - self._next_s) * rate)
        # A whole burst at once is what the budget is made for, and no more than it.
        most = max(1, int(min(self._market.budget.burst * self._pacer.scale, due)))
        return min(most, self._market.batch_rows)

    def _made(self, rows: int, now_ns: int) -> Batch:
        market = self._market
        ranks = ((self._given + np.arange(rows)) % len(market.names)).astype(np.uint16)
        self._given += rows
        before = self._last_ns
        if before == TIME_MIN:
            self._began_ns = before = now_ns
        steps = np.arange(1, rows + 1, dtype=np.int64) * ((now_ns - before) // _MICROSECOND)
        times = before + steps // rows * _MICROSECOND
        self._last_ns = int(times[-1])
        fair = self._prices.at(times - self._began_ns, ranks)
        bits = self._words.random_raw(rows).view(np.int64) & 0x7FFFFFFF
        make = trade_columns if market.kind == "trades" else quote_columns
        columns: dict[str, Any] = make(bits, fair, self._sizes)
        numbers = np.arange(self._given - rows + 1, self._given + 1)
        columns |= {
            "ts_event": times,
            "ts_recv": times,
            "symbol": self._codes[ranks],
            "trade_id": numbers,
            "sequence": (numbers - 1) // len(market.names) + 1,
            "flags": np.zeros(rows, np.int64),
        }
        start = TIME_MIN if before == now_ns and self._given == rows else before
        kept = {name: columns[name] for name in self.schema.names}
        progress = Progress(start, 0, self._last_ns)
        return Batch(self.schema, kept, self._context.symbols, progress)
