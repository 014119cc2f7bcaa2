"""Writes zips as LEAN lays them out."""

from __future__ import annotations

__all__ = ("write_lean",)

import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_lean(root: Path, where: str, members: Mapping[str, str]) -> Path:
    """Write a zip and return its path.

    Args:
        root: Folder to write to.
        where: Path below it, as `forex/oanda/tick/eurusd/20140505_quote.zip`.
        members: Text of each member by its name.
    """
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path
