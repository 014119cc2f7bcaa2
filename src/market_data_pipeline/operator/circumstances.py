"""What a bar says of the feed in its time, whatever closed the bar."""

from __future__ import annotations

__all__ = ("Circumstances",)

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Column
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.operator.feed_log import STATES, FeedLog
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.symbols import SymbolTable

Int64s = npt.NDArray[np.int64]

_STATE_NAMES: Final = pa.array([str(state) for state in STATES], pa.string())
_CACHED_ROWS: Final = 256


class Circumstances:
    """Follows the states of a feed, and tells them of spans of event time.

    Args:
        symbols: Names of the codes.
    """

    def __init__(self, symbols: SymbolTable) -> None:
        self._feed = FeedLog(symbols)

    def take(self, status: Status) -> None:
        """Take a state of the feed."""
        self._feed.take(status)

    def forget(self, before: int) -> None:
        """Forget what no span can see that starts at `before` or later."""
        if self._feed:
            self._feed.forget(before)

    def columns(
        self, codes: npt.NDArray[np.int32], opens: Int64s, closes: Int64s, missing: Int64s | None
    ) -> dict[str, Column]:
        """Return what there is to say of spans `[open, close)`, but for their sessions.

        Args:
            codes: (n,) symbol codes.
            opens: (n,) first instants.
            closes: (n,) first instants after them; a span may be empty.
            missing: (n,) rows known to be missing, or None.
        """
        rows = len(codes)
        made: dict[str, Column] = {
            "missing_seq": _CONSTANTS.unknown(rows) if missing is None else missing,
            "gap_ns": _CONSTANTS.zeros(rows),
            "coverage": _CONSTANTS.ones(rows),
            "feed_state": _CONSTANTS.live(rows),
            "session": _CONSTANTS.no_session(rows),
        }
        if self._feed:
            gaps, ranks = self._feed.seen(codes, opens, np.maximum(closes, opens + 1))
            made["gap_ns"] = gaps
            made["coverage"] = 1.0 - gaps / np.maximum(closes - opens, 1)
            made["feed_state"] = _STATE_NAMES.take(pa.array(ranks))
        return made

    def scalars(self) -> dict[str, int]:
        """Return the states as scalars of a snapshot."""
        return self._feed.scalars()

    def restore(self, scalars: Mapping[str, int]) -> None:
        """Take over the states among the scalars of a snapshot."""
        self._feed.restore(scalars)


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
