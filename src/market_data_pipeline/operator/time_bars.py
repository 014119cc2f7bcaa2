"""The running half of bars on windows of event time."""

from __future__ import annotations

__all__ = ("TimeBars",)

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, Batch, Column, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.windowing import EVERY_KEY, NONE, TumblingWindows, WindowGrid
from market_data_pipeline.errors import ArithmeticOverflowError, SchemaError, SnapshotError
from market_data_pipeline.kernels import quote_slot, trade_slot
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.kernels.time_bars import (
    QUOTES,
    TRADES,
    close_windows,
    revise_bar,
    time_bars,
)
from market_data_pipeline.operator.bar_schema import OP, Revisions, bar_schema
from market_data_pipeline.operator.feed_log import STATES, FeedLog
from market_data_pipeline.operator.session_windows import SessionWindows
from market_data_pipeline.operator.trade_log import CANCEL, REPLACE, TradeLog
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
_STATE_NAMES: Final = pa.array([str(state) for state in STATES], pa.string())
_CACHED_ROWS: Final = 256


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
    ) -> None:
        self._context = context
        self._revisions = revisions
        self._sessions = None if calendar is None else SessionWindows(calendar, width_ns)
        self._grid = WindowGrid(width_ns, lateness_ns=lateness_ns, sessions=self._sessions)
        self._bars_schema = self._schema = BAR
        self._values: tuple[tuple[int, str], ...] = ()
        self._input: Schema | None = None
        self._windows: TumblingWindows | None = None
        self._feed = FeedLog(context.symbols)
        self._reads: tuple[str, str] = ("", "")
        self._has = (False, False)
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
        actions = batch.columns["action"]
        outputs: list[tuple[str, Batch]] = []
        begin = 0
        for at in np.flatnonzero((actions == CANCEL) | (actions == REPLACE)).tolist():
            if at > begin:
                outputs += self._take_and_log(batch.slice(begin, at), windows, log)
            outputs += self._apply(batch.slice(at, at + 1), windows, log)
            begin = at + 1
        if begin < len(batch):
            outputs += self._take_and_log(batch.slice(begin, len(batch)), windows, log)
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
        self, row: Batch, windows: TumblingWindows, log: TradeLog
    ) -> list[tuple[str, Batch]]:
        """Cancel or replace one trade."""
        outputs = list(self.advance(row.watermark))
        account = self._context.account
        code = int(row.columns["symbol"][0])
        trade_id = row.columns["trade_id"][0]
        trade_id = trade_id.as_py() if isinstance(trade_id, pa.Scalar) else int(trade_id)
        found = log.find(code, trade_id)
        start = 0 if found is None else self._grid.start_of(found.time)
        if found is None or start < windows.edge:
            # Nobody knows whether the trade never came or is of a bar that is final.
            account.add("late", 1)
            return [*outputs, ("late", row)]
        if int(row.columns["action"][0]) == CANCEL:
            log.cancel(found)
            account.held -= 1
            account.add("cancelled", 1)
        else:
            log.replace(found, int(row.columns["price"][0]), int(row.columns["size"][0]))
        account.add("correction", 1)
        width = self._grid.width
        stop = start + width if start <= TIME_MAX - width else TIME_MAX
        before = windows.watermark
        given = windows.revise(revise_bar, code, start, *log.trades(code, start, stop))
        if given is not None and given.shape[1]:
            outputs.append(("out", self._bars(given, before, windows)))
        return outputs

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
        columns = batch.columns
        missing, updates = self._has
        given, skipped = windows.take(
            batch,
            columns[self._reads[0]],
            columns[self._reads[1]],
            columns["missing"] if missing else NONE,
            columns["updates"] if updates else NONE,
            owned,
        )
        self._last_skipped = skipped
        self._context.account.held += windows.taken - taken
        outputs = []
        if given.shape[1]:
            outputs.append(("out", self._bars(given, before, windows)))
        if len(skipped):
            outputs += self._skipped(batch, skipped)
        if windows.overflowed:
            msg = (
                f"a volume or average of `{self._context.node}` left the range of 64 bits; "
                f"read the sizes with fewer decimal places"
            )
            raise ArithmeticOverflowError(msg)
        return outputs

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
        return (("out", self._bars(given, before, windows)),) if given.shape[1] else ()

    def finish(self) -> Outputs:
        """Give out all bars for good."""
        return self.advance(TIME_MAX)

    def output_watermark(self, watermark: int) -> int:
        """Return the start of the first window that can change at a watermark."""
        return self._grid.edge(watermark)

    def snapshot(self) -> Snapshot:
        """Return the windows, the states of the feed, and what the bars look like."""
        feed = self._feed.scalars()
        if self._windows is None:
            return Snapshot(scalars=feed)
        windows = self._windows.snapshot()
        scales = {f"scale.{f.name}": f.scale for f in self._schema if f.kind is Kind.FIXED}
        windows = replace(windows, scalars={**windows.scalars, **scales, **feed})
        return windows if self._log is None else self._log.merged_into(windows)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over open windows. They are given up in time even if no row comes any more.

        Raises:
            SnapshotError: If it is no state of bars of these windows.
        """
        self._feed.restore(snapshot.scalars)
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
        if "log" in snapshot.keyed:
            self._log = TradeLog(self._context.symbols)
            snapshot = self._log.taken_from(snapshot)
        self._make_windows(bar.having(*scaled)).restore(snapshot)
        word = quote_slot.COUNT if bar is QUOTE_BAR else trade_slot.COUNT
        self._context.account.held += int(snapshot.keyed["words"][:, word].sum())

    def _set_input(self, schema: Schema) -> None:
        bars = bar_schema(schema)
        if self._windows is None:
            self._make_windows(bars)
        elif bars != self._bars_schema:
            msg = f"`{self._context.node}` was given other columns than before: {schema.names}"
            raise SchemaError(msg)
        self._reads = _VALUES[bars.name]
        trades = bars.name == BAR.name
        self._has = ("missing" in schema, "updates" in schema and trades)
        if trades and "action" in schema and "trade_id" in schema and self._log is None:
            self._log = TradeLog(self._context.symbols)
        self._input = schema

    def _make_windows(self, bars: Schema) -> TumblingWindows:
        self._bars_schema = bars
        self._schema = bars.having(OP) if self._revisions == "retract" else bars
        names = bars.names[3 : bars.names.index("count")]
        self._values = tuple(enumerate(names, start=layout.OUT_VALUES))
        self._windows = TumblingWindows(
            self._grid,
            take=time_bars,
            close=close_windows,
            symbols=self._context.symbols,
            kind=QUOTES if bars.name == QUOTE_BAR.name else TRADES,
            mode=_MODES[self._revisions],
        )
        return self._windows

    def _bars(self, given: Int64s, before: int, windows: TumblingWindows) -> Batch:
        """Return the bars given out since the watermark `before`."""
        flags = given[layout.OUT_FLAGS]
        final = (flags & layout.AS_FINAL) != 0
        counts = given[layout.OUT_COUNT]
        account = self._context.account
        account.created += len(flags)
        counted = int(counts[final].sum()) if self._grid.lateness else int(counts.sum())
        account.held -= counted
        account.add("aggregated", counted)
        columns: dict[str, Column] = {
            "symbol": given[layout.OUT_KEY].astype(np.int32),
            "ts_open": given[layout.OUT_START],
            "ts_close": given[layout.OUT_END],
        }
        for place, name in self._values:
            columns[name] = given[place]
        columns["count"] = counts
        columns["is_final"] = final
        columns["revision"] = given[layout.OUT_REVISION]
        columns["late_count"] = given[layout.OUT_LATE]
        columns |= self._circumstances(given, columns)
        if self._revisions == "retract":
            columns["op"] = np.where(flags & layout.AS_RETRACTION, -1, 1)
        edge, end = self._grid.edge(before), self._grid.edge(windows.watermark)
        progress = (
            Progress(edge, 0, end, np.maximum(self._grid.edges(given[layout.OUT_MARK]), edge))
            if self._grid.lateness
            # Bars come in the order of their starts, so each is its own watermark.
            else Progress(edge, 0, end)
        )
        self._feed.forget(end)
        return Batch(self._schema, columns, self._context.symbols, progress)

    def _circumstances(self, given: Int64s, columns: dict[str, Column]) -> dict[str, Column]:
        """Return what was wrong with the feed in the time of each bar, and its session."""
        rows = given.shape[1]
        constant = _CONSTANTS
        made: dict[str, Column] = {
            "missing_seq": given[layout.OUT_MISSING] if self._has[0] else constant.unknown(rows),
            "gap_ns": constant.zeros(rows),
            "coverage": constant.ones(rows),
            "feed_state": constant.live(rows),
            "session": constant.no_session(rows),
        }
        opens, closes = columns["ts_open"], columns["ts_close"]
        if self._feed:
            gaps, ranks = self._feed.seen(columns["symbol"], opens, closes)
            made["gap_ns"] = gaps
            made["coverage"] = 1.0 - gaps / (closes - opens)
            made["feed_state"] = _STATE_NAMES.take(pa.array(ranks))
        if self._sessions is not None:
            made["session"] = self._sessions.dates(opens)
        return made


class _Constants:
    """Columns of one value, cut from one that is kept."""

    def __init__(self) -> None:
        self._rows = -1

    def _make(self, rows: int) -> None:
        if rows > self._rows:
            self._rows = max(rows, 2 * self._rows, _CACHED_ROWS)
            self._unknown = np.full(self._rows, UNDEFINED, np.int64)
            self._zeros = np.zeros(self._rows, np.int64)
            self._ones = np.ones(self._rows, np.float64)
            self._live = pa.repeat(str(STATES[0]), self._rows)
            self._no_session = pa.nulls(self._rows, pa.date32())

    def unknown(self, rows: int) -> Int64s:
        self._make(rows)
        return self._unknown[:rows]

    def zeros(self, rows: int) -> Int64s:
        self._make(rows)
        return self._zeros[:rows]

    def ones(self, rows: int) -> npt.NDArray[np.float64]:
        self._make(rows)
        return self._ones[:rows]

    def live(self, rows: int) -> pa.Array:
        self._make(rows)
        return self._live.slice(0, rows)

    def no_session(self, rows: int) -> pa.Array:
        self._make(rows)
        return self._no_session.slice(0, rows)


_CONSTANTS: Final = _Constants()
