"""Files that are on the disk when a call returns, and their hashes."""

from __future__ import annotations

__all__ = (
    "FILE_MODE",
    "FileRecord",
    "HashedFile",
    "make_folder",
    "record_of",
    "write_durably",
)

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from market_data_pipeline.failpoints import failpoint
from market_data_pipeline.folders import FOLDER_MODE, sync_folder

FILE_MODE: Final = 0o600
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file must be.

    Attributes:
        size: Bytes.
        sha256: Hexadecimal.
    """

    size: int
    sha256: str


class HashedFile:
    """A file that is written, hashed and flushed to the disk, in one go.

    Args:
        path: Where; must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        self.closed = False  # Arrow asks

    def write(self, data: Any) -> int:
        """Append bytes, or what has a buffer of them."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._size += len(view)
        done = 0
        while done < len(view):
            done += os.write(self._handle, view[done:])
        return len(view)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def sync(self) -> FileRecord:
        """Flush to the disk; return what was written."""
        failpoint("state.written")
        os.fsync(self._handle)
        failpoint("state.synced")
        return FileRecord(self._size, self._hash.hexdigest())

    def close(self) -> None:
        """Do nothing: Arrow closes what it wrote to, and it is not flushed yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)


def record_of(path: Path) -> FileRecord:
    """Return the size and hash of a file.

    Raises:
        OSError: If it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(size, digest.hexdigest())


def make_folder(path: Path) -> None:
    """Make a folder that only its owner may look into, and those above it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    # `parents=True` would give those above the mode that others have.
    for folder in reversed(missing):
        folder.mkdir(FOLDER_MODE, exist_ok=True)
    path.mkdir(FOLDER_MODE, exist_ok=True)


def write_durably(path: Path, data: bytes, *, name: str | None = None) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    Args:
        path: Where; replaced if it exists.
        data: What.
        name: The stem of the failpoints on the way, None for none.
    """
    temporary = path.with_name(path.name + ".tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        _come(name, "written")
        os.fsync(handle)
        _come(name, "synced")
    finally:
        os.close(handle)
    temporary.replace(path)
    _come(name, "renamed")
    sync_folder(path.parent)
    _come(name, "durable")


def _come(name: str | None, step: str) -> None:
    if name is not None:
        failpoint(f"{name}.{step}")
