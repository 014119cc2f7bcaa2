"""Bars: trades or quotes of each symbol in windows of event time."""

from __future__ import annotations

__all__ = ("Bars",)

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, Batch, Progress
from market_data_pipeline.dag.component import component, settings_of
from market_data_pipeline.dag.nodes import NodeContext, Operator, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.windowing import TumblingWindows
from market_data_pipeline.errors import (
    ArithmeticOverflowError,
    ConfigError,
    SchemaError,
    SnapshotError,
    nearest,
)
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
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec, Every, Price, bar_spec
from market_data_pipeline.operator.picked_bars import PickedBars, picked_schema
from market_data_pipeline.records import BAR, QUOTE_BAR, Field, Kind, Schema

_TRADE_COLUMNS: Final = ("symbol", "price", "size")
_QUOTE_COLUMNS: Final = ("symbol", "bid_price", "ask_price")


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
    stay within the source's `out_of_order` bound. Later rows go to the output `late`.

    A bar that no span of time closes takes rows in the order of event time, holds them
    until the watermark has come to them, and ends with the row that closes it: `ts_open`
    and `ts_close` are the times of its first and its last row. Rows below the watermark
    are late.

    Backpressure: holds one slot of 128 bytes per symbol and open window. Bars that no span
    of time closes hold one slot of 128 or 192 bytes per symbol, and the rows that the
    source's `out_of_order` bound spans.

    Delivery: each bar once, bars of time in the order of `ts_open`, others of `ts_close`.

    Attributes:
        every: What closes a bar. Windows of time are aligned to the UNIX epoch.
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
    """

    every: Every

    price: Price | None = None
    adaptive: dict[str, int] | None = None
    split: bool = False
    partial: bool = False
    tick_size: TickSize | None = None

    outputs: ClassVar[tuple[str, ...]] = ("out", "late")
    side_outputs: ClassVar[tuple[str, ...]] = ("late",)

    def __post_init__(self) -> None:
        """Refuse a window that holds no time.

        Raises:
            ConfigError: If `every` is zero.
        """
        spec = self._spec
        if spec.amount <= 0:
            msg = f"`every` of `bars` must be longer than zero, was `{self.every}`"
            raise ConfigError(msg, parameter="every")
        check_settings(spec, settings_of(self))

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
            return {"out": activity_bar_schema(activity, schema), "late": schema}
        price = self.price or spec.price
        rows = schema
        if price is not None:
            rows = picked_schema(BarRows(spec, price, schema), schema)
        return {"out": bar_schema(rows), "late": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return the columns bars are made of."""
        return frozenset(("ts_event", "ts_open", "missing", *columns_read(self._spec, self.price)))

    def build(self, context: NodeContext) -> Operator:
        """Make the running half."""
        activity, spec = self._activity, self._spec
        if activity is not None:
            return ActivityBars(activity, context)
        bars = _BarsOperator(spec.width_ns, context)
        price = self.price or spec.price
        return bars if price is None else PickedBars(spec, price, bars, context)


def bar_schema(schema: Schema) -> Schema:
    """Return the columns of the bars made of rows of a schema.

    Raises:
        SchemaError: If the rows are neither trades nor quotes.
    """
    quotes = "bid_price" in schema and "ask_price" in schema
    needed = _QUOTE_COLUMNS if quotes else _TRADE_COLUMNS
    for name in needed:
        if name not in schema:
            names = ", ".join(f"`{known}`" for known in schema.names)
            msg = (
                f"`bars` needs `symbol`, `price` and `size` of trades, or `symbol`, "
                f"`bid_price` and `ask_price` of quotes; there is no `{name}`"
                f"{nearest(name, schema.names)} (columns: {names})"
            )
            raise SchemaError(msg)
        if name != "symbol" and schema[name].kind is not Kind.FIXED:
            msg = f"`bars` needs `{name}` as a fixed-point number, was {schema[name]}"
            raise SchemaError(msg)
    if not schema.time:
        msg = f"`bars` needs rows with an event time, `{schema.name}` rows have none"
        raise SchemaError(msg)
    return _scaled(QUOTE_BAR, schema) if quotes else _scaled(BAR, schema)


def _scaled(bar: Schema, schema: Schema) -> Schema:
    """Give the prices and volumes of a bar the scales of the rows it is made of."""
    sources = {"volume": "size", "bid": "bid_price", "ask": "ask_price"}
    fields = []
    for field in bar:
        if field.kind is Kind.FIXED:
            source = sources.get(field.name) or sources.get(field.name.split("_")[0], "price")
            fields.append(Field(field.name, Kind.FIXED, schema[source].scale))
    return bar.having(*fields)


