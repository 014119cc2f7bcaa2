"""Bars of windows in which nothing happened."""

from __future__ import annotations

__all__ = ("Filling",)

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.window_grid import WindowGrid
from market_data_pipeline.errors import SnapshotError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.operator.bar_schema import Fill
from market_data_pipeline.operator.feed_log import FeedLog
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

_PIECE_ROWS: Final = 65_536
_OHLC: Final = 4
_NOTHING: Final = np.zeros(layout.OUT, np.int64)
_NOTHING[layout.OUT_FLAGS] = layout.AS_FINAL | layout.AS_FILLED


class Filling:
    """Puts bars between those of a symbol where the watermark has passed a window without one.

    State: 8 bytes for each symbol and side, and the time up to which all windows are done.

    Args:
        grid: The windows.
        symbols: Names of the codes.
        feed: The states of the feed: nobody knows what happened while it was cut off.
        fill: What the prices shall be.
        quotes: True for bars of bid and ask.
    """

    def __init__(
        self, grid: WindowGrid, symbols: SymbolTable, feed: FeedLog, fill: Fill, *, quotes: bool
    ) -> None:
        self._grid = grid
        self._symbols = symbols
        self._feed = feed
        self._is_flat = fill == "flat"
        self._sides = 2 if quotes else 1
        # Rows of `given` from which on stand open, high, low and close of a side.
        self._firsts = [layout.OUT_VALUES + _OHLC * side for side in range(self._sides)]
        self._places: dict[int, int] = {}
        self._codes = np.empty(0, np.int32)
        self._last = np.empty((self._sides, 0), np.int64)
        self._done = TIME_MIN

    def pieces(self, given: Int64s, frontier: int) -> Iterator[Int64s]:
        """Return bars given out, and between them those that fill the gaps.

        Args:
            given: (OUT, m) int64, final bars in the order of their windows.
            frontier: No more bars will come with a start before this; the largest time at
                the end of input, when nothing is filled after a symbol's last bar.

        Yields:
            (OUT, k) int64 each; by window, and in a window those given first.
        """
        if frontier == TIME_MAX:
            # At the end a window that has just ended may come before one that was revisable.
            given = given[:, np.argsort(given[layout.OUT_START], kind="stable")]
        starts = given[layout.OUT_START]
        rows = len(starts)
        begin, self._done = self._done, max(self._done, frontier)
        if not rows and (begin >= frontier or frontier == TIME_MAX):
            return
        if not len(self._codes):
            if not rows:
                return
            begin = int(starts[0])
        places = self._placed(given[layout.OUT_KEY])
        until = np.full(len(self._codes), TIME_MAX)
        if frontier == TIME_MAX:
            until[:] = TIME_MIN
            np.maximum.at(until, places, starts)
            frontier = int(starts[-1]) + 1
        since = np.full(len(self._codes), TIME_MIN)
        fresh = len(self._codes) - self._last.shape[1]
        if fresh:
            since[-fresh:] = TIME_MAX
            np.minimum.at(since, places, np.where(places >= len(since) - fresh, starts, TIME_MIN))
            unknown = np.full((self._sides, fresh), UNDEFINED)
            self._last = np.concatenate([self._last, unknown], axis=1)
        at = 0
        most = max(1, _PIECE_ROWS // len(self._codes))
        for opens, closes in self._grid.windows(begin, frontier, most):
            stop = int(np.searchsorted(starts, opens[-1], side="right"))
            piece = self._piece(given[:, at:stop], places[at:stop], opens, closes, since, until)
            at = stop
            if piece.shape[1]:
                yield piece
        if at < rows:
            yield given[:, at:]  # at the very ends of time windows are cut otherwise

    def _placed(self, keys: Int64s) -> Int64s:
        """Return the place of each key, giving one to those that are new."""
        known = self._places
        places = [known.setdefault(key, len(known)) for key in keys.tolist()]
        if len(known) > len(self._codes):
            self._codes = np.fromiter(known, np.int32, len(known))
        return np.array(places, np.int64)

    def _piece(
        self,
        given: Int64s,
        places: Int64s,
        opens: Int64s,
        closes: Int64s,
        since: Int64s,
        until: Int64s,
    ) -> Int64s:
        windows = np.searchsorted(opens, given[layout.OUT_START])
        rows = np.full((len(opens), len(since)), -1, np.int64)
        rows[windows, places] = np.arange(len(places))
        starts = opens[:, None]
        lacking = (rows < 0) & (starts > since) & (starts < until)
        if self._feed:
            lacking &= ~self._feed.cut_off(self._codes, opens, closes)
        window, place = np.nonzero(lacking)
        filled = np.repeat(_NOTHING[:, None], len(window), axis=1)
        filled[layout.OUT_KEY] = self._codes[place]
        filled[layout.OUT_START] = opens[window]
        filled[layout.OUT_END] = closes[window]
        late = TIME_MAX - self._grid.lateness
        due = np.minimum(closes[window], late) + self._grid.lateness
        filled[layout.OUT_MARK] = due - 1
        filled[layout.OUT_VALUES :, :] = UNDEFINED
        for side, first in enumerate(self._firsts):
            last = self._carried(side, given[first + _OHLC - 1], rows)
            if self._is_flat:
                filled[first : first + _OHLC] = last[window, place]
            self._last[side] = last[-1]
        if self._sides == 1:
            filled[layout.OUT_VALUES + _OHLC] = 0  # the volume
            filled[layout.OUT_VALUES + _OHLC + 2 : layout.OUT_ROWS] = 0  # the turnover
        filled[layout.OUT_ROWS : layout.OUT_SESSION] = 0
        if not len(window):
            return given
        order = np.argsort(np.concatenate([windows, window]), kind="stable")
        return np.concatenate([given, filled], axis=1)[:, order]

    def _carried(self, side: int, closes: Int64s, rows: Int64s) -> Int64s:
        """Return the last close of each place in and before each window, (n, k) int64."""
        here = np.where(rows >= 0, closes[rows], UNDEFINED) if len(closes) else None
        if here is None:
            return np.broadcast_to(self._last[side], rows.shape)
        seen = np.where(here != UNDEFINED, np.arange(len(rows))[:, None], -1)
        seen = np.maximum.accumulate(seen, axis=0)
        carried = np.take_along_axis(here, np.maximum(seen, 0), axis=0)
        return np.where(seen >= 0, carried, self._last[side])

    def snapshot(self) -> Snapshot:
        """Return the last prices and the time up to which all windows are done."""
        names = self._symbols.texts(self._codes)
        return Snapshot(
            key_groups=self._symbols.key_groups(self._codes),
            keyed={"symbol": names, "last": self._last.T.copy()},
            scalars={"done": self._done},
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot.

        Raises:
            SnapshotError: If it is of bars of other sides.
        """
        last = snapshot.keyed["last"]
        if len(last) and last.shape[1] != self._sides:
            msg = f"the state has {last.shape[1]} prices for each symbol, these bars have "
            msg += f"{self._sides}"
            raise SnapshotError(msg)
        self._done = snapshot.scalars["done"]
        self._places = {}
        self._codes = np.empty(0, np.int32)
        self._placed(self._symbols.encode_texts(snapshot.keyed["symbol"]).astype(np.int64))
        self._last = np.ascontiguousarray(last.T.reshape(self._sides, -1))
