"""Disorder between streams against sorting all rows by their time of receipt."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.cli.receipt_order import order_of_receipt
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable

Rows = list[tuple[int, int]]
SCHEMA = TRADE.only(["ts_event", "ts_recv"])
STREAM = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[1])
)


class _Reader:
    """Rows in batches of some size."""

    def __init__(self, rows: Rows, size: int) -> None:
        self.schema = SCHEMA
        self.rows_read = 0
        self._rows = rows
        self._size = size

    def read(self) -> Batch | None:
        rows = self._rows[self.rows_read : self.rows_read + self._size]
        if not rows:
            return None
        self.rows_read += len(rows)
        times, received = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        columns: dict[str, Any] = {"ts_event": times, "ts_recv": received}
        return Batch(SCHEMA, columns, SymbolTable())

    def take_rejected(self) -> Batch | None:
        return None

    def fraction(self) -> float:
        return 0.0

    def close(self) -> None:
        return None


@given(streams=st.lists(STREAM, min_size=1, max_size=3), size=st.integers(1, 7))
def test_disorder_is_that_of_rows_sorted_by_receipt(streams: list[Rows], size: int) -> None:
    """Rows received at one instant stand in the order of the streams."""
    found = order_of_receipt([_Reader(rows, size) for rows in streams])
    merged = sorted((row for rows in streams for row in rows), key=lambda row: row[1])
    highest, behind, worst = -1, 0, 0
    for time, _ in merged:
        behind += time < highest
        worst = max(worst, highest - time)
        highest = max(highest, time)
    if not merged:
        assert found is None
        return
    assert found is not None
    assert found.rows == len(merged)
    assert found.out_of_order == behind
    assert found.worst_disorder_ns == (worst if behind else 0)
