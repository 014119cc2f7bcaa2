"""A disk that forgets, at a power cut, what was not flushed to it.

What a piece of code does to the files below a folder is recorded call by call. From the
record comes what a disk may hold if the power fails after any of the calls: of a file, what
was flushed last and any part of what was written since, the last sector torn; of a folder,
the names as flushed last and any of the changes since. A model of SQLite's `test6.c`.
"""

from __future__ import annotations

__all__ = ("PowerCut", "Recorder")

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_SECTOR = 512
_ROOT = 0


@dataclass(frozen=True)
class _Names:
    """Names that come, go, or both in one step; the second half is the node or None."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class _Write:
    file: int
    at: int
    data: bytes


@dataclass(frozen=True)
class _Cut:
    file: int
    size: int


@dataclass(frozen=True)
class _Flush:
    node: int


@dataclass(frozen=True)
class _Mark:
    said: Any


_Call = _Names | _Write | _Cut | _Flush | _Mark


class Recorder:
    """Records what is done below a folder while `recording`.

    Calls of the operating system that Python makes are seen one by one; files that others
    write, as Arrow does, when they are flushed or named next.
    """

    def __init__(self, root: Path) -> None:
        self.calls: list[_Call] = []
        self._root = root.resolve()
        self._folders: dict[int, dict[str, int]] = {_ROOT: {}}
        self._files: dict[int, bytearray] = {}
        self._open: dict[int, int] = {}
        self._count = 0
        self._lock = threading.RLock()
        self._adopt(self._root, _ROOT)
        self.flushed = len(self.calls)
        """What was there before; it is on the disk."""

    def mark(self, said: Any) -> None:
        """Note that something is promised from here on."""
        self.calls.append(_Mark(said))

    # The shadow of the real folder

    def _adopt(self, path: Path, node: int) -> None:
        for entry in sorted(path.iterdir()):
            if entry.name not in self._folders[node]:
                self._meet(entry, node)

    def _meet(self, path: Path, folder: int) -> int:
        """Take in a file or folder that came into being unseen."""
        self._count += 1
        node = self._count
        self._folders[folder][path.name] = node
        is_folder = path.is_dir()
        if is_folder:
            self.calls.append(_Names(((node, "", node),)))  # what it is, known before its name
        self.calls.append(_Names(((folder, path.name, node),)))
        if is_folder:
            self._folders[node] = {}
            self._adopt(path, node)
        else:
            self._files[node] = bytearray()
            self._look(path, node)
        return node

    def _look(self, path: Path, node: int) -> None:
        """Take in bytes that were written unseen."""
        data = path.read_bytes()
        known = self._files[node]
        if data != known:
            same = _common(data, known)
            self.calls += [_Cut(node, same), _Write(node, same, data[same:])]
            self._files[node] = bytearray(data)

    def _place(self, path: Any) -> tuple[int, str] | None:
        """Return the folder and the name of a path, None if it is not below the root."""
        if not isinstance(path, str | os.PathLike):
            return None
        plain = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100  links are not followed
        if not plain.is_relative_to(self._root):
            return None
        parts = plain.relative_to(self._root).parts
        if not parts:
            return (_ROOT, "")
        node, at = _ROOT, self._root
        for part in parts[:-1]:
            at /= part
            found = self._folders[node].get(part)
            node = self._meet(at, node) if found is None else found
        return node, parts[-1]

    def _node(self, path: Any) -> int | None:
        place = self._place(path)
        if place is None:
            return None
        folder, name = place
        if not name:
            return _ROOT
        found = self._folders[folder].get(name)
        real = Path(os.fspath(path))
        if found is None:
            found = self._meet(real, folder) if real.exists() else None
        elif found in self._files:
            self._look(real, found)
        else:
            self._adopt(real, found)
        return found

    # What is seen

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "_use_fd_functions", False)
            for name in ("open", "close", "write", "ftruncate", "fsync", "mkdir", "rmdir"):
                patch.setattr(os, name, self._seen(name))
            for name in ("rename", "replace", "link", "unlink", "remove"):
                patch.setattr(os, name, self._seen(name))
            yield

    def _seen(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)
        before = getattr(self, f"_before_{name}", None)
        after = getattr(self, f"_after_{name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                told = before(*args) if before else None
                result = None if name == "fsync" else real(*args, **kwargs)
                after(told, result, *args)
            return result

        return call

    def _after_open(self, _: Any, handle: int, path: Any, *args: Any) -> None:
        node = self._node(path)
        if node is not None:
            self._open[handle] = node
            if node in self._files and args and args[0] & os.O_TRUNC and self._files[node]:
                self._after_ftruncate(None, None, handle, 0)

    def _after_close(self, _: Any, __: Any, handle: int) -> None:
        self._open.pop(handle, None)

    def _before_write(self, handle: int, data: Any) -> int:
        return os.lseek(handle, 0, os.SEEK_CUR) if handle in self._open else 0

    def _after_write(self, at: int, count: int, handle: int, data: Any) -> None:
        node = self._open.get(handle)
        if node is not None:
            written = bytes(memoryview(data).cast("B")[:count])
            self._files[node][at : at + count] = written
            self.calls.append(_Write(node, at, written))

    def _after_ftruncate(self, _: Any, __: Any, handle: int, size: int) -> None:
        node = self._open.get(handle)
        if node is not None:
            del self._files[node][size:]
            self.calls.append(_Cut(node, size))

    def _after_fsync(self, _: Any, __: Any, handle: int) -> None:
        node = self._open.get(handle)
        if node is not None:
            self.calls.append(_Flush(node))

    def _after_mkdir(self, _: Any, __: Any, path: Any, *__more: Any) -> None:
        self._node(path)

    def _after_rmdir(self, _: Any, __: Any, path: Any) -> None:
        self._after_unlink(None, None, path)

    def _after_unlink(self, _: Any, __: Any, path: Any) -> None:
        place = self._place(path)
        if place is not None and self._folders[place[0]].pop(place[1], None) is not None:
            self.calls.append(_Names(((*place, None),)))

    _after_remove = _after_unlink

    def _before_link(self, old: Any, new: Any) -> int | None:
        return self._node(old)

    def _after_link(self, node: int | None, _: Any, old: Any, new: Any) -> None:
        place = self._place(new)
        if node is not None and place is not None:
            self._folders[place[0]][place[1]] = node
            self.calls.append(_Names(((*place, node),)))

    _before_rename = _before_replace = _before_link

    def _after_rename(self, node: int | None, _: Any, old: Any, new: Any) -> None:
        source, target = self._place(old), self._place(new)
        if node is not None and source is not None and target is not None:
            del self._folders[source[0]][source[1]]
            self._folders[target[0]][target[1]] = node
            self.calls.append(_Names(((*source, None), (*target, node))))

    _after_replace = _after_rename


@dataclass
class _Disk:
    """What is flushed, and what is not."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {_ROOT: {}})
    files: dict[int, bytes] = field(default_factory=dict)
    names: list[_Names] = field(default_factory=list)
    writes: dict[int, list[_Write | _Cut]] = field(default_factory=dict)

    def take(self, call: _Call) -> None:
        if isinstance(call, _Names):
            ((folder, name, _), *_) = call.changes
            if name:
                self.names.append(call)
            else:
                self.folders[folder] = {}
        elif isinstance(call, _Write | _Cut):
            self.writes.setdefault(call.file, []).append(call)
        elif isinstance(call, _Flush):
            self.flush(call.node)

    def flush(self, node: int) -> None:
        if node not in self.folders:
            self.files[node] = _applied(self.files.get(node, b""), self.writes.pop(node, []))
            return
        for names in list(self.names):
            if any(folder == node for folder, *_ in names.changes):
                _rename(self.folders, names)
                self.names.remove(names)


