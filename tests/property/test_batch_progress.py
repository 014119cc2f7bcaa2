"""Batches cut, thinned out and joined keep the watermark after each row."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.symbols import SymbolTable
from support.nodes import trades

SYMBOLS = SymbolTable(["A"])
extremes = st.one_of(st.integers(-20, 20), st.integers(TIME_MIN, TIME_MIN + 9))


def source_batches(parts: list[list[int]], bounds: list[int]) -> tuple[list[Batch], list[int]]:
    """Return batches as a source gives them, and the watermark after each row."""
    batches, marks, highest, mark = [], [], TIME_MIN, TIME_MIN
    for number, times in enumerate(parts):
        # A bound that changes must not take the watermark back.
        bound = bounds[number % len(bounds)]
        before = max(highest, min(mark + bound, 2**63 - 1))
        for time in times:
            highest = max(highest, time)
            mark = max(mark, max(highest, TIME_MIN + bound) - bound)
            marks.append(mark)
        batches.append(trades(times, SYMBOLS).with_progress(Progress(before, bound, mark)))
        highest = max(highest, before) if times else highest
    return batches, marks


def watermarks(batches: list[Batch]) -> list[int]:
    return [
        mark
        for batch in batches
        if batch.progress is not None
        for mark in batch.progress.watermarks(batch.times).tolist()
    ]


@given(
    st.lists(st.lists(extremes, max_size=6), min_size=1, max_size=5),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
    st.lists(st.integers(0, 30), max_size=4).map(sorted),
    st.data(),
)
def test_watermarks_survive_cutting_thinning_and_joining(
    parts: list[list[int]], bounds: list[int], cuts: list[int], data: Any
) -> None:
    """Every row keeps its watermark, whatever form it is in, also at the end of int64."""
    batches, marks = source_batches(parts, bounds)
    assert watermarks(batches) == marks
    joined = Batch.concat(batches)
    assert watermarks([joined]) == marks
    assert joined.watermark == batches[-1].watermark
    edges = [0, *(min(cut, len(joined)) for cut in cuts), len(joined)]
    pieces = [joined.slice(a, b) for a, b in pairwise(edges)]
    assert watermarks(pieces) == marks
    assert watermarks([Batch.concat(pieces)]) == marks
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(marks), max_size=len(marks))))
    kept = kept.astype(np.bool_)
    thin = joined.take(kept)
    assert watermarks([thin]) == [mark for mark, keep in zip(marks, kept, strict=True) if keep]
    assert thin.watermark == joined.watermark
    assert thin.progress is not None
    assert joined.progress is not None
    assert thin.progress.before == joined.progress.before
    before = TIME_MIN
    for piece in pieces:
        assert piece.progress is not None
        assert before <= piece.progress.before
        assert piece.watermark >= max(watermarks([piece]), default=TIME_MIN)
        before = piece.watermark


def test_joining_with_rows_that_have_no_progress_gives_none() -> None:
    """Half a column of watermarks would belong to other rows."""
    known = trades([1], SYMBOLS).with_progress(Progress(TIME_MIN, 0, 1))
    later = trades([3], SYMBOLS).with_progress(Progress(1, 0, 3))
    assert Batch.concat([known, trades([2], SYMBOLS), later]).progress is None
