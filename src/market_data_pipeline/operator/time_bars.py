"""The running half of bars on windows of event time."""

from __future__ import annotations

__all__ = ("TimeBars",)

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, Batch
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot, stack, unstack
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.dag.windowing import EVERY_KEY, NO_ROW, NONE, TumblingWindows
from market_data_pipeline.errors import SchemaError, SnapshotError
from market_data_pipeline.kept_columns import KeptColumns
from market_data_pipeline.kernels import bar_slot, quote_slot, trade_slot
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.kernels.bar_closing import OF_BARS, QUOTES, TRADES, close_windows
from market_data_pipeline.kernels.time_bars import time_bars
from market_data_pipeline.operator.bar_checks import refuse_overflow, refuse_undefined
from market_data_pipeline.operator.bar_schema import Fill, Revisions, bar_schema, is_bars
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.operator.given_bars import GivenBars
from market_data_pipeline.operator.inner_bars import InnerBars
from market_data_pipeline.operator.session_windows import SessionWindows
from market_data_pipeline.operator.trade_corrections import Corrections, TakenTrades
from market_data_pipeline.operator.trade_log import check_action
from market_data_pipeline.records import BAR, QUOTE_BAR, UNDEFINED, Kind, Schema

Int64s = npt.NDArray[np.int64]

_VALUES: Final = {
    BAR.name: ("price", "size"),
    QUOTE_BAR.name: ("bid_price", "ask_price"),
}
_MODES: Final = {
    "upsert": layout.MODE_UPSERT,
    "retract": layout.MODE_RETRACT,
    "final": layout.MODE_FINAL,
}
_FEW_ROWS: Final = 16
# To look at a slot costs about as much as to look at this many rows of a column.
_SLOT_COST: Final = 4
_PARTS: Final = ("windows", "filling")