class PowerCut:
    """What a disk may hold after a power cut.

    Args:
        recorder: What was done.
        chance: Decides when the power fails, and what is left.
    """

    def __init__(self, recorder: Recorder, chance: random.Random) -> None:
        self._chance = chance
        calls = recorder.calls
        self.at = chance.randint(recorder.flushed, len(calls))
        self._disk = _Disk()
        for call in calls[: recorder.flushed]:
            self._disk.take(call)
        for node in [*self._disk.folders, *self._disk.writes]:
            self._disk.flush(node)
        for call in calls[recorder.flushed : self.at]:
            self._disk.take(call)
        self.promised = [call.said for call in calls[: self.at] if isinstance(call, _Mark)]
        """What was marked before."""

    def leave(self, folder: Path) -> None:
        """Write what is left to a folder."""
        disk, chance = self._disk, self._chance
        folders = {node: dict(names) for node, names in disk.folders.items()}
        for names in _some(disk.names, chance):
            _rename(folders, names)
        contents = {
            node: _torn(disk.files.get(node, b""), disk.writes.get(node, []), chance)
            for node in {*disk.files, *disk.writes}
        }
        self._write(folder, _ROOT, folders, contents)

    def _write(
        self, path: Path, node: int, folders: dict[int, dict[str, int]], files: dict[int, bytes]
    ) -> None:
        path.mkdir(exist_ok=True, mode=0o700)
        for name, child in folders[node].items():
            if child in folders:
                self._write(path / name, child, folders, files)
            else:
                (path / name).write_bytes(files.get(child, b""))


def _rename(folders: dict[int, dict[str, int]], names: _Names) -> None:
    for folder, name, node in names.changes:
        if node is None:
            folders[folder].pop(name, None)
        else:
            folders[folder][name] = node


def _some(names: list[_Names], chance: random.Random) -> list[_Names]:
    """Return what is left of changes that were not flushed: a journal's prefix, or any."""
    kind = chance.random()
    if kind < 0.2:
        return names
    if kind < 0.5:
        return names[: chance.randint(0, len(names))]
    return [change for change in names if chance.random() < 0.5]


def _applied(data: bytes, writes: list[_Write | _Cut]) -> bytes:
    result = bytearray(data)
    for call in writes:
        if isinstance(call, _Cut):
            del result[call.size :]
        else:
            result.extend(bytes(max(call.at - len(result), 0)))
            result[call.at : call.at + len(call.data)] = call.data
    return bytes(result)


def _common(one: bytes, other: bytes | bytearray) -> int:
    """Return how many bytes are the same at the beginning."""
    least = min(len(one), len(other))
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), least)


def _torn(data: bytes, writes: list[_Write | _Cut], chance: random.Random) -> bytes:
    """Return what is left of a file: as it was, or with some sectors as they were written."""
    if not writes or chance.random() < 0.2:
        return data
    done = writes[: chance.randint(1, len(writes))]
    whole = _applied(data, done)
    kind = chance.random()
    if kind < 0.3:
        return whole
    if kind < 0.6:  # the last write is torn
        same = _common(_applied(data, done[:-1]), whole)
        return whole[: chance.randint(same, len(whole))]
    result = bytearray(whole)
    for at in range(0, len(whole), _SECTOR):
        if chance.random() < 0.4:
            old = data[at : at + _SECTOR]
            size = len(result[at : at + _SECTOR])
            noise = chance.randbytes(size) if chance.random() < 0.3 else bytes(size)
            result[at : at + _SECTOR] = (old + noise[len(old) :])[:size]
    return bytes(result)
