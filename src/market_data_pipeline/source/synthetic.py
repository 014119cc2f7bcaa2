"""Synthetic markets: trades or quotes from a seed, with planted defects that are known."""

from __future__ import annotations

__all__ = ("SyntheticSource",)

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component, settings_of
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.messages import Idle
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.pacing import Budget, budget_of
from market_data_pipeline.records import QUOTE, TRADE, Schema
from market_data_pipeline.source.pacing import EventTime, check_provider
from market_data_pipeline.source.quote_stream import QuoteStream, also_spelled
from market_data_pipeline.source.rewinding import Standing
from market_data_pipeline.source.synthetic_live import LiveMarket, LiveReader
from market_data_pipeline.source.synthetic_market import Block, Market, MarketSettings
from market_data_pipeline.source.synthetic_truth import SequenceGap, SyntheticTruth, is_too_late

_LATENCY_NS: Final = 350_000
_LIVE_RATE: Final = 100.0
_BUDGET: Final = (1_000.0, 1_000.0)
_OF_LIVE: Final = frozenset(
    ("symbols", "seed", "kind", "ticks_per_sec", "pacing_budget", "provider", "batch_rows")
)
_MOST_SYMBOLS: Final = 65_536
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_OF_BEFORE: Final = frozenset(("symbols", "ticks_per_sec", "pacing_budget", "seed", "ctx"))

Int64s: TypeAlias = npt.NDArray[np.int64]


