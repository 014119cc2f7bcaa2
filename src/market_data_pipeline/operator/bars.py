"""Bars: trades or quotes of each symbol in windows of event time."""

from __future__ import annotations

__all__ = ("Bars", "SecondBarAggregator")

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

from market_data_pipeline.calendars import check_calendar
from market_data_pipeline.dag.component import component, settings_of
from market_data_pipeline.dag.nodes import NodeContext, Operator
from market_data_pipeline.dag.partitioned import Parallelism, partitioned
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.activity_bars import (
    ActivityBars,
    ActivitySettings,
    activity_bar_schema,
)
from market_data_pipeline.operator.activity_settings import (
    TickSize,
    adaptive_of,
    check_settings,
)
from market_data_pipeline.operator.bar_rows import BarRows, columns_read
from market_data_pipeline.operator.bar_schema import (
    Fill,
    Revisions,
    bar_schema,
    columns_of_bars,
    is_bars,
    with_requests,
)
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec, Every, Price, bar_spec
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.operator.picked_bars import PickedBars, picked_schema
from market_data_pipeline.records import TURNOVER, Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.second_bars import SecondBarAggregator

_OPTIONAL: Final = ("missing", "updates", "action", "trade_id")


@component("bars")
class Bars:
    """Turn trades into OHLCV bars, or quotes into bars of bid and ask.

    `every` says what closes a bar: a span of time, as `1s` or `5min`; a number of ticks,
    a volume or a value (`500tick`, `10000vol`, `1e6val`); more of it bought than sold, or
    sold than bought (`100tick_imbalance`, `1000vol_imbalance`, `1e6val_imbalance`); enough
    of it by one side (`100tick_run`, `1000vol_run`, `1e6val_run`); a distance between high
    and low (`0.5range`); or a move of the price (`1renko`). NautilusTrader's
    `AAPL.XNAS-5-MINUTE-LAST` names an instrument and a price besides.

    A bar covers `[ts_open, ts_close)` and comes out when the watermark reaches
    `ts_close`. A window without rows has no bar. Rows of one instant count in the order
    of arrival; apart from them the order of arrival makes no difference as long as rows
    stay within the source's `out_of_order` bound.

    Every bar says how far it can be trusted: `is_final`, `revision`, `late_count`,
    `missing_seq` (from a column `missing`, as `sequence` gives it), `gap_ns`, `coverage`,
    `feed_state` and `session`. A column `updates`, as `conditions` gives it, says what a
    trade counts for. Where trades have the columns `action` and `trade_id`, a row with the
    action `C` cancels the trade of that identifier and symbol, and one with `R` gives it
    another price and size; its bar is made anew, as long as it can change. What cancels or
    replaces a trade that is not there any more is late; so is all that does where no span
    of time closes the bars, which are not made anew.

    A bar that no span of time closes takes rows in the order of event time, holds them
    until the watermark has come to them, and ends with the row that closes it: `ts_open`
    and `ts_close` are the times of its first and its last row.

    Backpressure: no rows are taken while a channel behind is full.

    Lateness: with `lateness`, a row that comes after its window has ended, but not by more
    than that, changes the bar: it comes out again with `revision` one higher. When the
    watermark reaches `ts_close + lateness` each bar comes out once more with `is_final`.
    Rows that are later still go to the output `late`, and so do, where no span of time
    closes the bars, all rows below the watermark.

    Delivery: each bar once, bars of time in the order of `ts_open`, others of `ts_close`;
    with `lateness` as `revisions` says. A DuckDB or memory sink with
    `key: [symbol, ts_open]` keeps the last revision of each bar; files keep every row, so
    for them say `revisions: final`.

    Memory: one slot of 128 bytes per symbol and window that can still change. Bars that no
    span of time closes hold one slot of 128 or 192 bytes per symbol, and the rows that the
    source's `out_of_order` bound spans. With `action`, the trades of windows
    that can still change are held too.

    Attributes:
        every: What closes a bar. Windows of time are aligned to the UNIX epoch, or to the
            opens of the sessions of `calendar`.
        lateness: How long after its end a window of time takes rows.
        revisions: `upsert`: what comes out replaces what came out for the same symbol and
            `ts_open`. `retract`: there is a column `op`, and what is replaced comes out
            again with `op` -1 before its replacement with `op` 1. `final`: only final
            bars come out.
        calendar: Name of a trading calendar, such as `XNYS`, or a description of one; see
            `sessions`. Windows of time start at the opens of its sessions and are cut at
            their closes; `1d` or longer is one bar for a session. Rows outside the
            sessions go to the output `outside`.
        price: The price that bars are made of: `last` of trades, or `bid`, `ask` or `mid`
            of quotes, each with its size (`mid`: with both). Without it trades give bars of
            `last`, and quotes bars of bid and ask; these only over time.
        adaptive: Lets the threshold of imbalance and run bars follow what is expected,
            as `{span: 20, ticks: 1000}`: moving averages over 20 bars, with 1,000 ticks
            expected in the first, which has the threshold of `every`. Expected ticks stay
            between `ticks_min` and `ticks_max`, by default a tenth and ten times `ticks`.
        split: Divide a row that overshoots between volume bars, which are then all of one
            volume; else it closes its bar whole.
        partial: Give bars that are under way at the end of input, with `is_final` false;
            else their rows are counted as `unfinished`. Not for bars of time.
        tick_size: The smallest step of the price, which `...-RENKO-...` counts.
        fill: Give a bar for each window between those of a symbol in which nothing happened,
            with `filled` true and count and volume 0: `flat` with the last close (of
            quotes: the last bid and ask) for prices, `null` without. None is given before
            a symbol's first bar, after its last at the end of input, outside the sessions
            of `calendar`, or where the feed was disconnected for any part of the window.
            With `lateness` only with `revisions: final`.
        turnover: Give the exact sum of price times size in a column `turnover`, so that
            bars made of these bars have the exact `vwap`.
        parallelism: Threads that symbols are spread over, by their key groups. The bars
            are the same; bars of one time may come in another order.
    """

    every: Every
    lateness: Duration = "0s"
    revisions: Revisions = "upsert"
    calendar: str | dict[str, Any] | None = None
    price: Price | None = None
    adaptive: dict[str, int] | None = None
    split: bool = False
    partial: bool = False
    tick_size: TickSize | None = None
    fill: Fill | None = None
    turnover: bool = False
    parallelism: Parallelism = 1

    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "outside")
    side_outputs: ClassVar[tuple[str, ...]] = ("late", "outside")

    def __post_init__(self) -> None:
        """Refuse a window that holds no time, and a calendar that there is not.

        Raises:
            ConfigError: If `every` is zero, settings do not go together, or the calendar
                is unknown.
        """
        spec = self._spec
        if spec.amount <= 0:
            msg = f"`every` of `bars` must be longer than zero, was `{self.every}`"
            raise ConfigError(msg, parameter="every")
        check_settings(spec, settings_of(self))
        if self.fill is not None and duration_ns(self.lateness) and self.revisions != "final":
            msg = (
                "`fill` with `lateness` fills only between bars that are final; set "
                "`revisions: final`, or leave one of them out"
            )
            raise ConfigError(msg, parameter="fill")
        if self.calendar is not None:
            check_calendar(self.calendar)

    @property
    def _spec(self) -> BarSpec:
        return bar_spec(self.every)

    @property
    def _activity(self) -> ActivitySettings | None:
        """What bars that no span of time closes are told, None for bars of time."""
        spec = self._spec
        if spec.kind is BarKind.TIME:
            return None
        return ActivitySettings(
            spec,
            self.price or spec.price,
            None if self.adaptive is None else adaptive_of(self.adaptive),
            self.split,
            self.partial,
            None if self.tick_size is None else Decimal(self.tick_size),
        )

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of bars for trades or quotes, and of late rows.

        Raises:
            SchemaError: If the rows are neither trades nor quotes.
        """
        activity, spec = self._activity, self._spec
        if activity is not None:
            bars = activity_bar_schema(activity, schema)
            return {"out": bars, "late": schema, "outside": schema}
        price = self.price or spec.price
        rows = schema
        if price is not None:
            rows = picked_schema(BarRows(spec, price, schema), schema)
        bars = with_requests(
            bar_schema(rows), self.revisions, turnover=self.turnover, fill=self.fill is not None
        )
        if self.turnover and is_bars(rows) and TURNOVER not in rows:
            msg = (
                "`turnover` of bars of bars is exact only if the bars have theirs; set "
                "`turnover: true` on the node that makes them"
            )
            raise SchemaError(msg)
        return {"out": bars, "late": schema, "outside": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return the columns bars are made of."""
        own = columns_read(self._spec, self.price)
        return columns_of_bars() | frozenset(("ts_event", *_OPTIONAL, *own))

    def select_columns(self, required: frozenset[str], schema: Schema) -> frozenset[str]:
        """Return the columns bars read: ids of trades only where actions refer to them."""
        if not is_bars(schema):
            own = columns_read(self._spec, self.price)
            required -= columns_of_bars() - frozenset(("ts_event", *_OPTIONAL, *own))
        return required if "action" in schema else required - {"trade_id"}

    def build(self, context: NodeContext) -> Operator:
        """Make the running half, or as many as there are threads."""
        activity = self._activity
        if activity is None:
            return partitioned(self.parallelism, context, self._build)
        feed = FeedLog(context.symbols)
        return partitioned(
            self.parallelism, context, lambda part: ActivityBars(activity, part, feed)
        )

    def _build(self, context: NodeContext) -> Operator:
        spec = self._spec
        from market_data_pipeline.operator.time_bars import TimeBars

        bars = TimeBars(
            context,
            width_ns=spec.width_ns,
            lateness_ns=duration_ns(self.lateness),
            revisions=self.revisions,
            calendar=self.calendar,
            fill=self.fill,
            turnover=self.turnover,
        )
        price = self.price or spec.price
        return bars if price is None else PickedBars(spec, price, bars, context)


def __getattr__(name: str) -> Any:
    # Its home in version 0.8; it is made of `Bars`, so it cannot be imported above.
    if name == "SecondBarAggregator":
        from market_data_pipeline.operator.second_bars import SecondBarAggregator

        return SecondBarAggregator
    msg = f"module `{__name__}` has no attribute `{name}`"
    raise AttributeError(msg)
