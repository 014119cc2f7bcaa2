"""Publishing an output in one step: all of it under its final name, or nothing.

What is written goes to a hidden sibling of the output, on the same file system. Once it
is complete and on the disk it is renamed. Whoever looks at the final name sees the old
state or the new one. A process that is killed leaves at most the hidden sibling
(`.NAME.xxxxxxxx.tmp`), which can be deleted.
"""

from __future__ import annotations

__all__ = (
    "Draft",
    "OutputPath",
    "check_parent",
    "check_vacant",
    "is_writable",
    "output_error",
    "reporting",
)

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from market_data_pipeline.errors import OutputError, OutputExistsError

_WAYS_OUT: Final = {
    errno.ENOSPC: "no space is left there; free some, or write somewhere else",
    errno.EDQUOT: "the disk quota is used up; free some, or write somewhere else",
    errno.EFBIG: "the file would be larger than is allowed; raise the limit on file sizes",
    errno.EACCES: "there is no permission to write; change it, or write somewhere else",
    errno.EPERM: "there is no permission to write; change it, or write somewhere else",
    errno.EROFS: "the file system is read-only; write somewhere else",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; write somewhere else",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def _text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


OutputPath: TypeAlias = Annotated[
    str | Path, BeforeValidator(_text), WithJsonSchema({"type": "string"})
]
"""A setting that says where an output goes. It is kept as text: a trailing `/` counts."""


def output_error(err: OSError | str, path: str) -> OutputError:
    """Return the error that names the output and the way out.

    Args:
        err: What the operating system said, or a library's text that quotes it.
        path: The output at fault.
    """
    number = err.errno if isinstance(err, OSError) else None
    text = str(err)
    for code in _WAYS_OUT:
        if code == number or os.strerror(code) in text:
            return OutputError(f"cannot be written: {_WAYS_OUT[code]}", path=path)
    return OutputError(f"cannot be written: {text}", path=path)


@contextmanager
def reporting(path: str) -> Iterator[None]:
    """Turn errors of the operating system into `OutputError`s that name `path`."""
    try:
        yield
    except OSError as err:
        raise output_error(err, path) from err


def check_parent(path: str) -> None:
    """Make sure that something can be created beside `path`.

    Raises:
        OutputError: If the folder is missing, is no folder, or may not be written to.
    """
    with reporting(path):
        _check_folder(Path(os.path.realpath(path)).parent, path)


def _check_folder(parent: Path, path: str) -> None:
    if not parent.exists():
        msg = f"cannot be written: there is no folder `{parent}`; create it first"
        raise OutputError(msg, path=path)
    if not parent.is_dir():
        msg = f"cannot be written: `{parent}` is not a folder; write somewhere else"
        raise OutputError(msg, path=path)
    if not is_writable(parent):
        msg = (
            f"cannot be written: there is no permission to write to `{parent}`; "
            "change it, or write somewhere else"
        )
        raise OutputError(msg, path=path)


def is_writable(path: Path) -> bool:
    """Tell whether this process may write to a file, or create files in a folder."""
    mode = os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def check_vacant(path: str, *, overwrite: bool) -> None:
    """Make sure that a file can be published at `path`.

    Raises:
        OutputExistsError: If it exists and may not be replaced.
        OutputError: If it cannot be written.
    """
    check_parent(path)
    if Path(path).is_dir():
        msg = "cannot be written: it is a folder; give the name of a file"
        raise OutputError(msg, path=path)
    if Path(path).exists() and not overwrite:
        raise _exists(path)


def _exists(path: str) -> OutputExistsError:
    msg = (
        "exists already; set `overwrite: true` (`--overwrite` of `mdp bars` and `mdp dlq`) to "
        "replace it, or choose another name"
    )
    return OutputExistsError(msg, path=path)


class Draft:
    """An output on its way: a hidden file or folder that gets its name when it is done.

    Attributes:
        path: The output as the user wrote it.
        temporary: Where to write; a sibling of the output.
    """

    def __init__(self, path: str, *, overwrite: bool) -> None:
        self.path = path
        self._final = Path(os.path.realpath(path))
        self.temporary = self._final.with_name(
            f".{self._final.name[:200]}.{secrets.token_hex(4)}.tmp"
        )
        self._overwrite = overwrite

    def complete_file(self) -> None:
        """Return once the bytes of the file are on the disk.

        Raises:
            OutputError: If the operating system refuses.
        """
        with reporting(self.path):
            sync(self.temporary)

    def complete_folder(self) -> None:
        """Return once the folder and all its files are on the disk.

        Raises:
            OutputError: If the operating system refuses.
        """
        with reporting(self.path):
            for file in sorted(self.temporary.rglob("*")):
                sync(file)
            sync(self.temporary)

    def publish_file(self) -> None:
        """Give the file its name, once its bytes are on the disk.

        Raises:
            OutputExistsError: If the output has come into being meanwhile and may not be
                replaced.
            OutputError: If the operating system refuses.
        """
        self.complete_file()
        with reporting(self.path):
            if self._overwrite:
                self.temporary.replace(self._final)
            else:
                self._link()
            sync(self._final.parent)

    def _link(self) -> None:
        # Unlike rename, link fails where the name is taken, whoever took it and when.
        try:
            os.link(self.temporary, self._final)
        except FileExistsError as err:
            raise _exists(self.path) from err
        except OSError as err:
            if err.errno not in _NO_LINKS:
                raise
            if self._final.exists():
                raise _exists(self.path) from err
            self.temporary.rename(self._final)
        else:
            self.temporary.unlink()

    def publish_folder(self) -> None:
        """Give the folder its name, once all its files are on the disk.

        Raises:
            OutputExistsError: If the output is not an empty folder and may not be
                replaced.
            OutputError: If the operating system refuses.
        """
        self.complete_folder()
        with reporting(self.path):
            old = self._moved_away()
            try:
                self.temporary.rename(self._final)
            except OSError as err:
                if err.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise _exists(self.path) from err
                raise
            sync(self._final.parent)
            if old is not None:
                shutil.rmtree(old)

    def _moved_away(self) -> Path | None:
        if not self._overwrite or not self._final.is_dir():
            return None
        old = self.temporary.with_suffix(".old")
        self._final.rename(old)
        return old

    def discard(self) -> None:
        """Delete what was written; do nothing if it is published or was never there."""
        with suppress(FileNotFoundError):
            if self.temporary.is_dir():
                shutil.rmtree(self.temporary, ignore_errors=True)
            else:
                self.temporary.unlink()


def sync(path: Path) -> None:
    """Return once a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
