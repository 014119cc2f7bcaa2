"""A batcher never loses, doubles or reorders rows, and keeps its thresholds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as hs

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.batcher.thresholds import Batcher
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_SCHEMA = Schema("row", (Field("ts_event", Kind.TIME), Field("number", Kind.INT)))
_SYMBOLS = SymbolTable()
_ROW_BYTES = 16


def _batches(sizes: list[int], times: list[int]) -> list[Batch]:
    """Return rows numbered from 0, cut into batches, with watermarks as a source has them."""
    batches, start, highest = [], 0, TIME_MIN
    for size in sizes:
        stamps = np.resize(np.array(times, np.int64), start + size)[start:]
        columns = {"ts_event": stamps, "number": np.arange(start, start + size)}
        after = max([highest, *stamps.tolist()])
        progress = Progress(highest, 0, after)
        batches.append(Batch(_SCHEMA, columns, _SYMBOLS, progress))
        start, highest = start + size, after
    return batches


@given(
    hs.lists(hs.tuples(hs.integers(0, 12), hs.floats(0, 3)), max_size=25),
    hs.lists(hs.integers(-5, 5), min_size=1, max_size=7),
    hs.none() | hs.integers(1, 15),
    hs.none() | hs.integers(1, 200),
    hs.none() | hs.floats(0, 5),
)
def test_rows_and_watermarks_pass_unchanged(
    arrivals: list[tuple[int, float]],
    times: list[int],
    rows: int | None,
    size: int | None,
    interval_s: float | None,
) -> None:
    """Whatever the thresholds and the cuts, out comes what went in, in time."""
    batcher = Batcher(rows=rows, bytes=size, interval_s=interval_s)
    batches = _batches([count for count, _ in arrivals], times)
    given_out: list[Batch] = []
    arrived: list[float] = []
    now_s = 100.0
    for batch, (_, pause_s) in zip(batches, arrivals, strict=True):
        now_s += pause_s
        due_s = batcher.due_s
        if due_s is not None and due_s <= now_s:
            taken = batcher.take()
            assert taken is not None
            given_out.append(taken)
        arrived += [now_s] * len(batch)
        ready = batcher.add(batch, now_s)
        given_out += ready
        held = sum(map(len, batches[: len(given_out)])) if batcher.rows else 0
        assert held >= 0
        out = sum(map(len, given_out))
        assert out + batcher.rows == len(arrived)
        if rows is not None:
            assert batcher.rows < rows
            assert all(len(one) <= rows for one in ready)
        if size is not None:
            assert batcher.bytes == batcher.rows * _ROW_BYTES < size
        if interval_s is not None and batcher.rows:
            assert batcher.due_s == arrived[out] + interval_s
    rest = batcher.take()
    given_out += [] if rest is None else [rest]
    assert batcher.take() is None
    numbers = [n for batch in given_out for n in batch["number"].tolist()]
    assert numbers == list(range(len(arrived)))
    wanted = [w for b in batches if b.progress for w in b.progress.watermarks(b.times).tolist()]
    found = [w for b in given_out if b.progress for w in b.progress.watermarks(b.times).tolist()]
    assert found == wanted
