"""The columns of bars that tell the circumstances of their time."""

from __future__ import annotations

__all__ = ("circumstances", "feed_columns", "turnover_column")

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Column
from market_data_pipeline.errors import ArithmeticOverflowError
from market_data_pipeline.kernels import windows as layout
from market_data_pipeline.operator.feed_log import STATES, FeedLog
from market_data_pipeline.operator.session_windows import SessionWindows
from market_data_pipeline.records import UNDEFINED

Int64s = npt.NDArray[np.int64]

_STATE_NAMES: Final = pa.array([str(state) for state in STATES], pa.string())
_CACHED_ROWS: Final = 256
_TURNOVER_WORD: Final = layout.OUT_VALUES + 6
_HIGH_MOST: Final = 10**38 >> 64


def circumstances(
    given: Int64s,
    feed: FeedLog,
    sessions: SessionWindows | None,
    *,
    counts_missing: bool,
    of_bars: bool,
) -> dict[str, Column]:
    """Return what was wrong with the feed in the time of each bar, and its session.

    Args:
        given: (OUT, m) int64, bars given out.
        feed: The states of the feed.
        sessions: The sessions of the calendar, if there is one.
        counts_missing: True if the rows say how many are missing.
        of_bars: True if the rows are bars, which have circumstances of their own.
    """
    codes, opens, closes = (given[at] for at in (layout.OUT_KEY, layout.OUT_START, layout.OUT_END))
    missing = given[layout.OUT_MISSING] if counts_missing else None
    made = feed_columns(feed, codes, opens, closes, missing)
    if of_bars:
        # Where the bars come from a file, they alone know of their feed.
        gaps, ranks = feed.seen(codes, opens, closes)
        gaps = np.minimum(np.maximum(gaps, given[layout.OUT_GAP]), closes - opens)
        made["gap_ns"] = gaps
        made["coverage"] = 1.0 - gaps / (closes - opens)
        made["feed_state"] = _STATE_NAMES.take(pa.array(np.maximum(ranks, given[layout.OUT_RANK])))
    if sessions is not None:
        made["session"] = sessions.dates(opens)
    elif of_bars:
        days = given[layout.OUT_SESSION]
        known = days != UNDEFINED
        dates = pa.array(np.where(known, days, 0).astype(np.int32), mask=~known)
        made["session"] = dates.cast(pa.date32())
    return made


def feed_columns(
    feed: FeedLog, codes: npt.NDArray[Any], opens: Int64s, closes: Int64s, missing: Int64s | None
) -> dict[str, Column]:
    """Return what there is to say of a feed in spans `[open, close)`, without a calendar.

    Args:
        feed: The states of the feed.
        codes: (n,) symbol codes.
        opens: (n,) first instants.
        closes: (n,) first instants after them; a span may be empty.
        missing: (n,) rows known to be missing, or None.
    """
    made = _CONSTANTS.columns(len(codes))
    if missing is not None:
        made["missing_seq"] = missing
    if feed:
        gaps, ranks = feed.seen(codes, opens, np.maximum(closes, opens + 1))
        made["gap_ns"] = gaps
        made["coverage"] = 1.0 - gaps / np.maximum(closes - opens, 1)
        made["feed_state"] = _STATE_NAMES.take(pa.array(ranks))
    return made


def turnover_column(given: Int64s, of: pa.DataType | None, node: str) -> pa.Array:
    """Return the turnover of bars of trades, (m,) decimal.

    Raises:
        ArithmeticOverflowError: If one has more than 38 digits.
    """
    words = np.ascontiguousarray(given[_TURNOVER_WORD : _TURNOVER_WORD + 2].T)
    high = words[:, 1]
    if len(high) and (int(high.max()) >= _HIGH_MOST or int(high.min()) < -_HIGH_MOST):
        msg = f"a turnover of `{node}` has more than 38 digits; set `turnover: false`"
        raise ArithmeticOverflowError(msg)
    return pa.Array.from_buffers(of, len(words), [None, pa.py_buffer(words)])


class _Constants:
    """Columns of one value, cut from ones that are kept; for any number of threads."""

    def __init__(self) -> None:
        self._kept = _kept(_CACHED_ROWS)

    def columns(self, rows: int) -> dict[str, Column]:
        """Return what bars say that nothing is known against, (rows,) each."""
        kept = self._kept
        if rows > len(kept[0]):
            # Replaced at once: another thread sees the old ones or all of these.
            kept = self._kept = _kept(max(rows, 2 * len(kept[0])))
        unknown, zeros, ones, live, none = kept
        return {
            "missing_seq": unknown[:rows],
            "gap_ns": zeros[:rows],
            "coverage": ones[:rows],
            "feed_state": live.slice(0, rows),
            "session": none.slice(0, rows),
        }


def _kept(rows: int) -> tuple[Int64s, Int64s, npt.NDArray[np.float64], pa.Array, pa.Array]:
    return (
        np.full(rows, UNDEFINED, np.int64),
        np.zeros(rows, np.int64),
        np.ones(rows, np.float64),
        pa.repeat(str(STATES[0]), rows),
        pa.nulls(rows, pa.date32()),
    )


_CONSTANTS: Final = _Constants()
