"""The running half of bars on windows of event time."""

from __future__ import annotations

__all__ = ("TimeBars",)

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, Batch, Column, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot, stack, unstack
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.dag.windowing import EVERY_KEY, NO_ROW, NONE, TumblingWindows
from market_data_pipeline.errors import ArithmeticOverflowError, SchemaError, SnapshotError
from market_data_pipeline.kept_columns import KeptColumns
from market_data_pipeline.kernels import bar_slot, quote_slot, trade_slot
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.kernels.time_bars import (
    OF_BARS,
    QUOTES,
    TRADES,
    close_windows,
    revise_bar,
    time_bars,
)
from market_data_pipeline.operator.bar_checks import refuse_undefined
from market_data_pipeline.operator.bar_columns import circumstances, turnover_column
from market_data_pipeline.operator.bar_schema import (
    Fill,
    Revisions,
    bar_schema,
    is_bars,
    with_requests,
)
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.operator.fill import Filling
from market_data_pipeline.operator.inner_bars import InnerBars
from market_data_pipeline.operator.session_windows import SessionWindows
from market_data_pipeline.operator.trade_log import (
    CANCEL,
    REPLACE,
    TradeLog,
    action_codes,
    check_action,
)
from market_data_pipeline.records import (
    BAR,
    FILLED,
    OP,
    QUOTE_BAR,
    TURNOVER,
    UNDEFINED,
    Kind,
    Schema,
)

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
        self._revisions: Revisions = revisions
        self._sessions = None if calendar is None else SessionWindows(calendar, width_ns)
        self._grid = WindowGrid(width_ns, lateness_ns=lateness_ns, sessions=self._sessions)
        self._bars_schema = self._schema = BAR
        self._values: tuple[tuple[int, str], ...] = ()
        self._input: Schema | None = None
        self._windows: TumblingWindows | None = None
        self._feed = FeedLog(context.symbols)
        self._reads: tuple[str, str] = ("", "")
        self._is_checked = False
        self._has = (False, False)
        self._inner: InnerBars | None = None
        self._of_bars = False
        self._fill: Fill | None = fill
        self._turnover = turnover
        self._filling: Filling | None = None
        self._log: TradeLog | None = None
        self._last_skipped = NONE

    def process(self, batch: Batch) -> Outputs:
        """Take rows into their windows."""
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        windows = self._windows
        if windows is None:
            msg = "bars were given rows before they knew their columns"
            raise SchemaError(msg)
        if self._log is None:
            return self._take(batch, windows)
        return self._correct(batch, windows, self._log)

    def _correct(self, batch: Batch, windows: TumblingWindows, log: TradeLog) -> Outputs:
        """Take rows of which some cancel or replace others."""
        actions = action_codes(batch.columns["action"])
        outputs: list[tuple[str, Batch]] = []
        begin = 0
        for at in np.flatnonzero((actions == CANCEL) | (actions == REPLACE)).tolist():
            if at > begin:
                outputs += self._take_and_log(batch.slice(begin, at), windows, log)
            cancels = bool(actions[at] == CANCEL)
            outputs += self._apply(batch.slice(at, at + 1), windows, log, cancels=cancels)
            begin = at + 1
        if begin < len(batch):
            outputs += self._take_and_log(batch.slice(begin, len(batch)), windows, log)
        outputs += self.advance(batch.watermark)
        log.forget(windows.edge)
        return outputs

    def _take_and_log(
        self, batch: Batch, windows: TumblingWindows, log: TradeLog
    ) -> list[tuple[str, Batch]]:
        outputs = self._take(batch, windows)
        if len(self._last_skipped):
            skipped = self._last_skipped
            taken = np.ones(len(batch), np.bool_)
            taken[np.where(skipped < 0, ~skipped, skipped)] = False
            batch = batch.take(np.flatnonzero(taken))
        if len(batch):
            log.add(batch)
        return outputs

    def _apply(
        self, row: Batch, windows: TumblingWindows, log: TradeLog, *, cancels: bool
    ) -> list[tuple[str, Batch]]:
        """Cancel or replace one trade."""
        # By its own watermark, which rows that were taken out behind it do not raise.
        progress = row.progress
        mark = row.watermark if progress is None else int(progress.watermarks(row.times)[0])
        outputs = list(self.advance(mark))
        account = self._context.account
        code = int(row.columns["symbol"][0])
        trade_id = row.columns["trade_id"][0]
        trade_id = trade_id.as_py() if isinstance(trade_id, pa.Scalar) else int(trade_id)
        outputs += self._mark(row, windows, log)
        found = log.find(code, trade_id)
        start = 0 if found is None else self._grid.start_of(found.time)
        if found is None or start < windows.edge:
            # Nobody knows whether the trade never came or is of a bar that is final.
            account.add("late", 1)
            return [*outputs, ("late", row)]
        if cancels:
            log.cancel(found)
            account.held -= 1
            account.add("cancelled", 1)
        else:
            log.replace(found, int(row.columns["price"][0]), int(row.columns["size"][0]))
        account.add("correction", 1)
        return [*outputs, *self._remade(code, start, windows, log)]

    def _mark(
        self, row: Batch, windows: TumblingWindows, log: TradeLog
    ) -> Sequence[tuple[str, Batch]]:
        """Tell the bar of its time what is missing before a row that is no trade."""
        if not self._has[0] or not row.columns["missing"][0]:
            return ()
        code, time = int(row.columns["symbol"][0]), int(row.times[0])
        start = self._grid.start_of(time)
        _, closes = next(self._grid.windows(start, start + 1, 1), (NONE, NONE))
        if start < windows.edge or not len(closes):
            return ()
        if closes[0] > windows.watermark:
            # The slot is there by a trade that counts for nothing, and is made anew without.
            nothing, mark = np.zeros(1, np.int64), windows.watermark
            still = row.with_progress(Progress(mark, 0, mark, np.array([mark])))
            _, skipped = windows.take(still, nothing, nothing, nothing, nothing)
            if len(skipped):
                return ()
        elif not log.holds(code, start, self._stop_of(start)):
            return ()
        log.add(row, alive=False)
        return self._remade(code, start, windows, log)

    def _stop_of(self, start: int) -> int:
        width = self._grid.width
        return start + width if start <= TIME_MAX - width else TIME_MAX

    def _remade(
        self, code: int, start: int, windows: TumblingWindows, log: TradeLog
    ) -> Sequence[tuple[str, Batch]]:
        """Make a bar anew from the trades of its window."""
        before = windows.watermark
        trades = log.trades(code, start, self._stop_of(start))
        given = windows.revise(revise_bar, code, start, *trades)
        return () if given is None else self._bars(given, before, windows)

    gives_on_time = True

    def process_owned(self, batch: Batch, owned: npt.NDArray[np.uint8]) -> Outputs:
        """Take the rows whose symbols `owned` has a 1 for; see `dag.partitioned`."""
        if batch.schema is not self._input:
            self._set_input(batch.schema)
        if self._log is None and self._windows is not None:
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
        if given.shape[1] or self._filling is not None:
            outputs += self._bars(given, before, windows)
        if len(skipped):
            outputs += self._skipped(batch, skipped)
        return outputs

    def _passes_over(
        self, batch: Batch, columns: KeptColumns, owned: npt.NDArray[np.uint8]
    ) -> bool:
        """Tell whether the kernel may be given the rows that were left out of a batch too."""
        plain = self._inner is None and self._log is None and not len(owned)
        return plain and columns.says_all_of(batch)

    def _every_update(self, rows: int) -> Int64s:
        """Return what trades count for that do not say.

        A slot whose only trade was cancelled is none that the short path knows how to
        take up again, and where trades say what they count for there is only the long one.
        """
        return NONE if self._log is None else np.full(rows, trade_slot.UPDATES_ALL, np.int64)

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
        return self._bars(given, before, windows)

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
        scales = {f"scale.{f.name}": f.scale for f in self._schema if f.kind is Kind.FIXED}
        told = {"missing": int(self._has[0]), "of_bars": int(self._of_bars)}
        windows = replace(windows, scalars={**windows.scalars, **scales, **feed, **told})
        if self._log is not None:
            windows = self._log.merged_into(windows)
        if self._filling is None:
            return windows
        parts = (windows, self._filling.snapshot())
        return stack(dict(zip(_PARTS, parts, strict=True)))

    def restore(self, snapshot: Snapshot) -> None:
        """Take over open windows. They are given up in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of bars of these windows.
        """
        filling = None
        if self._fill is not None and snapshot.keyed:
            snapshot, filling = unstack(snapshot, _PARTS).values()
        self._feed.restore(snapshot.scalars)
        if not snapshot.keyed:
            return
        self._of_bars = bool(snapshot.scalars.get("of_bars", 0))
        self._has = (bool(snapshot.scalars.get("missing", 0)), False)
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
            self._log = TradeLog(self._context.symbols)
            snapshot = self._log.taken_from(snapshot)
        self._make_windows(bar.having(*scaled)).restore(snapshot)
        if self._filling is not None and filling is not None:
            self._filling.restore(filling)
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
        if trades and "action" in schema and "trade_id" in schema and self._log is None:
            check_action(schema)
            self._log = TradeLog(self._context.symbols)
        if self._log is not None:
            self._log.bind(schema)
        self._is_checked = trades and not self._has[1]
        self._input = schema

    def _make_windows(self, bars: Schema) -> TumblingWindows:
        quotes = bars.name == QUOTE_BAR.name
        self._bars_schema = bars
        self._schema = with_requests(
            bars, self._revisions, turnover=self._turnover, fill=self._fill is not None
        )
        names = bars.names[3 : bars.names.index("count")]
        self._values = tuple(enumerate(names, start=layout.OUT_VALUES))
        symbols = self._context.symbols
        if self._fill is not None:
            self._filling = Filling(self._grid, symbols, self._feed, self._fill, quotes=quotes)
        take: Any = time_bars
        if self._of_bars:
            from market_data_pipeline.kernels.bars_of_bars import bars_of_bars as take
        self._windows = TumblingWindows(
            self._grid,
            take=take,
            close=close_windows,
            symbols=symbols,
            kind=(QUOTES if quotes else TRADES) | (OF_BARS if self._of_bars else 0),
            step=2 if self._of_bars else 1,
            mode=_MODES[self._revisions],
        )
        return self._windows

    def _bars(
        self, given: Int64s, before: int, windows: TumblingWindows
    ) -> Sequence[tuple[str, Batch]]:
        """Return the bars given out since the watermark `before`, in order."""
        if windows.overflowed:
            self._refuse(None)
        if not given.shape[1] and self._filling is None:
            return ()
        edge, end = self._grid.edge(before), self._grid.edge(windows.watermark)
        pieces = [given]
        if self._filling is not None:
            pieces = list(self._filling.pieces(given, end))
        outputs = []
        for number, piece in enumerate(pieces, start=1):
            if piece.shape[1]:
                batch = self._batch(piece, edge, end if number == len(pieces) else None)
                outputs.append(("out", batch))
                edge = batch.watermark
        self._feed.forget(end)
        return outputs

    def _batch(self, given: Int64s, edge: int, end: int | None) -> Batch:
        flags = given[layout.OUT_FLAGS]
        final = (flags & layout.AS_FINAL) != 0
        rows = given[layout.OUT_ROWS if self._of_bars else layout.OUT_COUNT]
        account = self._context.account
        account.created += len(flags)
        counted = int(rows[final].sum()) if self._grid.lateness else int(rows.sum())
        account.held -= counted
        account.add("aggregated", counted)
        columns: dict[str, Column] = {
            "symbol": given[layout.OUT_KEY].astype(np.int32),
            "ts_open": given[layout.OUT_START],
            "ts_close": given[layout.OUT_END],
        }
        for place, name in self._values:
            columns[name] = given[place]
        columns["count"] = given[layout.OUT_COUNT]
        columns["is_final"] = final
        columns["revision"] = given[layout.OUT_REVISION]
        columns["late_count"] = given[layout.OUT_LATE]
        columns |= circumstances(
            given,
            self._feed,
            self._sessions,
            counts_missing=self._has[0],
            of_bars=self._of_bars,
        )
        if self._turnover:
            of = self._schema[TURNOVER].arrow
            columns[TURNOVER] = turnover_column(given, of, self._context.node)
        if self._filling is not None:
            columns[FILLED.name] = (flags & layout.AS_FILLED) != 0
        if self._revisions == "retract":
            columns[OP.name] = np.where(flags & layout.AS_RETRACTION, -1, 1)
        return Batch(
            self._schema, columns, self._context.symbols, self._progress(given, edge, end)
        )

    def _progress(self, given: Int64s, edge: int, end: int | None) -> Progress:
        """Return the watermark after each bar; after the last `end`, or None if more follow."""
        if not self._grid.lateness:
            # Bars come in the order of their starts, so each is its own watermark.
            return Progress(edge, 0, int(given[layout.OUT_START, -1]) if end is None else end)
        marks = np.maximum(self._grid.edges(given[layout.OUT_MARK]), edge)
        if self._filling is not None:
            marks = np.maximum.accumulate(marks)
        return Progress(edge, 0, int(marks[-1]) if end is None else end, marks)

    def _has_undefined(self, batch: Batch, windows: TumblingWindows) -> bool:
        """Tell whether a price is undefined, from the column or from what became of it."""
        prices = batch.columns[self._reads[0]]
        if len(prices) <= _FEW_ROWS:
            return UNDEFINED in prices.tolist()
        if windows.slots_used * _SLOT_COST < len(prices):
            return windows.largest(trade_slot.HIGH) == UNDEFINED
        return bool(prices.max() == UNDEFINED)

    def _refuse(self, batch: Batch | None) -> None:
        """Say what a sum that left its range, or a number that is none, is due to.

        Raises:
            RecordError: If it is a price or size in these rows.
            ArithmeticOverflowError: If not.
        """
        node = self._context.node
        if batch is not None:
            refuse_undefined(batch, self._reads, node)
        msg = (
            f"a volume or average of `{node}` left the range of 64 bits; read the sizes with "
            f"fewer decimal places"
        )
        raise ArithmeticOverflowError(msg)