def _translated(
    args: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the settings for the arguments of version 0.8, where symbols come first."""
    if args and not isinstance(args[0], int):
        names = ("symbols", "ticks_per_sec", "pacing_budget", "seed", "ctx")
        if len(args) > len(names) or settings.keys() & set(names[: len(args)]):
            msg = f"`SyntheticSource` takes {', '.join(names)}, each once"
            raise TypeError(msg)
        settings |= dict(zip(names, args, strict=False))
        settings.setdefault("ticks_per_sec", _LIVE_RATE)
        args = ()
    if settings.keys() & {"pacing_budget", "ctx"} and not settings.keys() - _OF_BEFORE:
        settings.setdefault("ticks_per_sec", _LIVE_RATE)
    if settings.get("seed", 0) is None:
        del settings["seed"]
    budget = settings.get("pacing_budget")
    if isinstance(budget, Budget):
        settings["pacing_budget"] = (budget.max_msgs_per_sec, budget.burst)
    return args, settings


@also_spelled(_translated)
@component("synthetic")
class SyntheticSource(QuoteStream):
    """A market made from a seed: the same rows on every machine and for any batch size.

    Event times rise at random, by turns faster and slower than the mean rate; symbols are
    Zipf-distributed; prices are random walks on a grid of 0.01, the same for trades and
    quotes of one seed, beginning and symbols. `sequence` counts the rows of a symbol from 1,
    `trade_id` those of the market.

    With `ticks_per_sec` the market happens now instead: a tick is due every so often, bears
    the time of the clock, and there is no end. Symbols take turns, and nothing is planted.
    Arguments of version 0.8, `SyntheticSource(["AAPL"], ticks_per_sec=20)`, make such a one.

    Backpressure: a market in event time waits; one that happens now makes no ticks meanwhile.

    Attributes:
        rows: Rows of the market; second copies come on top.
        kind: What a row is.
        symbols: How many symbols, or their names, the most active first.
        seed: What everything follows from.
        begin: Event time at which the market begins, ISO 8601 with its offset from UTC.
        rate: Mean rows per second of event time.
        zipf: Exponent of the symbols' shares; 0 for equal shares.
        duplicates: Share of rows that arrive a second time, all values but `ts_recv` equal.
        disorder: Share of rows that arrive up to `disorder_max` too late.
        disorder_max: How much event time passes at most before a disordered row or a
            second copy arrives; no more than `out_of_order`.
        late: Share of rows that arrive later than `out_of_order` allows.
        late_by: How much event time beyond `out_of_order` passes at least before a late
            row arrives, at most twice that; rows are too late for windows of this length.
        gap: Rows in a row of the second most active symbol that are lost half way.
        out_of_order: The watermark is the newest event time less this.
        speed: `max`, or how many seconds of event time pass in a second.
        provider: The provider it stands for: the stores that it feeds can slow it down, as
            they would the provider. Needs a finite `speed`.
        batch_rows: Most rows in one batch.
        ticks_per_sec: Ticks per second of a market that happens now; null for one of `rows`
            rows in event time. Of the other settings only `kind`, `symbols`, `seed`,
            `provider` and `batch_rows` go with it.
        pacing_budget: Rate and burst of the token bucket that ticks of such a market pass.
    """

    rows: int = Field(default=1_000_000, ge=1)
    kind: Literal["trades", "quotes"] = "trades"
    symbols: int | tuple[str, ...] = 50
    seed: int = Field(default=1, ge=0)
    begin: str = "2024-01-02T14:30:00Z"
    rate: float = Field(default=1_000.0, ge=0.001, le=10_000_000)
    zipf: float = Field(default=1.0, ge=0, le=10)
    duplicates: float = Field(default=0.01, ge=0, le=0.25)
    disorder: float = Field(default=0.01, ge=0, le=0.25)
    disorder_max: Duration = "500ms"
    late: float = Field(default=0.0005, ge=0, le=0.25)
    late_by: Duration = "1s"
    gap: int = Field(default=0, ge=0)
    out_of_order: Duration = "1s"
    speed: float | Literal["max"] = "max"
    provider: str | None = None
    batch_rows: int = Field(default=65_536, ge=1)
    ticks_per_sec: float | None = Field(default=None, ge=0, le=10_000_000)
    pacing_budget: tuple[float, float] = _BUDGET

    type_name: ClassVar[str]
    tuning: ClassVar[tuple[str, ...]] = ("speed", "provider", "batch_rows")
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        self._check_live()
        # The number first: a great many names would take for ever to make.
        count = self.symbols if isinstance(self.symbols, int) else len(self.symbols)
        if not 1 <= count <= _MOST_SYMBOLS or len(set(self.names)) != count:
            msg = f"`symbols` must be 1 to {_MOST_SYMBOLS} different symbols, was {self.symbols!r}"
            raise ConfigError(msg, parameter="symbols")
        if duration_ns(self.disorder_max) > duration_ns(self.out_of_order):
            msg = (
                f"`disorder_max` must be no more than `out_of_order` ({self.out_of_order}), "
                f"was {self.disorder_max}; what arrives later than that is `late`"
            )
            raise ConfigError(msg, parameter="disorder_max")
        if self.speed != "max" and not self.speed > 0:
            msg = f"`speed` must be `max` or a number above 0, was {self.speed}"
            raise ConfigError(msg, parameter="speed")
        check_provider(self.provider, 1.0 if self.is_live else self.speed)
        # Twice the mean length: gaps vary, and late rows look ahead.
        if _nanoseconds(self.begin) + self.rows / self.rate * 2e9 > TIME_MAX:
            msg = f"`rate` must be higher for {self.rows} rows to fit into time, was {self.rate}"
            raise ConfigError(msg, parameter="rate")

    @property
    def is_live(self) -> bool:
        """True for a market that happens now."""
        return self.ticks_per_sec is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, the most active first."""
        if isinstance(self.symbols, tuple):
            return self.symbols
        width = len(str(self.symbols))
        return tuple(f"SYM{n:0{width}d}" for n in range(1, self.symbols + 1))

    def schema(self) -> Schema:
        """Return the columns of trades or quotes."""
        return TRADE if self.kind == "trades" else QUOTE

    async def open(self, context: NodeContext) -> SyntheticReader | LiveReader:
        """Begin the market."""
        if self.ticks_per_sec is None:
            return SyntheticReader(self, context)
        market = LiveMarket(
            names=self.names,
            kind=self.kind,
            rate=self.ticks_per_sec,
            budget=budget_of(self.pacing_budget),
            seed=self.seed,
            batch_rows=self.batch_rows,
        )
        return LiveReader(market, context, self.provider)

    async def start(self) -> None:
        """Do nothing: the source is opened when it is streamed."""

    def as_streamed(self) -> Self:
        """Return the market as it is streamed: one that happens now.

        Settings of a market in event time leave it one.
        """
        if self.ticks_per_sec is not None or settings_of(self).keys() - _OF_LIVE:
            return self
        return replace(self, ticks_per_sec=_LIVE_RATE)

    def _check_live(self) -> None:
        given = settings_of(self)
        if self.ticks_per_sec is None:
            if "pacing_budget" in given:
                msg = "`pacing_budget` is of a market that happens now; set `ticks_per_sec` too"
                raise ConfigError(msg, parameter="pacing_budget")
            return
        budget_of(self.pacing_budget)
        odd = [name for name in given if name not in _OF_LIVE]
        if odd:
            msg = (
                f"`{odd[0]}` is of a market in event time, and `ticks_per_sec` of one that "
                "happens now; leave one of them out"
            )
            raise ConfigError(msg, parameter=odd[0])

    def market(self) -> Market:
        """Return the market at its beginning."""
        return Market(
            MarketSettings(
                kind=self.kind,
                rows=self.rows,
                symbol_count=len(self.names),
                seed=self.seed,
                start_ns=_nanoseconds(self.begin),
                rate=self.rate,
                zipf=self.zipf,
                duplicates=self.duplicates,
                disorder=self.disorder,
                disorder_max_ns=duration_ns(self.disorder_max),
                late=self.late,
                late_by_ns=duration_ns(self.late_by),
                bound_ns=duration_ns(self.out_of_order),
                gap=self.gap,
            )
        )

    def truth(self) -> SyntheticTruth:
        """Return what is planted in the rows, by making them once more."""
        market = self.market()
        bound = duration_ns(self.out_of_order)
        rows = duplicates = disordered = 0
        late: list[tuple[Int64s, Int64s]] = []
        for block in _blocks(market):
            rows += len(block.lag)
            duplicates += int(np.count_nonzero(block.copy))
            disordered += int(np.count_nonzero(block.lag))
            is_late = block.lag > bound
            times = block.times[is_late]
            late.append((times, times + block.lag[is_late] - bound))
        times = np.concatenate([pair[0] for pair in late])
        gap = None
        if market.gap_missing:
            last = market.gap_first + market.gap_missing - 1
            gap = SequenceGap(self.names[market.gap_rank], market.gap_first, last)
        watermarks = np.concatenate([pair[1] for pair in late])
        return SyntheticTruth(rows, duplicates, disordered, len(times), gap, times, watermarks)

    def expected(self, every: str) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Return the columns of the rows that belong into bars, block by block.

        Second copies are left out, as are rows too late for windows of length `every`.
        `symbol` is the position in `names`.
        """
        bound = duration_ns(self.out_of_order)
        for block in _blocks(self.market()):
            behind = block.lag > bound
            keep = ~block.copy
            times = block.times[behind]
            keep[behind] &= ~is_too_late(times, times + block.lag[behind] - bound, every)
            yield {name: column[keep] for name, column in block.columns.items()}


class SyntheticReader:
    """Gives the rows of a market in batches, at full speed or paced by event time.

    Attributes:
        schema: The columns somebody reads.
        provider: The provider it stands for; absent where no store can slow it down.
    """

    provider: str

    def __init__(self, source: SyntheticSource, context: NodeContext) -> None:
        schema = source.schema()
        if context.columns is not None:
            schema = schema.only(context.columns | {schema.time})
        self.schema = schema
        self._source = source
        self._context = context
        self._market = source.market()
        self._codes = context.symbols.encode(source.names)
        self._bound = duration_ns(source.out_of_order)
        self._start_ns = _nanoseconds(source.begin)
        self._time = None
        if source.speed != "max":
            self._time = EventTime(context.clock, float(source.speed))
        if source.provider is not None:
            self.provider = source.provider
        self._batch: Batch | None = None
        self._newest = np.empty(0, np.int64)
        self._before = TIME_MIN
        self._at = 0
        self._share = 0.0
        self._given = self._dropping = Standing.at(context.position).rows

    async def read(self) -> Sequence[tuple[str, Batch | Idle]] | None:
        """Return the next batch, or None at the end of the market."""
        while self._dropping:
            if self._at == len(self._newest) and not self._next_block():
                return None
            dropped = min(self._dropping, len(self._newest) - self._at)
            self._dropping -= dropped
            self._at += dropped
        while self._batch is None or self._at == len(self._newest):
            if not self._next_block():
                return None
        stop = min(len(self._newest), self._at + self._source.batch_rows)
        if self._time is not None:
            stop = await self._due(stop, self._time)
        batch = self._cut(self._batch, stop)
        self._context.account.rows_in += len(batch)
        self._given += len(batch)
        return (("out", batch),)

    def throttle(self, scale: float) -> None:
        """Let event time pass at this share of `speed`."""
        if self._time is not None:
            self._time.throttle(scale)

    @property
    def budget_scale(self) -> float:
        """The share of `speed` at which event time passes."""
        return 1.0 if self._time is None else self._time.scale

    def position(self) -> Position:
        """Return how many rows were given."""
        return Standing(rows=self._given).position()

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def fraction(self) -> float:
        """Return how much of the market has been given, 0 to 1."""
        return self._share

    def _next_block(self) -> bool:
        block = self._market.next_block()
        if block is None:
            self._share = 1.0
            return False
        if len(self._newest):
            self._before = int(self._newest[-1])
        self._newest = np.maximum.accumulate(block.times)
        self._at = 0
        if len(block.lag):
            np.maximum(self._newest, self._before, out=self._newest)
            self._batch = self._as_batch(block)
        self._share = block.drawn / self._source.rows
        return True

    def _as_batch(self, block: Block) -> Batch:
        columns = dict(block.columns)
        columns["symbol"] = self._codes[block.columns["symbol"]]
        if "ts_recv" in self.schema:
            columns["ts_recv"] = self._newest + _LATENCY_NS
        if "flags" in self.schema:
            columns["flags"] = np.zeros(len(block.lag), np.int64)
        kept = {name: columns[name] for name in self.schema.names}
        return Batch(self.schema, kept, self._context.symbols)

    def _cut(self, block: Batch, stop: int) -> Batch:
        start, self._at = self._at, stop
        before = int(self._newest[start - 1]) if start else self._before
        progress = Progress(before, self._bound, int(self._newest[stop - 1]) - self._bound)
        return block.slice(start, stop).with_progress(progress)

    async def _due(self, most: int, time: EventTime) -> int:
        first = int(self._newest[self._at])
        if not time.is_started:
            # What was given before a restart has had its time.
            time.start(self._start_ns if self._context.position is None else first)
        now = await time.until(first)
        due = np.searchsorted(self._newest[self._at : most], now, side="right")
        return self._at + int(due)


def _blocks(market: Market) -> Iterator[Block]:
    while (block := market.next_block()) is not None:
        yield block


def _nanoseconds(begin: str) -> int:
    try:
        moment = datetime.fromisoformat(begin)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = (
            "`begin` must be a time with its offset from UTC, as in `2024-01-02T14:30:00Z`, "
            f"was `{begin}`"
        )
        raise ConfigError(msg, parameter="begin")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
