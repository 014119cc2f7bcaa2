"""Batches of bars, made of the slots that windows give out."""

from __future__ import annotations

__all__ = ("GivenBars",)

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch, Column, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.dag.windowing import TumblingWindows
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.operator.bar_checks import refuse_overflow
from market_data_pipeline.operator.bar_columns import circumstances, turnover_column
from market_data_pipeline.operator.bar_schema import Fill, Revisions, with_requests
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.operator.fill import Filling
from market_data_pipeline.operator.session_windows import SessionWindows
from market_data_pipeline.records import BAR, FILLED, OP, QUOTE_BAR, TURNOVER, Schema

Int64s = npt.NDArray[np.int64]


class GivenBars:
    """Makes batches of what windows give out, with their watermarks and their accounts.

    Args:
        context: Where the bars are made.
        grid: The windows.
        feed: The states of the feed, told by the bars of their time.
        sessions: The sessions the windows lie in, if they do.
        revisions: What bars tell of what has changed.
        fill: What the prices of windows without rows shall be; none for no such bars.
        turnover: Whether bars tell the sum of price times size.

    Attributes:
        filling: What puts bars into gaps; none if nothing shall, or until `describe`.
        counts_missing: Whether the rows say how many are missing before them.
    """

    def __init__(
        self,
        context: NodeContext,
        grid: WindowGrid,
        feed: FeedLog,
        sessions: SessionWindows | None,
        *,
        revisions: Revisions,
        fill: Fill | None,
        turnover: bool,
    ) -> None:
        self._context = context
        self._grid = grid
        self._feed = feed
        self._sessions = sessions
        self._revisions: Revisions = revisions
        self._retracts = revisions == "retract"
        self._fill: Fill | None = fill
        self._turnover = turnover
        self._schema = BAR
        self._values: tuple[tuple[int, str], ...] = ()
        self._of_bars = False
        self.filling: Filling | None = None
        self.counts_missing = False

    def describe(self, bars: Schema, *, of_bars: bool) -> None:
        """Say what the bars look like, before any are given out.

        Args:
            bars: Their columns, without those that are there on request.
            of_bars: Whether they are made of bars.
        """
        self._schema = with_requests(
            bars, self._revisions, turnover=self._turnover, fill=self._fill is not None
        )
        names = bars.names[3 : bars.names.index("count")]
        self._values = tuple(enumerate(names, start=layout.OUT_VALUES))
        self._of_bars = of_bars
        if self._fill is not None:
            quotes = bars.name == QUOTE_BAR.name
            symbols = self._context.symbols
            self.filling = Filling(self._grid, symbols, self._feed, self._fill, quotes=quotes)

    def outputs(
        self, given: Int64s, before: int, windows: TumblingWindows
    ) -> Sequence[tuple[str, Batch]]:
        """Return the bars given out since the watermark `before`, in order."""
        if windows.overflowed:
            refuse_overflow(self._context.node)
        if not given.shape[1] and self.filling is None:
            return ()
        edge, end = self._grid.edge(before), self._grid.edge(windows.watermark)
        pieces = [given]
        if self.filling is not None:
            pieces = list(self.filling.pieces(given, end))
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
            counts_missing=self.counts_missing,
            of_bars=self._of_bars,
        )
        if self._turnover:
            of = self._schema[TURNOVER].arrow
            columns[TURNOVER] = turnover_column(given, of, self._context.node)
        if self.filling is not None:
            columns[FILLED.name] = (flags & layout.AS_FILLED) != 0
        if self._retracts:
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
        if self.filling is not None:
            marks = np.maximum.accumulate(marks)
        return Progress(edge, 0, int(marks[-1]) if end is None else end, marks)
