"""Any market-data provider as a source of a graph."""

from __future__ import annotations

__all__ = ("ProviderReader", "ProviderSource")

import asyncio
import weakref
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Final, Protocol, TypeAlias

from pydantic import Field, WithJsonSchema

from market_data_pipeline.adapters.core_records import length_of
from market_data_pipeline.adapters.provider_calls import (
    NamedInstrument,
    ProviderStream,
    instruments_of,
    provider_name,
)
from market_data_pipeline.adapters.provider_feed import FeedLimits, Mark, ProviderFeed
from market_data_pipeline.adapters.provider_rows import (
    BarTime,
    Kinds,
    ProviderRows,
    provider_schema,
)
from market_data_pipeline.adapters.providers import provider_factory
from market_data_pipeline.adapters.retrying import Backoff
from market_data_pipeline.adapters.throttling import Throttle
from market_data_pipeline.adapters.unchanged import Unchanged
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.pacing import Budget
from market_data_pipeline.records import FeedState, Schema
from market_data_pipeline.source.progress import FeedProgress, OnOutage

Provider: TypeAlias = Annotated[Any, WithJsonSchema({"type": "string"})]
"""A provider, or the name of one."""

_NO_PROVIDERS: Final = (bool, int, float, bytes, list, tuple, set, dict)


class Adjustment(Protocol):
    """What `market_data_core.telemetry.RateAdjustment` has that is needed here."""

    @property
    def provider(self) -> str:
        """Name of the provider it is meant for."""
        ...

    @property
    def scale(self) -> float:
        """The share of the budget that may be used, 0 to 1."""
        ...


