"""Folders whose names are on the disk when a call returns."""

from __future__ import annotations

__all__ = ("FOLDER_MODE", "make_durable_folder", "sync_folder")

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o700
"""Only the owner may look into a folder that we make."""


def make_durable_folder(path: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take it away again.

    A folder that is there is flushed too: whoever made it may have died before.

    Raises:
        OSError: If it cannot be made.
    """
    made = [path]
    while not made[-1].parent.is_dir() and made[-1].parent != made[-1]:
        made.append(made[-1].parent)
    path.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    for folder in reversed(made):
        with suppress(PermissionError):  # where we may not read we have made nothing
            sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Flush a folder to the disk, so that its names are durable."""
    if sys.platform == "win32":
        return  # folders cannot be opened there, and names are journaled
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
