"""The objects of a store elsewhere, below one address, through fsspec."""

from __future__ import annotations

__all__ = ("Objects",)

import errno
import inspect
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from market_data_pipeline.errors import ConfigError, MissingDependencyError
from market_data_pipeline.redaction import redacted

# Where a write is not whole or not at all, a rename is.
_WITH_RENAMES: Final = frozenset(
    {"file", "local", "sftp", "ssh", "ftp", "smb", "hdfs", "arrow_hdfs", "webhdfs"}
)
_DRIVER_ERRORS: Final = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("paramiko", "SSHException"),
)
_UNSUPPORTED: Final = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Objects:
    """The objects below an address. Every call blocks.

    What fails raises `OSError`, whatever the driver calls it, without secrets. Such an error
    says nothing about whether a write was done.

    Args:
        url: The address.

    Raises:
        ConfigError: If there is no driver for it.
    """

    def __init__(self, url: str) -> None:
        self._scheme = url.partition("://")[0].lower()
        self._files, self._root = _connected(self._scheme, url)
        self._renames = self._scheme in _WITH_RENAMES
        modes = inspect.signature(self._files.pipe_file).parameters
        self._creates = "mode" in modes and not self._renames

    def read(self, name: str) -> bytes | None:
        """Return the bytes of an object, None if there is none.

        Raises:
            OSError: If that is not known.
        """
        try:
            with _translated():
                data: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return data

    def sizes(self, under: str = "") -> dict[str, int]:
        """Return the sizes of all objects, or of those in one folder, by name.

        Raises:
            OSError: If they are not known.
        """
        top = self._path(under) if under else self._root
        with _translated():
            self._files.invalidate_cache()
            try:
                found = dict(self._found(top))
            except FileNotFoundError:
                if self._files.exists(top):
                    raise OSError(errno.EAGAIN, "it changed while it was listed") from None
                found = {}
        start = len(self._root.rstrip("/")) + 1
        return {path[start:]: size for path, size in found.items()}

    def write(self, name: str, data: bytes) -> None:
        """Put an object there, whole or not at all; it may be there already.

        Raises:
            OSError: If it may not be there.
        """
        path = self._path(name)
        with _translated():
            if not self._renames:
                self._files.pipe_file(path, data)
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(f"{path}.tmp", data)
            self._files.mv(f"{path}.tmp", path)

    def create(self, name: str, data: bytes) -> None:
        """Put an object there, whole or not at all, if there is none.

        Two that try at once cannot both succeed if the store can tell; otherwise it is only
        looked at before.

        Raises:
            OSError: If it may not be there; a store may also say so of what it has done.
        """
        if self._creates:
            try:
                with _translated():
                    self._files.pipe_file(self._path(name), data, mode="create")
            except NotImplementedError:
                self._creates = False
            except OSError as err:
                if err.errno not in _UNSUPPORTED:
                    raise
                self._creates = False
            else:
                return
        if self.read(name) is not None:
            raise FileExistsError(errno.EEXIST, "it is there already", name)
        self.write(name, data)

    def upload(self, files: Mapping[str, Path]) -> None:
        """Put files there, by the names they get.

        Raises:
            OSError: If one may not be there.
        """
        with _translated():
            local = [str(path) for path in files.values()]
            self._files.put(local, [self._path(name) for name in files])

    def download(self, files: Mapping[str, Path]) -> None:
        """Bring objects here that are there.

        Raises:
            OSError: If one is not here.
        """
        with _translated():
            local = [str(path) for path in files.values()]
            self._files.get([self._path(name) for name in files], local)

    def delete(self, names: Collection[str]) -> None:
        """Delete objects; those that are not there are passed over.

        Raises:
            OSError: If one may still be there.
        """
        paths = [self._path(name) for name in names]
        with _translated():
            # Drivers that delete many at once take them for patterns.
            plain = [path for path in paths if not set(path) & set("*?[")]
            if self._files.async_impl and plain:
                with suppress(FileNotFoundError):
                    self._files.rm(plain)
                    paths = [path for path in paths if path not in plain]
            for path in paths:
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def drop_folder(self, name: str) -> None:
        """Delete a folder that has no objects, where stores have folders at all.

        Raises:
            OSError: If it may still be there.
        """
        if not self._files.async_impl:
            with _translated(), suppress(FileNotFoundError):
                self._files.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _found(self, top: str) -> Iterator[tuple[str, int]]:
        """Give paths and sizes of all objects below a folder.

        What fsspec does for drivers that do not do it themselves leaves out the folders that
        it could not list, and a run begins anew where it does not see its checkpoints.
        """
        find = getattr(type(self._files), "_find" if self._files.async_impl else "find")
        if find.__module__ not in {"fsspec.asyn", "fsspec.spec"}:
            for path, told in self._files.find(top, detail=True).items():
                yield path, told["size"]
            return
        folders = [top]
        while folders:
            for told in self._files.ls(folders.pop(), detail=True):
                if told["type"] == "directory":
                    folders.append(told["name"])
                else:
                    yield told["name"], told["size"]


def _connected(scheme: str, url: str) -> tuple[Any, str]:
    """Return the driver for an address, and the address as the driver has it."""
    try:
        import fsspec
        from fsspec.registry import known_implementations
    except ImportError as err:
        raise MissingDependencyError(package="fsspec", extra="remote") from err
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as err:
        package = known_implementations[scheme]["class"].partition(".")[0]
        need = str(err) if package == "fsspec" else f"install it with `pip install {package}`"
        msg = f"`{scheme}://` needs a driver that is not installed: {need}"
        raise ConfigError(msg, parameter="path") from err
    except ValueError as err:
        msg = f"there is no driver for `{scheme}://`"
        raise ConfigError(msg, parameter="path") from err
    # What is remembered of a listing would hide what others have done.
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in {"file", "local"}:
        options["auto_mkdir"] = True
    with _translated():
        files, root = fsspec.url_to_fs(url, **options)
    return files, root


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as err:
        text = redacted(err.strerror or str(err) or type(err).__name__)
        raise _builtin(err)(err.errno or errno.EIO, text) from err
    except _driver_errors() as err:
        raise OSError(errno.EIO, redacted(str(err))) from err


def _builtin(err: OSError) -> type[OSError]:
    """Return the builtin kind of an error, which takes a number and a text."""
    return FileExistsError if isinstance(err, FileExistsError) else OSError


def _driver_errors() -> tuple[type[Exception], ...]:
    """Return the errors of those drivers that are loaded, which are no `OSError`."""
    loaded = [(sys.modules.get(module), name) for module, name in _DRIVER_ERRORS]
    return tuple(getattr(module, name) for module, name in loaded if hasattr(module, name))
