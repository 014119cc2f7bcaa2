"""Thresholds in front of a sink."""

from __future__ import annotations

import pytest

from market_data_pipeline.batcher.thresholds import Batcher
from market_data_pipeline.errors import ConfigError
from support.sink_rows import bars, trades


def test_without_thresholds_batches_pass_through() -> None:
    """Nothing is held where nothing is asked for."""
    batcher = Batcher()
    batch = bars(3)
    assert batcher.add(batch, 0.0) == [batch]
    assert (batcher.rows, batcher.due_s, batcher.take()) == (0, None, None)


def test_full_batches_have_exactly_the_asked_rows() -> None:
    """What is over stays for the next."""
    batcher = Batcher(rows=10)
    assert batcher.add(bars(7), 0.0) == []
    assert [len(batch) for batch in batcher.add(bars(15), 0.0)] == [10, 10]
    assert batcher.rows == 2
    rest = batcher.take()
    assert rest is not None
    assert len(rest) == 2
    assert batcher.rows == 0


def test_bytes_make_a_batch_ready() -> None:
    """The batch that reaches the limit goes along whole."""
    one = bars(1).nbytes
    batcher = Batcher(bytes=3 * one)
    assert batcher.add(bars(2), 0.0) == []
    assert [len(batch) for batch in batcher.add(bars(5), 0.0)] == [7]
    assert batcher.bytes == 0


def test_first_row_sets_when_rows_are_due() -> None:
    """Later rows do not put it off."""
    batcher = Batcher(rows=100, interval_s=2.0)
    batcher.add(bars(1), 10.0)
    batcher.add(bars(1), 11.0)
    assert batcher.due_s == 12.0
    assert [len(batch) for batch in batcher.add(bars(1), 12.0)] == [3]
    assert batcher.due_s is None


def test_rows_left_by_a_full_batch_wait_from_their_own_arrival() -> None:
    """Their time starts when they came, not with rows that are gone."""
    batcher = Batcher(rows=10, interval_s=2.0)
    batcher.add(bars(9), 10.0)
    batcher.add(bars(2), 11.5)
    assert (batcher.rows, batcher.due_s) == (1, 13.5)


def test_empty_batch_sets_no_time() -> None:
    """Nothing that waits is nothing that is due."""
    batcher = Batcher(interval_s=1.0)
    assert batcher.add(bars(0), 0.0) == []
    assert batcher.due_s is None


def test_rows_of_another_schema_start_another_batch() -> None:
    """Order is kept; columns are never mixed."""
    batcher = Batcher(rows=10)
    batcher.add(bars(3), 0.0)
    ready = batcher.add(trades(2), 0.0)
    assert [batch.schema.name for batch in ready] == ["bar"]
    rest = batcher.take()
    assert rest is not None
    assert (rest.schema.name, len(rest)) == ("trade", 2)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"rows": 0}, "rows"), ({"bytes": -1}, "bytes"), ({"interval_s": -0.5}, "interval_s")],
)
def test_thresholds_out_of_range_are_refused(settings: dict[str, int], name: str) -> None:
    """The error names the threshold."""
    with pytest.raises(ConfigError, match=f"`{name}` must") as found:
        Batcher(**settings)
    assert found.value.parameter == name
