"""The folder of checkpoints: what is deleted, and what is not."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from market_data_pipeline.dag.checkpoints.files import write_durably
from market_data_pipeline.dag.checkpoints.manifest import Manifest
from market_data_pipeline.dag.checkpoints.store import Line, Store
from market_data_pipeline.errors import CheckpointError, CheckpointsInUseError


def _manifest(line: Line, epoch: int) -> Manifest:
    return Manifest(line.job, line.lineage, (), epoch, 0, False, {}, (), "", {}, {}, {})


def test_what_a_sink_lacks_outlasts_any_number_of_checkpoints(tmp_path: Path) -> None:
    """An epoch that is not committed keeps its folder; the others go, oldest first."""
    store, line = Store(tmp_path / "kept", retain=3), Line.begin("job")
    store.open()
    for epoch in range(1, 103):
        store.begin(epoch)
        if epoch == 2:
            write_durably(store.outbox(epoch, "store") / "rows", b"not committed yet")
        store.publish(_manifest(line, epoch))
        store.prune({2})
        assert store.epochs() == [e for e in range(1, epoch + 1) if e == 2 or e > epoch - 3]
    staged = store.staged(2, "store")
    assert staged is not None
    assert store.staged_problems(staged) == []
    store.prune()
    assert store.epochs() == [100, 101, 102]
    store.close()


def test_only_what_belongs_to_checkpoints_is_deleted(tmp_path: Path) -> None:
    """A folder of somebody else in the same place is left alone."""
    store, line = Store(tmp_path / "kept", retain=3), Line.begin("job")
    store.open()
    (store.root / "notes").mkdir()
    (store.root / "notes" / "of mine").write_text("")
    for epoch in range(1, 9):
        store.begin(epoch)
        store.publish(_manifest(line, epoch))
    store.prune()
    store.prune()
    assert store.epochs() == [6, 7, 8]
    assert (store.root / "notes" / "of mine").exists()
    store.close()


def test_a_folder_that_cannot_be_locked_is_not_called_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other run to stop; what the file system lacks is told."""

    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(CheckpointError, match="cannot be kept there: No locks") as caught:
        Store(tmp_path / "kept").open()
    assert not isinstance(caught.value, CheckpointsInUseError)


def test_a_folder_that_another_run_has_is_called_in_use(tmp_path: Path) -> None:
    """Whoever comes second is told what to do."""
    first, second = Store(tmp_path / "kept"), Store(tmp_path / "kept")
    first.open()
    with pytest.raises(CheckpointsInUseError, match="stop it first"):
        second.open()
    first.close()
    assert second.open() is None
    second.close()
