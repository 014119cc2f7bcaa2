"""What of a graph a checkpoint compares with the graph that goes on from it."""

from __future__ import annotations

from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.description import describe, hash_of
from market_data_pipeline.source.chaos import ChaosSource
from market_data_pipeline.source.journal import JournalSource


def _hash(source: Any) -> str:
    dag = mdp.Dag("job")
    dag.source(source, name="ticks").sink(mdp.MemorySink(), name="out")
    return hash_of(describe(dag))


@pytest.mark.parametrize(
    "tuning",
    [
        {"batch_rows": 7},
        {"speed": 2.0},
        {"speed": 2.0, "provider": "x"},
        {"pacing_budget": (9, 9)},
    ],
)
def test_how_a_recording_is_read_may_change(tmp_path: Any, tuning: dict[str, Any]) -> None:
    """No result depends on it, also where the source is inside another one."""
    path = str(tmp_path / "ticks.csv")
    before, now = mdp.ReplaySource(path), mdp.ReplaySource(path, **tuning)
    assert _hash(before) == _hash(now)
    assert _hash(ChaosSource(before, drop=0.5)) == _hash(ChaosSource(now, drop=0.5))
    assert _hash(before) != _hash(mdp.ReplaySource(path, out_of_order="2s", **tuning))


def test_how_rows_are_made_or_kept_may_change(tmp_path: Any) -> None:
    """The same market and the same journal, in other pieces."""
    market = mdp.SyntheticSource(rows=10)
    assert _hash(market) == _hash(mdp.SyntheticSource(rows=10, speed=2.0, batch_rows=3))
    assert _hash(market) != _hash(mdp.SyntheticSource(rows=10, seed=2))
    journal = JournalSource(market, tmp_path / "journal")
    other = JournalSource(market, tmp_path / "journal", segment_bytes=1, retain="all")
    assert _hash(journal) == _hash(other)
