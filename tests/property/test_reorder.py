"""Rows in the order of event time, against sorting them all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch, Progress
from market_data_pipeline.dag.reorder import Reorder
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.records import TRADE, Field, Kind
from market_data_pipeline.symbols import KEY_GROUP_COUNT, SymbolTable

SCHEMA = TRADE.only(("ts_event", "symbol", "sequence")).having(
    Field("note", Kind.ARROW, arrow=pa.string())
)
NAMES = ("AAA", "BBB", "CCC")
TIMES = st.lists(
    st.integers(-30, 30)
    | st.sampled_from([TIME_MIN, TIME_MIN + 3, TIME_MAX - 5, 10**18])
    | st.integers(0, 5),
    max_size=40,
)
Row = tuple[int, str, int, str | None]


def rows_of(times: list[int]) -> list[Row]:
    """Rows whose number is their order of arrival."""
    return [
        (time, NAMES[(7 * i) % 3], i, None if i % 5 == 0 else f"n{i}\0")
        for i, time in enumerate(times)
    ]


def batches(rows: list[Row], cuts: list[int], bound: int, *, explicit: bool) -> list[Batch]:
    """The rows, cut, with the watermarks of a source."""
    symbols, highest, made = SymbolTable(NAMES), TIME_MIN + bound, []
    for a, b in pairwise([0, *sorted(c for c in set(cuts) if 0 < c < len(rows)), len(rows)]):
        part = rows[a:b]
        columns: dict[str, Any] = {
            "ts_event": np.array([row[0] for row in part], np.int64),
            "symbol": symbols.encode(row[1] for row in part),
            "sequence": np.array([row[2] for row in part], np.int64),
            "note": pa.array([row[3] for row in part], pa.string()),
        }
        start = highest
        clocks = []
        for row in part:
            highest = max(highest, row[0])
            clocks.append(highest - bound)
        progress = (
            Progress(start - bound, 0, highest - bound, np.array(clocks, np.int64))
            if explicit
            else Progress(start, bound, highest - bound)
        )
        made.append(Batch(SCHEMA, columns, symbols, progress))
    return made


def listed(batch: Batch) -> list[Row]:
    """The rows of a batch."""
    return [
        (int(time), batch.symbols.name(code), int(number), note)
        for time, code, number, note in zip(
            batch.times.tolist(),
            batch["symbol"].tolist(),
            batch["sequence"].tolist(),
            batch["note"].to_pylist(),
            strict=True,
        )
    ]


def expected(rows: list[Row], bound: int) -> tuple[list[Row], list[Row]]:
    """The rows in order and the late ones, one row after the other."""
    on_time: list[Row] = []
    late: list[Row] = []
    watermark = TIME_MIN
    for row in rows:
        (late if row[0] < watermark else on_time).append(row)
        watermark = max(watermark, row[0] - bound)
    return sorted(on_time, key=lambda row: (row[0], row[2])), late


@given(
    TIMES,
    st.lists(st.integers(0, 40), max_size=40),
    st.integers(0, 20),
    st.booleans(),
    st.none() | st.integers(0, 40),
)
def test_rows_come_by_time_and_arrival_and_late_ones_apart(
    times: list[int], cuts: list[int], bound: int, explicit: bool, restart: int | None
) -> None:
    """However rows are cut, and with a restart anywhere, they come as if all were sorted."""
    rows = rows_of(times)
    right, right_late = expected(rows, bound)
    given_rows: list[Row] = []
    late_rows: list[Row] = []
    reorder = Reorder(SymbolTable(NAMES))
    arrived = 0

    def take(ready: list[Batch]) -> None:
        for batch in ready:
            progress = batch.progress
            assert progress is not None
            marks = progress.watermarks(batch.times).tolist()
            assert marks == [max(time, progress.start) for time in batch.times.tolist()]
            given_rows.extend(listed(batch))
            left = right[len(given_rows) :]
            assert all(row[0] >= progress.end for row in left)

    for number, batch in enumerate(batches(rows, cuts, bound, explicit=explicit)):
        ready, late = reorder.take(batch)
        late_rows += listed(batch.take(late))
        take(ready)
        arrived += len(batch)
        assert reorder.held + len(given_rows) + len(late_rows) == arrived
        waiting = [row for row in right[len(given_rows) :] if row[2] < arrived]
        assert all(row[0] > reorder.watermark for row in waiting)
        if number == restart:
            saved = reorder.snapshot()
            half = KEY_GROUP_COUNT // 2
            parts = [saved.only(range(half, KEY_GROUP_COUNT)), saved.only(range(half))]
            reorder = Reorder(batch.symbols)
            reorder.restore(Snapshot.merge(parts))
            reorder.bind(SCHEMA)
    take(reorder.finish())
    assert reorder.held == 0
    assert given_rows == right
    assert late_rows == right_late


def test_rows_in_order_are_not_copied() -> None:
    """What may go at once is the memory that came."""
    batch = batches(rows_of([1, 2, 2, 5]), [], 0, explicit=False)[0]
    reorder = Reorder(batch.symbols)
    (ready,), late = reorder.take(batch)
    assert len(late) == 0
    assert np.shares_memory(ready.times, batch.times)


def test_what_is_held_spans_no_more_than_the_bound() -> None:
    """Rows leave as the watermark comes up to them, in one-row batches too."""
    reorder = Reorder(SymbolTable(NAMES))
    most = 0
    rows = rows_of([i - 7 * (i % 3) for i in range(3_000)])
    for batch in batches(rows, list(range(3_000)), 20, explicit=False):
        reorder.take(batch)
        most = max(most, reorder.held)
    assert most <= 28
