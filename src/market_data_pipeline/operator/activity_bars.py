"""The running half of bars that activity closes, not the clock."""

from __future__ import annotations

__all__ = ("ActivityBars", "ActivitySettings", "activity_bar_schema")

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.reorder import Reorder
from market_data_pipeline.dag.state import Snapshot, stack, unstack
from market_data_pipeline.errors import ArithmeticOverflowError, SchemaError, SnapshotError
from market_data_pipeline.operator.activity_settings import Adaptive, Measure, measure_of
from market_data_pipeline.operator.bar_columns import feed_columns
from market_data_pipeline.operator.bar_rows import MEASURES_SIZE, TICK_RULE, BarRows
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec, Price
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.records import BAR, UNDEFINED, Field, Kind, Schema

Int64s = npt.NDArray[np.int64]

_OUT_SLOTS: Final = 4_096
_FIRST_KEYS: Final = 64
_NO_SIDES: Final = np.empty(0, np.uint8)
_NO_GAPS: Final = np.empty(0, np.int64)
_KINDS: Final = tuple(BarKind)


@dataclass(frozen=True, slots=True)
class ActivitySettings:
    """What the running half is told.

    Attributes:
        spec: What closes a bar.
        price: The price of quotes, `last` or None for trades.
        adaptive: How the threshold moves, or None.
        split: True if a row that overshoots the volume is split.
        partial: True if bars under way at the end of input are given.
        tick_size: The smallest price step, if it is known.
    """

    spec: BarSpec
    price: Price | None = None
    adaptive: Adaptive | None = None
    split: bool = False
    partial: bool = False
    tick_size: Decimal | None = None

    def rows(self, schema: Schema) -> BarRows:
        """Return what picks the rows of a schema."""
        return BarRows(self.spec, self.price, schema)


def activity_bar_schema(settings: ActivitySettings, schema: Schema) -> Schema:
    """Return the columns of the bars made of rows of a schema.

    The event time of a bar is `ts_close`: that is when it came to be.

    Raises:
        SchemaError: If a column is missing or of the wrong type.
        ConfigError: If the threshold is finer than the numbers it is compared to.
    """
    rows = settings.rows(schema).schema
    measure_of(settings.spec, rows, settings.tick_size, settings.adaptive)
    return _bars_of(rows)


def _bars_of(rows: Schema) -> Schema:
    scaled = [
        Field(field.name, Kind.FIXED, rows["size" if field.name == "volume" else "price"].scale)
        for field in BAR
        if field.kind is Kind.FIXED
    ]
    return replace(BAR.having(*scaled), time="ts_close")


