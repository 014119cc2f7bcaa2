"""The bars that bars on longer windows are made of."""

from __future__ import annotations

__all__ = ("InnerBars",)

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.feed_log import STATES
from market_data_pipeline.records import FILLED, OP, QUOTE_BAR, TURNOVER, UNDEFINED, Schema

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
Int64s = npt.NDArray[np.int64]

_STATES: Final = pa.array([str(state) for state in STATES], pa.string())
_PRICES: Final = ("open", "high", "low", "close", "volume", "count")
_QUOTE_PRICES: Final = (*QUOTE_BAR.names[3:11], "count")
_CERTIFICATE: Final = 5


class InnerBars:
    """Picks the bars that count, and what the kernel reads of them.

    Args:
        schema: Their columns.
    """

    def __init__(self, schema: Schema) -> None:
        quotes = "bid_open" in schema
        self._prices = _QUOTE_PRICES if quotes else _PRICES
        self._has_vwap = not quotes
        self._rows = _CERTIFICATE + len(self._prices) + (0 if quotes else 3)
        self._schema = schema

    def pick(self, batch: Batch, account: Account, owned: npt.NDArray[np.uint8]) -> Batch:
        """Return the bars that are final and hold a row; count the others that are owned.

        Bars that may yet change, or are taken back, count as `revisable`: the final one
        comes. Bars without a row count as `empty`.
        """
        final = np.ones(len(batch), np.bool_)
        if "is_final" in self._schema:
            final &= batch["is_final"]
        if OP.name in self._schema:
            final &= batch[OP.name] > 0
        kept = final & (batch["count"] > 0)
        if FILLED.name in self._schema:
            kept &= ~batch[FILLED.name]
        chosen = int(np.count_nonzero(kept))
        if chosen < len(batch):
            mine = owned[batch["symbol"]] > 0 if len(owned) else np.ones(len(batch), np.bool_)
            account.add("revisable", int(np.count_nonzero(mine & ~final)))
            account.add("empty", int(np.count_nonzero(mine & final & ~kept)))
        return keep_rows(batch, kept, chosen)

    def values(self, batch: Batch) -> Int64s:
        """Return what `kernels.bars_of_bars` takes, (v, n) int64."""
        columns = batch.columns
        made = np.zeros((self._rows, len(batch)), np.int64)
        made[0] = columns.get("late_count", 0)
        made[1] = columns.get("missing_seq", UNDEFINED)
        made[2] = columns.get("gap_ns", 0)
        state, session = columns.get("feed_state"), columns.get("session")
        if state is not None:
            made[3] = _ints(_pc.index_in(state, _STATES), 0)
        made[4] = UNDEFINED if session is None else _ints(session.cast(pa.int32()), UNDEFINED)
        for row, name in enumerate(self._prices, start=_CERTIFICATE):
            made[row] = columns[name]
        if self._has_vwap:
            vwap = columns["vwap"]
            vwap = np.where(vwap == UNDEFINED, 0, vwap)
            turnover = columns.get(TURNOVER)
            if turnover is not None:
                words = np.frombuffer(turnover.buffers()[1], np.int64).reshape(-1, 2)
                words = words[turnover.offset : turnover.offset + len(turnover)]
                known = np.ones(len(batch), np.bool_)
                if turnover.null_count:
                    known = np.array(turnover.is_valid().to_pylist(), np.bool_)
                made[-3:-1] = np.where(known, words.T, 0)
                vwap = np.where(known, 0, vwap)
            made[-1] = vwap
        return made


def _ints(array: pa.Array, null: int) -> Int64s:
    """Return whole numbers as int64, with a number in place of null."""
    # `to_numpy` would import pandas.
    whole = _pc.fill_null(array.cast(pa.int64()), null)
    return np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole)]
