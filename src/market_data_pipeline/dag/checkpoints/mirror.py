"""Checkpoints in a store elsewhere, worked on in a folder that may be lost at any time.

    LOCK                                    who uses them
    JOB.json                                which line of the job's life it is
    00000017/MANIFEST.json                  what belongs to the checkpoint, if there is one
    00000017/bars.arrow.6b86b273ff34fce1    the state of a node
    00000017/outbox/store/...               what a sink staged of the epoch

The store is all that counts: a run elsewhere goes on with an empty disk. States and what is
staged have the beginning of their hash in their name, so that a run that has lost its lease
and does not know yet cannot write over those of its successor.
"""

from __future__ import annotations

__all__ = ("MirroredStore",)

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.checkpoints.files import FileRecord, make_folder
from market_data_pipeline.dag.checkpoints.lease import Lease
from market_data_pipeline.dag.checkpoints.manifest import Manifest, Staged, decode, encode
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.dag.checkpoints.store import JOB, MANIFEST, OUTBOX, Line, Store
from market_data_pipeline.errors import (
    CheckpointError,
    CheckpointsInUseError,
    CheckpointsUnreachableError,
)
from market_data_pipeline.failpoints import failpoint

_HASH_DIGITS: Final = 16


class MirroredStore(Store):
    """The checkpoints of one job at an address.

    Args:
        url: The address.
        clock: What passes.
        retain: Checkpoints to keep.
    """

    def __init__(self, url: str, clock: Clock, *, retain: int = 3) -> None:
        super().__init__(Path(), retain=retain)
        self._url = url.rstrip("/")
        self._objects = Objects(url)
        self._lease = Lease(self._objects, clock, self._url)
        self._folder: Path | None = None
        self._listed: dict[str, int] | None = None
        self._sent: set[str] = set()

    def __str__(self) -> str:
        return self._url

    @property
    def root(self) -> Path:
        """The working folder: this run's own, made when it is needed."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mdp-checkpoints-"))
        return self._folder

    def open(self) -> str | None:
        """Try to have the checkpoints to ourselves; return who may have them, None once we do.

        To be called again and again until they are ours, or known not to be.

        Raises:
            CheckpointsInUseError: If another run has them.
            CheckpointsUnreachableError: If the store fails.
        """
        with self._reached():
            holder = self._lease.claim()
            if holder is None:
                self._listed = self._objects.sizes()
                self._lease.keep()
                failpoint("remote.leased")
        return holder

    def close(self) -> None:
        """Let others have them, and forget what is here."""
        self._lease.release()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Name the store in what is wrong with it."""
        try:
            yield
        except OSError as err:
            msg = f"the store fails: {err.strerror or err}"
            raise CheckpointsUnreachableError(msg, path=self._url) from err

    # Reading

    @property
    def _names(self) -> dict[str, int]:
        """Sizes of all objects that may be there, by name."""
        if self._listed is None:
            with self._reached():
                self._listed = self._objects.sizes()
        return self._listed

    def _in_folder(self, epoch: int) -> list[str]:
        start = f"{self.folder_name(epoch)}/"
        return [name for name in tuple(self._names) if name.startswith(start)]

    def epochs(self) -> list[int]:
        """Return the epochs of which there is something, rising."""
        first = {name.partition("/")[0] for name in tuple(self._names)}
        here = [] if self._folder is None else super().epochs()
        return sorted({int(name) for name in first if name.isdigit()}.union(here))

    def decided(self) -> list[int]:
        """Return the epochs that have a manifest, rising; also if it only may be there."""
        known = self._names
        return [e for e in self.epochs() if f"{self.folder_name(e)}/{MANIFEST}" in known]

    def read(self, name: str) -> bytes | None:
        """Return what is in one of our own files, None if there is none.

        Raises:
            CheckpointsUnreachableError: If that cannot be known.
        """
        with self._reached():
            return self._objects.read(name)

    def problems(self, manifest: Manifest) -> list[str]:
        """Bring the states of a checkpoint here; return what is wrong with them."""
        self._fetch(self.folder_name(manifest.epoch), manifest.files)
        return super().problems(manifest)

    def staged_problems(self, staged: Staged) -> list[str]:
        """Bring here what a sink staged; return what is wrong with it."""
        self._fetch(staged.folder, staged.files)
        return super().staged_problems(staged)

    def _fetch(self, folder: str, files: Mapping[str, FileRecord]) -> None:
        wanted = {}
        for name, record in files.items():
            path, remote = self.root / folder / name, _remote_name(folder, name, record)
            # What is not there, or not whole, is told by whoever looks at the files.
            if not path.exists() and self._names.get(remote) == record.size:
                make_folder(path.parent)
                wanted[remote] = path
        if wanted:
            with self._reached():
                self._objects.download(wanted)

    # Writing

    def write_line(self, line: Line) -> None:
        """Begin a line."""
        data = json.dumps(asdict(line)).encode()
        with self._reached():
            self._lease.check()
            self._objects.write(JOB, data)
        failpoint("job.written")

    def begin(self, epoch: int) -> Path:
        """Make the folder of an epoch."""
        self._lease.check_if_due()
        return super().begin(epoch)

    def publish(self, manifest: Manifest) -> int:
        """Make a checkpoint of what has been written; return the bytes of its manifest.

        Raises:
            CheckpointsInUseError: If another run has taken the checkpoints over.
            CheckpointError: If it is not known whether there is a checkpoint; `decided` has
                it then, and only another run can tell.
            OSError: If there is none.
        """
        self._send(manifest)
        failpoint("remote.uploaded")
        self._lease.check()
        data = encode(manifest)
        self._decide(f"{self.folder_name(manifest.epoch)}/{MANIFEST}", data)
        failpoint("remote.decided")
        super().drop_states(manifest.epoch)
        return len(data)

    def _send(self, manifest: Manifest) -> None:
        """Bring everything there that a manifest names and that was not sent before."""
        folders = {self.folder_name(manifest.epoch): manifest.files}
        for sink in manifest.sinks.values():
            folders |= {staged.folder: staged.files for staged in sink.staged}
        wanted: dict[str, Path] = {}
        expected: dict[str, int] = {}
        for folder, files in folders.items():
            for name, record in files.items():
                remote = _remote_name(folder, name, record)
                # What was sent before may be committed and deleted by now.
                if remote not in self._sent:
                    wanted[remote] = self.root / folder / name
                    expected[remote] = record.size
        if not wanted:
            return
        self._names.update(expected)
        self._objects.upload(wanted)
        found: dict[str, int] = {}
        for folder in {remote.partition("/")[0] for remote in wanted}:
            found.update(self._objects.sizes(folder))
        for remote, size in expected.items():
            if found.get(remote) != size:
                is_there = f"{found[remote]:,} bytes" if remote in found else "nothing"
                msg = f"`{remote}` was sent with {size:,} bytes, and {is_there} is there"
                raise OSError(errno.EIO, msg)
        self._sent.update(wanted)

    def _decide(self, name: str, data: bytes) -> None:
        """Put a manifest there; an error that comes back says nothing about whether it is."""
        self._names[name] = len(data)
        try:
            self._objects.create(name, data)
        except OSError as err:
            there = self._read_back(name, err)
            if there == data:
                return
            if there is not None and _is_manifest(there):
                msg = f"another run has decided `{name}`; it has taken the checkpoints over"
                raise CheckpointsInUseError(msg, path=self._url) from err
            self._names.pop(name)
            raise

    def _read_back(self, name: str, err: OSError) -> bytes | None:
        try:
            return self._objects.read(name)
        except OSError as second:
            msg = (
                f"it is not known whether `{name}` was written ({err.strerror or err}; then "
                f"{second.strerror or second}); run it again, it will see"
            )
            raise CheckpointError(msg, path=self._url) from err

    # Deleting

    def drop_staged(self, staged: Staged) -> None:
        """Delete what a sink has committed."""
        self._delete([n for n in tuple(self._names) if n.startswith(f"{staged.folder}/")])
        super().drop_staged(staged)

    def drop_states(self, epoch: int) -> None:
        """Delete the states of a checkpoint that did not come about, but not what is staged."""
        outbox = f"{self.folder_name(epoch)}/{OUTBOX}/"
        self._delete([name for name in self._in_folder(epoch) if not name.startswith(outbox)])
        super().drop_states(epoch)

    def delete_epoch(self, epoch: int) -> None:
        """Delete the folder of an epoch; its manifest goes first."""
        manifest = f"{self.folder_name(epoch)}/{MANIFEST}"
        names = self._in_folder(epoch)
        if self._delete([name for name in names if name == manifest]):
            self._delete([name for name in names if name != manifest], epoch)
        start = f"{self.folder_name(epoch)}/"
        self._sent.difference_update([n for n in tuple(self._sent) if n.startswith(start)])
        super().delete_epoch(epoch)

    def _delete(self, names: list[str], epoch: int | None = None) -> bool:
        """Delete objects, and a folder with them; tell whether they are gone.

        What is left is deleted with its epoch, at the next chance.
        """
        try:
            self._lease.check_if_due()
            self._objects.delete(names)
            if epoch is not None:
                self._objects.drop_folder(self.folder_name(epoch))
        except OSError:
            return False
        for name in names:
            self._names.pop(name, None)
        return True


def _remote_name(folder: str, name: str, record: FileRecord) -> str:
    return f"{folder}/{name}.{record.sha256[:_HASH_DIGITS]}"


def _is_manifest(data: bytes) -> bool:
    try:
        decode(data, path="")
    except CheckpointError:
        return False
    return True