class ActivityBars:
    """The running half: the bar under way of each symbol, and rows waiting for their turn.

    Args:
        settings: What it is told.
        context: Its context.
        feed: The states of its feed, which parts of one operator share: each has other bars
            under way, and a snapshot must tell the same of all.
    """

    def __init__(self, settings: ActivitySettings, context: NodeContext, feed: FeedLog) -> None:
        self._settings = settings
        self._context = context
        self._input: Schema | None = None
        self._rows: BarRows | None = None
        self._picked: Schema | None = None
        self._bars = BAR
        self._reorder = Reorder(context.symbols)
        self._kernel: Callable[..., Any] | None = None
        self._words = 0
        self._meta = np.zeros(0, np.int64)
        self._fresh = np.zeros(0, np.int64)
        self._slots = np.zeros(0, np.int64)
        self._out = np.empty((0, 0), np.int64)
        self._given = 0
        self._feed = feed
        self._reader = feed.join()

    def process_owned(self, batch: Batch, owned: npt.NDArray[np.uint8]) -> Outputs:
        """Take the rows whose symbols `owned` has a 1 for; see `dag.partitioned`."""
        if batch.schema is not self._input:
            self._bind(batch.schema)  # a part without rows tells a snapshot the same
        rows = np.flatnonzero(owned[batch.columns["symbol"]])
        if not len(rows):
            return self.advance(batch.watermark)
        return self.process(batch if len(rows) == len(batch) else batch.take(rows))

    def process(self, batch: Batch) -> Outputs:
        """Take rows; those whose turn it is go into bars."""
        if batch.schema is not self._input:
            self._bind(batch.schema)
        rows = self._rows
        assert rows is not None  # noqa: S101  bound above
        before = self._reorder.watermark
        account = self._context.account
        chosen = rows.only(batch, account)
        trades, corrections = chosen, rows.corrections(chosen)
        places = corrections
        if len(corrections):
            places = np.delete(np.arange(len(chosen)), corrections)
            trades = chosen.take(places)
        ready, late = self._reorder.take(rows.pick(trades))
        account.held += len(trades) - len(late)
        if len(corrections):
            late = np.sort(np.concatenate([places[late], corrections]))
        outputs = self._through(ready, before)
        if len(late):
            account.add("late", len(late))
            outputs.append(("late", chosen.take(late)))
        return outputs

    def status(self, status: Status) -> Outputs:
        """Take a state of the feed, which the bars of its time will tell."""
        self._feed.take(status)
        if self._picked is not None:
            from market_data_pipeline.kernels import activity_slots as layout

            slots = self._slots.reshape(-1, self._words)
            starts = slots[slots[:, layout.COUNT] > 0, layout.FIRST_TIME]
            least = self._reorder.watermark
            begin = min(least, int(starts.min())) if len(starts) else least
            self._feed.forget_of(self._reader, begin)
        return ()

    def advance(self, watermark: int) -> Outputs:
        """Take the rows that the watermark has come to."""
        before = self._reorder.watermark
        return self._through(self._reorder.advance(watermark), before)

    def finish(self) -> Outputs:
        """Take all rows that waited, then give or count what is unfinished."""
        before = self._reorder.watermark
        outputs = self._through(self._reorder.finish(), before)
        if self._picked is None:
            return outputs
        outputs.extend(self._unfinished())
        return outputs

    def output_watermark(self, watermark: int) -> int:
        """Return the watermark as it came: a bar's event time is that of its last row.

        Where unfinished bars are given there is no progress before the end: an unfinished
        bar can have ended with any row before.
        """
        return TIME_MIN if self._settings.partial and watermark < TIME_MAX else watermark

    # Rows into bars

    def _through(self, ready: Sequence[Batch], before: int) -> list[tuple[str, Batch]]:
        if not ready:
            return []
        keys = len(self._context.symbols)
        if keys * self._words > len(self._slots):
            self._make_keys(max(keys, 2 * len(self._slots) // self._words))
        closed: list[Int64s] = []
        for batch in ready:
            self._take(batch, closed)
        undefined = int(self._meta[2])
        if undefined:
            self._meta[2] = 0
            self._context.account.held -= undefined
            self._context.account.add("undefined", undefined)
        if not closed:
            return []
        whole = closed[0] if len(closed) == 1 else np.concatenate(closed, axis=1)
        return [("out", self._batch(whole, before, final=True))]

    def _take(self, batch: Batch, closed: list[Int64s]) -> None:
        kernel = self._kernel
        assert kernel is not None  # noqa: S101  bound with the first rows
        columns = batch.columns
        arguments = (
            np.ascontiguousarray(columns["ts_event"]),
            np.ascontiguousarray(columns["symbol"]),
            np.ascontiguousarray(columns["price"]),
            np.ascontiguousarray(columns["size"]),
            np.ascontiguousarray(columns["side"]) if "side" in columns else _NO_SIDES,
            np.ascontiguousarray(columns["missing"]) if "missing" in columns else _NO_GAPS,
            self._meta,
            self._slots,
        )
        first, done = 0, False
        while not done:
            first, done = kernel(first, *arguments, self._out)
            if self._meta[1]:
                self._fail(int(self._meta[1]))
            stop = int(self._meta[0])
            if stop > self._given:
                closed.append(self._out[:, self._given : stop])
                self._given = stop
            if stop == self._out.shape[1]:
                self._out = np.empty_like(self._out)
                self._given = self._meta[0] = 0

    def _fail(self, fault: int) -> None:
        from market_data_pipeline.kernels.activity_slots import TOO_FAR

        node = self._context.node
        if fault == TOO_FAR:
            msg = (
                f"one row of `{node}` makes more than a million bars; is a price or a size "
                f"wrong, or `{self._settings.spec.text}` too small?"
            )
        else:
            msg = (
                f"a volume, a value or an average of `{node}` left the range of 64 bits; read "
                f"the sizes with fewer decimal places"
            )
        raise ArithmeticOverflowError(msg)

    def _batch(self, closed: Int64s, before: int, *, final: bool) -> Batch:
        bars = closed.shape[1]
        ended = int(closed[11].sum())
        account = self._context.account
        account.created += bars
        account.held -= ended
        account.add("aggregated", ended)
        columns: dict[str, Column] = {"symbol": closed[0].astype(np.int32)}
        for place, name in enumerate(self._bars.names[1:10], start=1):
            columns[name] = closed[place]
        columns["is_final"] = np.full(bars, final)
        columns["revision"] = columns["late_count"] = np.zeros(bars, np.int64)
        columns |= feed_columns(self._feed, columns["symbol"], closed[1], closed[2], closed[10])
        if self._settings.partial:
            progress = Progress(TIME_MIN, 0, TIME_MIN, np.full(bars, TIME_MIN))
        else:
            # Bars come in the order of their ends, so each is its own watermark.
            progress = Progress(before, 0, self._reorder.watermark)
        return Batch(self._bars, columns, self._context.symbols, progress)

    def _unfinished(self) -> Outputs:
        from market_data_pipeline.kernels import activity_slots as layout

        slots = self._slots.reshape(-1, self._words)
        codes = np.flatnonzero(slots[:, layout.COUNT] > 0)
        left = self._rows_in_slots()
        outputs: Outputs = ()
        if self._settings.partial:
            codes = codes[np.argsort(slots[codes, layout.LAST_TIME], kind="stable")]
            closed = np.empty((layout.OUT, len(codes)), np.int64)
            self._meta[layout.META_OUT] = 0
            layout.give_bars(
                codes, self._words, self._rest_word(), self._slots, self._meta, closed
            )
            if len(codes):
                outputs = (("out", self._batch(closed, TIME_MIN, final=False)),)
        else:
            account = self._context.account
            account.held -= left
            account.add("unfinished", left)
        slots[:, layout.COUNT] = 0
        return outputs

    # Columns and room

    def _bind(self, schema: Schema) -> None:
        rows = self._settings.rows(schema)
        if self._picked is None:
            self._prepare(rows.schema)
        elif rows.schema != self._picked:
            msg = f"`{self._context.node}` was given other columns than before: {schema.names}"
            raise SchemaError(msg)
        self._rows = rows
        self._input = schema

    def _prepare(self, picked: Schema) -> None:
        # Kernels are compiled or loaded on first import; a graph that only describes
        # bars should not wait for it.
        from market_data_pipeline.kernels import activity_slots as layout
        from market_data_pipeline.kernels import expected_activity as expected

        settings, adaptive = self._settings, self._settings.adaptive
        kind = settings.spec.kind
        measure = measure_of(settings.spec, picked, settings.tick_size, adaptive)
        low, high = _words_of(measure.threshold)
        meta = np.zeros(layout.META, np.int64)
        meta[layout.META_THRESHOLD_LOW], meta[layout.META_THRESHOLD_HIGH] = low, high
        meta[layout.META_SIZED] = kind in MEASURES_SIZE
        meta[layout.META_SUMS_GAPS] = "missing" in picked
        meta[layout.META_WHAT] = _what(kind)
        meta[expected.META_UNIT] = measure.unit
        self._words = layout.WIDE_WORDS if kind in TICK_RULE else layout.WORDS
        self._fresh = np.zeros(self._words, np.int64)
        if adaptive is not None:
            meta[expected.META_SPAN] = adaptive.span
            meta[expected.META_LEAST] = adaptive.ticks_min * 1_000_000
            meta[expected.META_MOST] = adaptive.ticks_max * 1_000_000
            self._fresh[expected.THRESHOLD : expected.THRESHOLD + 2] = low, high
            self._fresh[expected.TICKS] = adaptive.ticks * 1_000_000
            self._fresh[expected.AVERAGE_A] = measure.first_average
            self._fresh[expected.AVERAGE_B] = measure.first_average
        self._kernel = _kernel_of(kind, split=settings.split)
        self._meta = meta
        self._picked = picked
        self._measure = measure
        self._bars = _bars_of(picked)
        self._out = np.empty((layout.OUT, _OUT_SLOTS), np.int64)
        self._make_keys(max(_FIRST_KEYS, len(self._context.symbols)))

    def _make_keys(self, keys: int) -> None:
        slots = np.tile(self._fresh, keys)
        slots[: len(self._slots)] = self._slots
        self._slots = slots

    # State

    def snapshot(self) -> Snapshot:
        """Return the bars under way, what is expected of the next, and rows that wait."""
        picked = self._picked
        feed = self._feed.scalars()
        if picked is None:
            return Snapshot(scalars=feed)
        slots = self._slots.reshape(-1, self._words)
        symbols = self._context.symbols
        codes = np.flatnonzero((slots != self._fresh).any(axis=1)).astype(np.int32)
        names = symbols.texts(codes)
        scalars = {f"scale.{name}": picked[name].scale for name in ("price", "size")}
        scalars |= {f"has.{name}": int(name in picked) for name in ("side", "missing")}
        bars = Snapshot(
            symbols.key_groups(codes),
            {"symbol": names, "words": slots[codes]},
            {**scalars, **self._signature(), **feed},
        )
        return stack({"bars": bars, "rows": self._reorder.snapshot()})

    def restore(self, snapshot: Snapshot) -> None:
        """Take over bars under way and rows that wait.

        Raises:
            SnapshotError: If it is no state of bars like these.
        """
        if not snapshot.keyed:
            self._feed.restore(snapshot.scalars)
            return
        parts = unstack(snapshot, ("bars", "rows"))
        bars = parts["bars"]
        self._feed.restore(bars.scalars)
        try:
            picked = _picked_of(bars)
        except KeyError as err:
            msg = f"the state is not one of `bars` that activity closes: there is no {err}"
            raise SnapshotError(msg) from err
        self._prepare(picked)
        for name, mine in self._signature().items():
            if bars.scalars.get(name) != mine:
                msg = (
                    f"the state is not one of `{self._settings.spec.text}`: `{name}` is "
                    f"{bars.scalars.get(name)}, here it is {mine}"
                )
                raise SnapshotError(msg)
        codes = self._context.symbols.encode_texts(bars.keyed["symbol"])
        self._make_keys(max(_FIRST_KEYS, len(self._context.symbols)))
        self._slots.reshape(-1, self._words)[codes] = bars.keyed["words"]
        self._context.account.held += self._rows_in_slots()
        self._context.account.held += self._reorder.restore(parts["rows"])
        self._reorder.bind(picked)

    def _signature(self) -> dict[str, int]:
        """Return what a state must agree in, to be taken over."""
        low, high = _words_of(self._measure.threshold)
        adaptive = self._settings.adaptive
        return {
            "kind": _KINDS.index(self._settings.spec.kind),
            "threshold.low": low,
            "threshold.high": high,
            "span": 0 if adaptive is None else adaptive.span,
            "split": int(self._settings.split),
        }

    def _rest_word(self) -> int:
        """Return the word that counts the rows that end in a bar."""
        from market_data_pipeline.kernels import activity_slots as layout

        return layout.OWN if self._settings.split else layout.COUNT

    def _rows_in_slots(self) -> int:
        from market_data_pipeline.kernels import activity_slots as layout

        slots = self._slots.reshape(-1, self._words)
        return int(slots[slots[:, layout.COUNT] > 0, self._rest_word()].sum())

    _measure = Measure(0)


def _picked_of(bars: Snapshot) -> Schema:
    """Return the columns that rows had, from a snapshot."""
    scalars = bars.scalars
    fields = [
        Field("ts_event", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("price", Kind.FIXED, scalars["scale.price"]),
        Field("size", Kind.FIXED, scalars["scale.size"]),
    ]
    if scalars["has.side"]:
        fields.append(Field("side", Kind.CHAR))
    if scalars["has.missing"]:
        fields.append(Field("missing", Kind.INT))
    return Schema("trade", tuple(fields))


def _words_of(value: int) -> tuple[int, int]:
    """Return the low and high word of a 128-bit number, both as int64."""
    low = value & (2**64 - 1)
    return (low - 2**64 if low > UNDEFINED else low), value >> 64


def _what(kind: BarKind) -> int:
    from market_data_pipeline.kernels import activity_slots as layout

    if kind not in MEASURES_SIZE:
        return layout.WHAT_TICKS
    of_volume = {BarKind.VOLUME, BarKind.VOLUME_IMBALANCE, BarKind.VOLUME_RUNS}
    return layout.WHAT_VOLUME if kind in of_volume else layout.WHAT_VALUE


def _kernel_of(kind: BarKind, *, split: bool) -> Any:
    if split:
        from market_data_pipeline.kernels.split_volume_bars import split_volume_bars

        return split_volume_bars
    if kind is BarKind.RANGE:
        from market_data_pipeline.kernels.range_bars import range_bars

        return range_bars
    if kind is BarKind.RENKO:
        from market_data_pipeline.kernels.renko_bars import renko_bars

        return renko_bars
    if kind in {BarKind.TICK_RUNS, BarKind.VOLUME_RUNS, BarKind.VALUE_RUNS}:
        from market_data_pipeline.kernels.run_bars import run_bars

        return run_bars
    if kind in TICK_RULE:
        from market_data_pipeline.kernels.imbalance_bars import imbalance_bars

        return imbalance_bars
    from market_data_pipeline.kernels.threshold_bars import threshold_bars

    return threshold_bars
