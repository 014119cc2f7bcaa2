"""Where checkpoints lie: a folder with one folder for each epoch.

    LOCK                      held by the process that runs
    JOB.json                  which line of the job's life it is
    00000017/MANIFEST.json    what belongs to the checkpoint; without it there is none
    00000017/bars.arrow       the state of a node
    00000017/outbox/store/    what a sink staged of the epoch

Every call blocks; whoever runs in an event loop calls from a thread.
"""

from __future__ import annotations

__all__ = ("JOB", "MANIFEST", "OUTBOX", "Line", "Store")

import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from market_data_pipeline.dag.checkpoints.files import (
    FileRecord,
    HashedFile,
    make_folder,
    record_of,
    write_durably,
)
from market_data_pipeline.dag.checkpoints.lock import FolderLock
from market_data_pipeline.dag.checkpoints.manifest import Manifest, Staged, decode, encode
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.failpoints import failpoint
from market_data_pipeline.folders import make_durable_folder, sync_folder

MANIFEST: Final = "MANIFEST.json"
JOB: Final = "JOB.json"
OUTBOX: Final = "outbox"
_DIGITS: Final = 8
_NAME_BYTES: Final = 120


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a job's life.

    Attributes:
        job: Name of the pipeline.
        lineage: Random text.
        ancestors: The lines it branched off from when it was rewound, oldest first.
        parent_epoch: The checkpoint it branched off at; None if it began at the beginning.
    """

    job: str
    lineage: str
    ancestors: tuple[str, ...] = ()
    parent_epoch: int | None = None

    @staticmethod
    def begin(job: str) -> Line:
        """Return a line that begins at the beginning."""
        return Line(job, secrets.token_hex(8))

    @staticmethod
    def branch(manifest: Manifest) -> Line:
        """Return a line that goes on from a checkpoint of another."""
        ancestors = (*manifest.ancestors, manifest.lineage)
        return Line(manifest.job, secrets.token_hex(8), ancestors, manifest.epoch)


class Store:
    """The checkpoints of one job in a folder.

    Args:
        root: The folder; made if it is missing.
        retain: Checkpoints to keep.
    """

    def __init__(self, root: Path, *, retain: int = 3) -> None:
        self._root = root
        self._retain = retain
        self._lock: FolderLock | None = None

    def __str__(self) -> str:
        return str(self._root)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def open(self) -> str | None:
        """Make the folder ours.

        Returns:
            None once it is ours. Where that takes time to find out: who may have it; call
            again then.

        Raises:
            CheckpointsInUseError: If another process has it.
            CheckpointError: If it is not safe to use.
        """
        try:
            make_durable_folder(self.root)
            _check_owner(self.root)
            self._lock = FolderLock(self.root)
        except OSError as err:
            msg = f"checkpoints cannot be kept there: {err.strerror or err}"
            raise CheckpointError(msg, path=str(self.root)) from err
        return None

    def close(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            self._lock.release()

    # The line of life

    def line(self) -> Line | None:
        """Return the line that is under way, None if none was begun.

        Raises:
            CheckpointError: If what says so is damaged.
        """
        data = self.read(JOB)
        if data is None:
            return None
        try:
            plain = json.loads(data)
            line = Line(**{**plain, "ancestors": tuple(plain["ancestors"])})
        except (ValueError, TypeError, KeyError) as err:
            msg = (
                "it is damaged; say which checkpoint to go on from with `--from-checkpoint`, or "
                "begin again with `--from-scratch`"
            )
            raise CheckpointError(msg, path=f"{self}/{JOB}") from err
        return line

    def write_line(self, line: Line) -> None:
        """Begin a line."""
        write_durably(self.root / JOB, json.dumps(asdict(line)).encode())
        failpoint("job.written")

    # Reading

    def folder(self, epoch: int) -> Path:
        """Return the folder of an epoch, whether it is there or not."""
        return self.root / self.folder_name(epoch)

    @staticmethod
    def folder_name(epoch: int) -> str:
        """Return the name of the folder of an epoch."""
        return f"{epoch:0{_DIGITS}d}"

    def read(self, name: str) -> bytes | None:
        """Return what is in one of our own files, None if there is none.

        Raises:
            CheckpointError: If it cannot be read.
        """
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            msg = f"it cannot be read: {err.strerror}"
            raise CheckpointError(msg, path=f"{self}/{name}") from err

    def epochs(self) -> list[int]:
        """Return the epochs that have a folder, rising."""
        if not self.root.is_dir():
            return []
        return sorted(int(path.name) for path in self.root.iterdir() if path.name.isdigit())

    def decided(self) -> list[int]:
        """Return the epochs that have a manifest, rising."""
        return [epoch for epoch in self.epochs() if (self.folder(epoch) / MANIFEST).exists()]

    def load(self, epoch: int) -> Manifest:
        """Return the manifest of an epoch; the files in it are not looked at.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        name = f"{self.folder_name(epoch)}/{MANIFEST}"
        data, path = self.read(name), f"{self}/{name}"
        if data is None:
            known = ", ".join(map(str, self.decided())) or "none"
            msg = f"there is no checkpoint {epoch} (checkpoints: {known})"
            raise CheckpointError(msg, path=str(self))
        manifest = decode(data, path=path)
        if manifest.epoch != epoch:
            msg = f"it is the manifest of checkpoint {manifest.epoch}"
            raise CheckpointError(msg, path=path)
        return manifest

    def problems(self, manifest: Manifest) -> list[str]:
        """Return what is wrong with the states of a checkpoint; empty if it is sound."""
        folder = self.folder(manifest.epoch)
        return [p for n, r in manifest.files.items() if (p := _problem(folder / n, n, r))]

    def staged_problems(self, staged: Staged) -> list[str]:
        """Return what is wrong with what a sink staged; empty if it is sound."""
        folder = self.root / staged.folder
        return [p for n, r in staged.files.items() if (p := _problem(folder / n, n, r))]

    # Writing

    def begin(self, epoch: int) -> Path:
        """Make the folder of an epoch."""
        folder = self.folder(epoch)
        make_folder(folder)
        failpoint("checkpoint.begun")
        return folder

    def outbox(self, epoch: int, sink: str) -> Path:
        """Make the folder into which a sink stages an epoch."""
        folder = self.outbox_path(epoch, sink)
        make_folder(folder)
        return folder

    def outbox_path(self, epoch: int, sink: str) -> Path:
        """Return the folder into which a sink stages an epoch."""
        return self.folder(epoch) / OUTBOX / _file_name(sink)

    def staged(self, epoch: int, sink: str) -> Staged | None:
        """Return what a sink has staged, its folders flushed; None if it has no rows."""
        folder = self.outbox_path(epoch, sink)
        files = {}
        for base, _, names in os.walk(folder):
            for name in sorted(names):
                path = Path(base, name)
                files[path.relative_to(folder).as_posix()] = record_of(path)
            sync_folder(Path(base))
        if not files:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        sync_folder(folder.parent)
        sync_folder(folder.parent.parent)
        return Staged(epoch, folder.relative_to(self.root).as_posix(), files)

    def write_state(
        self, epoch: int, node: str, suffix: str, write: Callable[[HashedFile], None]
    ) -> tuple[str, FileRecord]:
        """Write a file of a checkpoint; return its name and what was written.

        Raises:
            SnapshotError: If the state cannot be written down.
            OSError: If the disk does not take it.
        """
        name = f"{_file_name(node)}{suffix}.arrow"
        with HashedFile(self.folder(epoch) / name) as file:
            write(file)
            return name, file.sync()

    def publish(self, manifest: Manifest) -> int:
        """Make a checkpoint of what has been written; return the bytes of its manifest."""
        folder = self.folder(manifest.epoch)
        # Whoever sees the manifest must see all that it names.
        sync_folder(folder)
        sync_folder(self.root)
        data = encode(manifest)
        write_durably(folder / MANIFEST, data, name="manifest")
        return len(data)

    # Deleting

    def drop_staged(self, staged: Staged) -> None:
        """Delete what a sink has committed."""
        folder = self.root / staged.folder
        shutil.rmtree(folder, ignore_errors=True)
        failpoint("outbox.deleted")

    def drop_states(self, epoch: int) -> None:
        """Delete the states of a checkpoint that did not come about, but not what is staged."""
        folder = self.folder(epoch)
        if folder.is_dir():
            for path in folder.iterdir():
                if path.name != OUTBOX:
                    path.unlink(missing_ok=True)

    def drop_epoch(self, epoch: int) -> None:
        """Delete the folder of an epoch; its manifest goes first."""
        failpoint("prune.begun")
        self.delete_epoch(epoch)
        failpoint("prune.done")

    def delete_epoch(self, epoch: int) -> None:
        """Delete the folder of an epoch; its manifest goes first."""
        folder = self.folder(epoch)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def prune(self, needed: Collection[int] = (), *, retain: int | None = None) -> list[int]:
        """Delete what is older than the checkpoints to keep; return the epochs.

        Args:
            needed: Epochs whose folders hold what is not committed yet.
            retain: Checkpoints to keep, None for as many as the job says.
        """
        decided = self.decided()
        kept = decided[-(self._retain if retain is None else retain) :]
        if not kept:
            return []
        gone = [e for e in self.epochs() if e < kept[0] and e not in needed]
        for epoch in gone:
            self.drop_epoch(epoch)
        return gone