@component("provider")
class ProviderSource:
    """Rows of a market-data provider.

    A provider is a `MarketDataProvider` of market_data_core or anything like it: it has
    `stream_quotes(symbols)`, `stream_trades(symbols)` or `stream_bars(resolution, symbols)`,
    an async generator, or a coroutine or function that returns something to iterate over. A
    plain iterator that is no list is read in a thread.

    A failure that is worth another try (`RetryableProviderError`, `retryable = True`, a
    connection error or timeout) closes the stream and opens it again after a delay; any
    other, or too many in a row, ends the run. The states `disconnected`, `live` and
    `quiet` travel with the rows, and windows act on them.

    Times without a zone are UTC. Prices and sizes become fixed point exactly; a record that
    cannot be taken goes to `rejected` with the reason.

    Backpressure: what comes waits in a buffer of `buffer_rows`; once it is full the provider
    is not asked for more.

    Delivery: what the provider gives, once. What it gives while the connection is lost is
    lost, and known as an outage. What waits in the buffer when a run is stopped is counted
    under `unread`.

    Attributes:
        provider: The provider, or the name of one: `ibkr`, or what an installed package
            offers under the entry point group `market_data.providers`.
        symbols: What to ask for: symbols, or instruments as `{symbol: ES, exchange: CME,
            currency: USD, sec_type: FUT}`.
        kind: What to ask for: `quotes`, `trades` or `bars`.
        settings: Settings of a provider that is named; it says which there are. Text of the
            form `${env:NAME}` stands for an environment variable.
        name: The name by which its budget is known; the provider's own by default.
        resolution: For bars: how long each is, as `1s`, `5m`, `1h` or `1d`.
        bar_time: For bars: which end of a bar its time is; in market_data_core, the `end`.
        out_of_order: The watermark is the newest event time less this.
        on_outage: What an outage does to others that are merged with this feed: `hold` lets
            them wait, `close` lets them go on.
        quiet_after: After how long without a row the feed is taken to be quiet, so that
            windows close; None for never. Only for feeds that would fail if they were cut off.
        rate: Most rows in a second that the provider is asked for; None for any number.
        burst: How many may come at once; a tenth of a second's worth by default.
        drop_unchanged: For quotes: leave out a quote that says what the symbol's last one
            said, counted under `unchanged`.
        retries: Failures in a row after which no other try is made.
        backoff: The shortest delay before another try; delays grow at random up to
            `backoff_max`, or to what the provider asks for.
        backoff_max: The longest delay.
        stable_after: How long a feed must be up for its next failure to count as the first.
        seed: What the delays follow from; None for delays that no other feed has.
        buffer_rows: Rows that may wait.
        close_provider: Whether to enter and close the provider; by default one that is named.
        strict: Fail on the first record that cannot be taken, instead of rejecting it.
    """

    provider: Provider
    symbols: tuple[str | dict[str, Any] | NamedInstrument, ...] = Field(min_length=1)
    kind: Kinds = "quotes"
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    name: str | None = None
    resolution: str = "1m"
    bar_time: BarTime = "end"
    out_of_order: Duration = "0s"
    on_outage: OnOutage = "hold"
    quiet_after: Duration | None = None
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    drop_unchanged: bool = False
    retries: int = Field(default=10, ge=0)
    backoff: Duration = "500ms"
    backoff_max: Duration = "60s"
    stable_after: Duration = "30s"
    seed: int | None = None
    buffer_rows: int = Field(default=10_000, ge=1)
    close_provider: bool | None = None
    strict: bool = False

    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    def __post_init__(self) -> None:
        # Not a setting, so not a field.
        object.__setattr__(self, "_readers", weakref.WeakSet())
        if self.provider is None or isinstance(self.provider, _NO_PROVIDERS):
            msg = f"`provider` must be a provider or the name of one, was {self.provider!r}"
            raise ConfigError(msg, parameter="provider")
        if self.kind == "bars":
            self._length_ns()
        if self.drop_unchanged and self.kind != "quotes":
            msg = "`drop_unchanged` is for quotes: two equal trades or bars are two"
            raise ConfigError(msg, parameter="drop_unchanged")
        if self.settings and not isinstance(self.provider, str):
            msg = "`settings` are for a provider that is named; this one is made already"
            raise ConfigError(msg, parameter="settings")

    def schema(self) -> Schema:
        """Return the columns of the rows."""
        return provider_schema(self.kind)

    async def open(self, context: NodeContext) -> ProviderReader:
        """Find the provider; it is called once the first row is asked for.

        Raises:
            ConfigError: If there is no such provider, or its settings are wrong.
            MissingDependencyError: If the package it needs is not installed.
        """
        make = self._maker()
        reader = ProviderReader(self, make, context)
        self._open_readers().add(reader)
        return reader

    async def apply(self, adj: Adjustment) -> None:
        """Take a rate adjustment, as a `RateController` of market_data_core.

        One that is meant for another provider is passed over.
        """
        for reader in list(self._open_readers()):
            if reader.provider == adj.provider:
                reader.throttle(adj.scale)

    def _open_readers(self) -> weakref.WeakSet[ProviderReader]:
        readers: weakref.WeakSet[ProviderReader] = self.__dict__["_readers"]
        return readers

    def _maker(self) -> Callable[[], Any]:
        if isinstance(self.provider, str):
            settings = {
                name: Secret(value).reveal() if isinstance(value, str) else value
                for name, value in self.settings.items()
            }
            return provider_factory(self.provider, settings)
        provider = self.provider
        return lambda: provider

    @property
    def provider_label(self) -> str:
        """The name by which the provider's budget is known."""
        if self.name:
            return self.name
        return self.provider if isinstance(self.provider, str) else provider_name(self.provider)

    def _length_ns(self) -> int:
        if self.resolution.endswith("M"):
            msg = f"`resolution` must have a fixed length, was `{self.resolution}`"
            raise ConfigError(msg, parameter="resolution")
        length = length_of(self.resolution)
        if not length:
            msg = f"`resolution` must be longer than nothing, was `{self.resolution}`"
            raise ConfigError(msg, parameter="resolution")
        return length