class _BarsOperator:
    """The running half: the windows that are open."""

    def __init__(self, width_ns: int, context: NodeContext) -> None:
        self._width = width_ns
        self._context = context
        self._columns: tuple[str, ...] = ()
        self._schema = BAR
        self._input: Schema | None = None
        self._windows: TumblingWindows | None = None
        self._emitted_edge: int | None = None

    def process(self, batch: Batch) -> Outputs:
        """Take rows into their windows."""
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        windows = self._windows
        if windows is None:
            msg = "bars were given rows before they knew their columns"
            raise SchemaError(msg)
        edge = windows.closed_edge(windows.watermark)
        taken = windows.taken
        closed, late = windows.take(batch, *(batch.columns[name] for name in self._columns))
        account = self._context.account
        account.held += windows.taken - taken
        outputs = []
        if closed.shape[1]:
            outputs.append(("out", self._bars(closed, edge, windows)))
        if len(late):
            account.add("late", len(late))
            outputs.append(("late", batch.take(late)))
        if windows.overflowed:
            msg = (
                f"a volume or average of `{self._context.node}` left the range of 64 bits; "
                f"read the sizes with fewer decimal places"
            )
            raise ArithmeticOverflowError(msg)
        return outputs

    def advance(self, watermark: int) -> Outputs:
        """Close the windows that end at or before the watermark."""
        windows = self._windows
        if windows is None or watermark <= windows.watermark:
            return ()
        edge = windows.closed_edge(windows.watermark)
        closed = windows.advance(watermark)
        return (("out", self._bars(closed, edge, windows)),) if closed.shape[1] else ()

    def finish(self) -> Outputs:
        """Close all windows."""
        return self.advance(TIME_MAX)

    def output_watermark(self, watermark: int) -> int:
        """Return the start of the first window that is open at a watermark."""
        if self._windows is None:
            return watermark if watermark == TIME_MAX else (watermark // self._width) * self._width
        return self._windows.closed_edge(watermark)

    def snapshot(self) -> Snapshot:
        """Return the open windows, and what their bars look like."""
        if self._windows is None:
            return Snapshot()
        windows = self._windows.snapshot()
        scales = {f"scale.{f.name}": f.scale for f in self._schema if f.kind is Kind.FIXED}
        return replace(windows, scalars={**windows.scalars, **scales})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over open windows. They are given up in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of bars of this width.
        """
        if not snapshot.keyed:
            return
        bar = QUOTE_BAR if "scale.bid_open" in snapshot.scalars else BAR
        try:
            scaled = [
                replace(f, scale=snapshot.scalars[f"scale.{f.name}"])
                for f in bar
                if f.kind is Kind.FIXED
            ]
        except KeyError as err:
            msg = f"the state is not one of `bars`: there is no {err}"
            raise SnapshotError(msg) from err
        windows = self._make_windows(bar.having(*scaled))
        windows.restore(snapshot)
        counts = snapshot.keyed["words"][:, 12 if bar is QUOTE_BAR else 9]
        self._context.account.held += int(counts.sum())

    def _set_input(self, schema: Schema) -> None:
        bars = bar_schema(schema)
        if self._windows is None:
            self._make_windows(bars)
        elif bars != self._schema:
            msg = f"`{self._context.node}` was given other columns than before: {schema.names}"
            raise SchemaError(msg)
        self._input = schema

    def _make_windows(self, bars: Schema) -> TumblingWindows:
        # Kernels are compiled or loaded on first import; a graph that only describes
        # bars should not wait for it.
        from market_data_pipeline.kernels import quote_bars, trade_bars

        self._schema = bars
        quotes = bars.name == QUOTE_BAR.name
        self._columns = _QUOTE_COLUMNS[1:] if quotes else _TRADE_COLUMNS[1:]
        self._windows = TumblingWindows(
            self._width,
            out_columns=quote_bars.OUT if quotes else trade_bars.OUT,
            take=quote_bars.quote_bars if quotes else trade_bars.trade_bars,
            close=quote_bars.close_quote_bars if quotes else trade_bars.close_trade_bars,
            symbols=self._context.symbols,
        )
        return self._windows

    def _bars(self, closed: npt.NDArray[np.int64], edge: int, windows: TumblingWindows) -> Batch:
        rows = closed.shape[1]
        account = self._context.account
        counted = int(closed[-1].sum())
        account.created += rows
        account.held -= counted
        account.add("aggregated", counted)
        opens = closed[1]
        closes = np.where(opens <= TIME_MAX - self._width, opens + self._width, TIME_MAX)
        columns = {"symbol": closed[0].astype(np.int32), "ts_open": opens, "ts_close": closes}
        for place, name in enumerate(self._schema.names[3:], start=2):
            columns[name] = closed[place]
        # Bars come in the order of their starts, so each is its own watermark.
        progress = Progress(edge, 0, windows.closed_edge(windows.watermark))
        return Batch(self._schema, columns, self._context.symbols, progress)
