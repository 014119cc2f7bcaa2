"""Rows that cancel or replace trades of bars that can still change."""

from __future__ import annotations

__all__ = ("Corrections", "TakenTrades")

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import TIME_MAX, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.dag.windowing import NONE, TumblingWindows
from market_data_pipeline.kernels.bar_revising import revise_bar
from market_data_pipeline.operator.bar_checks import refuse_undefined
from market_data_pipeline.operator.given_bars import GivenBars
from market_data_pipeline.operator.trade_log import TradeLog
from market_data_pipeline.trade_actions import CANCEL, REPLACE, action_codes

TakenTrades: TypeAlias = tuple[Sequence[tuple[str, Batch]], npt.NDArray[np.int64]]
"""What taking trades gives out, and the rows not taken, as `TumblingWindows.take` says."""
Take: TypeAlias = Callable[[Batch, TumblingWindows], TakenTrades]
Advance: TypeAlias = Callable[[int], Outputs]


class Corrections:
    """Makes bars anew from the trades that are left of them.

    Args:
        context: Where the bars are made.
        grid: The windows.
        given: Makes batches of what windows give out.

    Attributes:
        log: The trades of the bars that can still change.
    """

    def __init__(self, context: NodeContext, grid: WindowGrid, given: GivenBars) -> None:
        self._context = context
        self._grid = grid
        self._given = given
        self.log = TradeLog(context.symbols)

    def process(
        self, batch: Batch, windows: TumblingWindows, *, take: Take, advance: Advance
    ) -> Outputs:
        """Take rows of which some cancel or replace others.

        Args:
            batch: The rows.
            windows: Where they go.
            take: Puts trades into windows.
            advance: Gives out the bars that a watermark passes.
        """
        actions = action_codes(batch.columns["action"])
        outputs: list[tuple[str, Batch]] = []
        begin = 0
        for at in np.flatnonzero((actions == CANCEL) | (actions == REPLACE)).tolist():
            if at > begin:
                outputs += self._take_and_log(batch.slice(begin, at), windows, take)
            row = batch.slice(at, at + 1)
            outputs += self._advance(row, advance)
            outputs += self._apply(row, windows, at, cancels=bool(actions[at] == CANCEL))
            begin = at + 1
        if begin < len(batch):
            outputs += self._take_and_log(batch.slice(begin, len(batch)), windows, take)
        outputs += advance(batch.watermark)
        self.log.forget(windows.edge)
        return outputs

    def _take_and_log(
        self, batch: Batch, windows: TumblingWindows, take: Take
    ) -> Sequence[tuple[str, Batch]]:
        outputs, skipped = take(batch, windows)
        if len(skipped):
            taken = np.ones(len(batch), np.bool_)
            taken[np.where(skipped < 0, ~skipped, skipped)] = False
            batch = batch.take(np.flatnonzero(taken))
        if len(batch):
            self.log.add(batch)
        return outputs

    @staticmethod
    def _advance(row: Batch, advance: Advance) -> Outputs:
        # By its own watermark, which rows that were taken out behind it do not raise.
        progress = row.progress
        mark = row.watermark if progress is None else int(progress.watermarks(row.times)[0])
        return advance(mark)

    def _apply(
        self, row: Batch, windows: TumblingWindows, at: int, *, cancels: bool
    ) -> list[tuple[str, Batch]]:
        """Cancel or replace one trade, as row `at` of its batch says."""
        account = self._context.account
        code = int(row.columns["symbol"][0])
        trade_id = row.columns["trade_id"][0]
        trade_id = trade_id.as_py() if isinstance(trade_id, pa.Scalar) else int(trade_id)
        outputs = list(self._mark(row, windows))
        found = self.log.find(code, trade_id)
        start = 0 if found is None else self._grid.start_of(found.time)
        if found is None or start < windows.edge:
            # Nobody knows whether the trade never came or is of a bar that is final.
            account.add("late", 1)
            return [*outputs, ("late", row)]
        if cancels:
            self.log.cancel(found)
            account.held -= 1
            account.add("cancelled", 1)
        else:
            refuse_undefined(row, ("price", "size"), self._context.node, first=at)
            self.log.replace(found, int(row.columns["price"][0]), int(row.columns["size"][0]))
        account.add("correction", 1)
        return [*outputs, *self._remade(code, start, windows)]

    def _mark(self, row: Batch, windows: TumblingWindows) -> Sequence[tuple[str, Batch]]:
        """Tell the bar of its time what is missing before a row that is no trade."""
        if not self._given.counts_missing or not row.columns["missing"][0]:
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
        elif not self.log.holds(code, start, self._stop_of(start)):
            return ()
        self.log.add(row, alive=False)
        return self._remade(code, start, windows)

    def _stop_of(self, start: int) -> int:
        width = self._grid.width
        return start + width if start <= TIME_MAX - width else TIME_MAX

    def _remade(
        self, code: int, start: int, windows: TumblingWindows
    ) -> Sequence[tuple[str, Batch]]:
        """Make a bar anew from the trades of its window."""
        before = windows.watermark
        trades = self.log.trades(code, start, self._stop_of(start))
        given = windows.revise(revise_bar, code, start, *trades)
        return () if given is None else self._given.outputs(given, before, windows)