class ProviderReader:
    """Gives what a provider streams.

    Attributes:
        schema: The columns somebody reads.
        provider: Name of the provider whose budget it draws on.
    """

    def __init__(
        self, source: ProviderSource, make: Callable[[], Any], context: NodeContext
    ) -> None:
        self.provider = source.provider_label
        self._context = context
        self._clock = context.clock
        self._rows = ProviderRows(
            source.kind,
            context.symbols,
            place=f"provider `{self.provider}`",
            wanted=context.columns,
            strict=source.strict,
            length_ns=source._length_ns() if source.kind == "bars" else 0,  # noqa: SLF001
            bar_time=source.bar_time,
        )
        self.schema = self._rows.schema
        self._progress = FeedProgress(duration_ns(source.out_of_order), on_outage=source.on_outage)
        self._unchanged = Unchanged() if source.drop_unchanged else None
        self._quiet_s = (
            None if source.quiet_after is None else duration_ns(source.quiet_after) / 1e9
        )
        self._is_quiet = False
        budget = None
        if source.rate is not None:
            burst = source.rate / 10 if source.burst is None else source.burst
            budget = Budget(source.rate, max(1.0, burst))
        self._throttle = Throttle(budget, self._clock)
        arguments: list[Any] = [instruments_of(source.symbols)]
        if source.kind == "bars":
            arguments.insert(0, source.resolution)
        owned = source.close_provider
        stream = ProviderStream(
            make,
            self.provider,
            source.kind,
            arguments,
            owned=isinstance(source.provider, str) if owned is None else owned,
        )
        self._feed = ProviderFeed(
            stream,
            self.provider,
            FeedLimits(source.buffer_rows, source.retries, duration_ns(source.stable_after) / 1e9),
            backoff=Backoff(
                duration_ns(source.backoff) / 1e9,
                duration_ns(source.backoff_max) / 1e9,
                seed=source.seed,
            ),
            throttle=self._throttle,
            clock=self._clock,
        )

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        """Return what has come since the last call, waiting for something to come."""
        if await self._fell_quiet():
            self._is_quiet = True
            return self._told(FeedState.QUIET, self._clock.now_ns())
        if not await self._feed.wait():
            return None
        return self._given(self._feed.take())

    async def close(self) -> None:
        """Stop the provider's stream; count what was not read."""
        unread = await self._feed.close()
        account = self._context.account
        account.rows_in += unread
        account.add("unread", unread)

    def fraction(self) -> float | None:
        """Return None: nobody knows how long a feed lasts."""
        return None

    def throttle(self, scale: float) -> None:
        """Take from now on this share of the provider's budget, 0 (pause) to 1."""
        self._throttle.scale = min(max(scale, 0.0), 1.0)

    @property
    def budget_scale(self) -> float:
        """The share of its provider's budget that it may draw on, 0 to 1."""
        return self._throttle.scale

    @property
    def pacing_waits(self) -> int:
        """How often it had to wait for a token."""
        return self._throttle.waits

    async def _fell_quiet(self) -> bool:
        """Wait until there is news, or there was none for so long that the feed is quiet."""
        feed, quiet_s = self._feed, self._quiet_s
        if quiet_s is None or self._is_quiet or feed.has_news or not feed.is_up:
            return False
        async with asyncio.TaskGroup() as group:
            news = group.create_task(feed.news())
            sleeping = group.create_task(self._clock.sleep(quiet_s))
            await asyncio.wait((news, sleeping), return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            sleeping.cancel()
        return not feed.has_news

    def _given(self, taken: list[Any]) -> list[tuple[str, SourceItem]]:
        items: list[tuple[str, SourceItem]] = []
        records: list[Any] = []
        came_up = False
        for record in taken:
            if not isinstance(record, Mark):
                records.append(record)
                continue
            items += self._batches(records, came_up=came_up)
            records = []
            came_up = record is Mark.UP
            if record is Mark.DOWN:
                items += self._told(FeedState.DISCONNECTED, self._clock.now_ns())
        items += self._batches(records, came_up=came_up)
        return items

    def _batches(self, records: list[Any], *, came_up: bool) -> list[tuple[str, SourceItem]]:
        if not records:
            return []
        now_ns = self._clock.now_ns()
        account = self._context.account
        account.rows_in += len(records)
        kept = records if self._unchanged is None else self._unchanged.left_out(records)
        account.add("unchanged", len(records) - len(kept))
        batch = self._rows.convert(kept, now_ns)
        rejected = self._rows.take_rejected()
        items: list[tuple[str, SourceItem]] = []
        if came_up or self._is_quiet:
            # It was up when its first row happened, which is before that was heard of.
            first_ns = int(batch.times.min()) if len(batch) else now_ns
            items += self._told(FeedState.LIVE, min(now_ns, first_ns))
        self._is_quiet = False
        if len(batch):
            items.append(("out", self._progress.stamped(batch)))
        if rejected is not None:
            account.add("rejected", len(rejected))
            items.append(("rejected", rejected))
        return items

    def _told(self, state: FeedState, time_ns: int) -> list[tuple[str, SourceItem]]:
        return [("out", item) for item in self._progress.told(Status(state, time_ns))]
