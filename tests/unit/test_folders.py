"""Folders are made so that their names are on the disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from market_data_pipeline import folders


def test_every_folder_that_was_made_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a folder is in the one above it, so that is the one to flush."""
    flushed: list[Path] = []
    monkeypatch.setattr(folders, "sync_folder", flushed.append)
    folders.make_durable_folder(tmp_path / "a" / "b" / "c")
    assert flushed == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c").stat().st_mode) == folders.FOLDER_MODE


def test_a_folder_that_is_there_is_flushed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it may have died before."""
    flushed: list[Path] = []
    (tmp_path / "a").mkdir()
    monkeypatch.setattr(folders, "sync_folder", flushed.append)
    folders.make_durable_folder(tmp_path / "a")
    assert flushed == [tmp_path]


def test_a_parent_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was made in it, so there is nothing to flush."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "not readable", str(path))

    (tmp_path / "a").mkdir()
    monkeypatch.setattr(folders, "sync_folder", refuse)
    folders.make_durable_folder(tmp_path / "a")


def test_names_survive_a_flush(tmp_path: Path) -> None:
    """A folder can be opened and flushed."""
    folders.sync_folder(tmp_path)
