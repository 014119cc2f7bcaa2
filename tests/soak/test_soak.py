"""A minute of a live market leaves nothing behind; `python -m soak` runs it for longer."""

from __future__ import annotations

from pathlib import Path

from soak.verdict import soak


def test_a_minute_of_a_live_market(tmp_path: Path) -> None:
    """Memory, handles, threads and tasks stay where they were; every checkpoint comes about."""
    found = soak(tmp_path, seconds=40, rate=2_000)
    assert not found.complaints(), found
    assert found.checkpoints > 10