class TimeBars:
    """Keeps the windows that can still change, and the states of the feed."""

    def __init__(
        self,
        context: NodeContext,
        *,
        width_ns: int,
        lateness_ns: int,
        revisions: Revisions,
        calendar: str | Mapping[str, Any] | None,
        fill: Fill | None = None,
        turnover: bool = False,
    ) -> None:
        self._context = context
        self._mode = _MODES[revisions]
        sessions = None if calendar is None else SessionWindows(calendar, width_ns)
        self._grid = WindowGrid(width_ns, lateness_ns=lateness_ns, sessions=sessions)
        self._bars_schema = BAR
        self._input: Schema | None = None
        self._windows: TumblingWindows | None = None
        self._feed = FeedLog(context.symbols)
        self._given = GivenBars(
            context,
            self._grid,
            self._feed,
            sessions,
            revisions=revisions,
            fill=fill,
            turnover=turnover,
        )
        self._fills = fill is not None
        self._reads: tuple[str, str] = ("", "")
        self._is_checked = False
        self._has = (False, False)
        self._inner: InnerBars | None = None
        self._of_bars = False
        self._corrections: Corrections | None = None
        self._last_skipped = NONE

    def process(self, batch: Batch) -> Outputs:
        """Take rows into their windows."""
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        windows = self._windows
        if windows is None:
            msg = "bars were given rows before they knew their columns"
            raise SchemaError(msg)
        if self._corrections is None:
            return self._take(batch, windows)
        return self._corrections.process(
            batch, windows, take=self._take_trades, advance=self.advance
        )

    def _take_trades(self, batch: Batch, windows: TumblingWindows) -> TakenTrades:
        return self._take(batch, windows), self._last_skipped

    gives_on_time = True

    def process_owned(self, batch: Batch, owned: npt.NDArray[np.uint8]) -> Outputs:
        """Take the rows whose symbols `owned` has a 1 for; see `dag.partitioned`."""
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        if self._corrections is None and self._windows is not None:
            return self._take(batch, self._windows, owned)
        rows = np.flatnonzero(owned[batch.columns["symbol"]])
        return self.process(batch.take(rows)) if len(rows) else self.advance(batch.watermark)

    def _take(
        self,
        batch: Batch,
        windows: TumblingWindows,
        owned: npt.NDArray[np.uint8] = EVERY_KEY,
    ) -> list[tuple[str, Batch]]:
        before = windows.watermark
        taken = windows.taken
        account = self._context.account
        columns = batch.columns
        left_out = NO_ROW
        values: tuple[Int64s, ...]
        kept = batch
        if isinstance(columns, KeptColumns) and self._passes_over(kept, columns, owned):
            # To pass over the rows that are left out takes less than to copy the others.
            batch, left_out = columns.whole, columns.left_out
            columns = batch.columns
        if self._inner is not None:
            batch = self._inner.pick(batch, account, owned)
            values = (batch.columns["ts_close"], self._inner.values(batch))
        else:
            missing, updates = self._has
            values = (
                columns[self._reads[0]],
                columns[self._reads[1]],
                columns["missing"] if missing else NONE,
                columns["updates"] if updates else self._every_update(len(batch)),
            )
        given, skipped = windows.take(batch, *values, owned=owned, left_out=left_out)
        self._last_skipped = skipped
        account.held += windows.taken - taken
        if windows.overflowed or (
            self._is_checked
            and self._has_undefined(batch, windows)
            and (batch is kept or self._has_undefined(kept, windows))
        ):
            self._refuse(kept)
        outputs: list[tuple[str, Batch]] = []
        if given.shape[1] or self._fills:
            outputs += self._given.outputs(given, before, windows)
        if len(skipped):
            outputs += self._skipped(batch, skipped)
        return outputs

    def _passes_over(
        self, batch: Batch, columns: KeptColumns, owned: npt.NDArray[np.uint8]
    ) -> bool:
        """Tell whether the kernel may be given the rows that were left out of a batch too."""
        plain = self._inner is None and self._corrections is None and not len(owned)
        return plain and columns.says_all_of(batch)

    def _every_update(self, rows: int) -> Int64s:
        """Return what trades count for that do not say.

        A slot whose only trade was cancelled is none that the short path knows how to
        take up again, and where trades say what they count for there is only the long one.
        """
        if self._corrections is None:
            return NONE
        return np.full(rows, trade_slot.UPDATES_ALL, np.int64)

    def _skipped(self, batch: Batch, skipped: Int64s) -> list[tuple[str, Batch]]:
        account = self._context.account
        outputs = []
        for port, rows in (("late", skipped[skipped >= 0]), ("outside", ~skipped[skipped < 0])):
            if len(rows):
                account.add(port, len(rows))
                outputs.append((port, batch.take(rows)))
        return outputs

    def status(self, status: Status) -> Outputs:
        """Take a state of the feed, which the bars of its time will tell."""
        self._feed.take(status)
        return ()

    def advance(self, watermark: int) -> Outputs:
        """Give out the bars of windows that end, or become final, by the watermark."""
        windows = self._windows
        if windows is None or watermark <= windows.watermark:
            return ()
        before = windows.watermark
        given = windows.advance(watermark)
        return self._given.outputs(given, before, windows)

    def finish(self) -> Outputs:
        """Give out all bars for good."""
        return self.advance(TIME_MAX)

    def output_watermark(self, watermark: int) -> int:
        """Return the start of the first window that can change at a watermark."""
        return self._grid.edge(watermark)

    def snapshot(self) -> Snapshot:
        """Return the windows, the states of the feed, and what the bars look like."""
        if self._windows is None:
            return Snapshot(scalars=self._feed.scalars())
        # Threads forget when they give bars out, and must tell the same of one feed.
        self._feed.forget(self._windows.edge)
        feed = self._feed.scalars()
        windows = self._windows.snapshot()
        scales = {f"scale.{f.name}": f.scale for f in self._bars_schema if f.kind is Kind.FIXED}
        told = {"missing": int(self._has[0]), "of_bars": int(self._of_bars)}
        windows = replace(windows, scalars={**windows.scalars, **scales, **feed, **told})
        if self._corrections is not None:
            windows = self._corrections.log.merged_into(windows)
        if self._given.filling is None:
            return windows
        parts = (windows, self._given.filling.snapshot())
        return stack(dict(zip(_PARTS, parts, strict=True)))

    def restore(self, snapshot: Snapshot) -> None:
        """Take over open windows. They are given up in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of bars of these windows.
        """
        filling = None
        if self._fills and snapshot.keyed:
            snapshot, filling = unstack(snapshot, _PARTS).values()
        self._feed.restore(snapshot.scalars)
        if not snapshot.keyed:
            return
        self._of_bars = bool(snapshot.scalars.get("of_bars", 0))
        self._has = (bool(snapshot.scalars.get("missing", 0)), False)
        self._given.counts_missing = self._has[0]
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
        if "log" in snapshot.keyed:
            self._corrections = Corrections(self._context, self._grid, self._given)
            snapshot = self._corrections.log.taken_from(snapshot)
        self._make_windows(bar.having(*scaled)).restore(snapshot)
        if self._given.filling is not None and filling is not None:
            self._given.filling.restore(filling)
        word = quote_slot.COUNT if bar is QUOTE_BAR else trade_slot.COUNT
        word = bar_slot.ROWS if self._of_bars else word
        self._context.account.held += int(snapshot.keyed["words"][:, word].sum())

    def _set_input(self, schema: Schema) -> None:
        bars, of_bars = bar_schema(schema), is_bars(schema)
        if self._windows is None:
            self._of_bars = of_bars
            self._make_windows(bars)
        elif bars != self._bars_schema or of_bars != self._of_bars:
            msg = f"`{self._context.node}` was given other columns than before: {schema.names}"
            raise SchemaError(msg)
        self._inner = InnerBars(schema) if of_bars else None
        self._reads = _VALUES[bars.name]
        trades = bars.name == BAR.name and not of_bars
        self._has = (of_bars or "missing" in schema, "updates" in schema and trades)
        self._given.counts_missing = self._has[0]
        corrects = trades and "action" in schema and "trade_id" in schema
        if corrects and self._corrections is None:
            check_action(schema)
            self._corrections = Corrections(self._context, self._grid, self._given)
        if self._corrections is not None:
            self._corrections.log.bind(schema)
        self._is_checked = trades and not self._has[1]
        self._input = schema

    def _make_windows(self, bars: Schema) -> TumblingWindows:
        quotes = bars.name == QUOTE_BAR.name
        self._bars_schema = bars
        self._given.describe(bars, of_bars=self._of_bars)
        take: Any = time_bars
        if self._of_bars:
            from market_data_pipeline.kernels.bars_of_bars import bars_of_bars as take
        self._windows = TumblingWindows(
            self._grid,
            take=take,
            close=close_windows,
            symbols=self._context.symbols,
            kind=(QUOTES if quotes else TRADES) | (OF_BARS if self._of_bars else 0),
            step=2 if self._of_bars else 1,
            mode=self._mode,
        )
        return self._windows

    def _has_undefined(self, batch: Batch, windows: TumblingWindows) -> bool:
        """Tell whether a price is undefined, from the column or from what became of it."""
        prices = batch.columns[self._reads[0]]
        if len(prices) <= _FEW_ROWS:
            return UNDEFINED in prices.tolist()
        if windows.slots_used * _SLOT_COST < len(prices):
            return windows.largest(trade_slot.HIGH) == UNDEFINED
        return bool(prices.max() == UNDEFINED)

    def _refuse(self, rows: Batch) -> NoReturn:
        """Say what a sum that left its range, or a number that is none, is due to.

        Raises:
            RecordError: If it is a price or size in these rows.
            ArithmeticOverflowError: If not.
        """
        refuse_undefined(rows, self._reads, self._context.node)
        refuse_overflow(self._context.node)