def _file_name(node: str) -> str:
    """Return a name for the files of a node that every file system takes."""
    name = quote(node, safe=" ")
    if len(name) <= _NAME_BYTES:
        return name
    return f"{name[: _NAME_BYTES - 17]}-{hashlib.sha256(node.encode()).hexdigest()[:16]}"


def _problem(path: Path, name: str, record: FileRecord) -> str | None:
    """Return what is wrong with a file, None if nothing is."""
    try:
        if path.is_symlink() or not stat.S_ISREG(path.lstat().st_mode):
            return f"`{name}` is no regular file"
        size = path.stat().st_size
        if size != record.size:
            return f"`{name}` has {size:,} bytes, expected {record.size:,}"
        if record_of(path) != record:
            return f"`{name}` does not have the hash it was written with"
    except OSError as err:
        return f"`{name}` cannot be read: {err.strerror}"
    return None


def _check_owner(root: Path) -> None:
    told = root.lstat()
    if stat.S_ISLNK(told.st_mode) or not stat.S_ISDIR(told.st_mode):
        msg = "checkpoints need a folder of their own, and this is none"
        raise CheckpointError(msg, path=str(root))
    if hasattr(os, "getuid") and told.st_uid != os.getuid():
        msg = "the folder belongs to another user; checkpoints need one of their own"
        raise CheckpointError(msg, path=str(root))
