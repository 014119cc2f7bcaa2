"""Paths and patterns to the files they stand for."""

from __future__ import annotations

__all__ = ("find_files",)

import glob
from collections.abc import Iterable
from pathlib import Path

from market_data_pipeline.errors import MissingInputError


def find_files(patterns: Iterable[str]) -> list[Path]:
    """Return the files that paths and patterns name, each once.

    The files of one pattern are sorted by name; patterns keep their order. `**` stands
    for any number of directories, `~` for the home directory.

    Raises:
        MissingInputError: If a path or pattern names no file, or is a directory.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            msg = "this is a directory; name a file in it, or a pattern as `*.parquet`"
            raise MissingInputError(msg, place=pattern)
        matches = [path] if path.exists() else _matches(str(path))
        if not matches:
            what = "no file matches this pattern" if glob.has_magic(pattern) else "no such file"
            raise MissingInputError(what, place=pattern)
        found.update(dict.fromkeys(matches))
    if not found:
        msg = "there are no inputs; name at least one file or pattern"
        raise MissingInputError(msg)
    return list(found)


def _matches(pattern: str) -> list[Path]:
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    return [path for path in map(Path, names) if not path.is_dir()]
