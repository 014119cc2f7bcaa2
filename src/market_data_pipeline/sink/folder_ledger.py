"""The ledger of outputs that are files: a folder with a manifest for each epoch.

`ledger.json` says which lineages there are and whose turn it is; `EPOCH-LINEAGE.json` says
which files an epoch has brought and is renamed into place once they are there: it is the
epoch's mark. Whoever writes holds a lock on the folder.
"""

from __future__ import annotations

__all__ = ("FolderLedger", "manifests_in", "move_file")

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.errors import OutputError, SchemaError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.ledger import Entry, LedgerLine, enter, has_epoch, mark_of
from market_data_pipeline.sink.publish import reporting, sync

_LINES: Final = "ledger.json"
_LOCK: Final = ".lock"
_FORMAT: Final = 1


def manifests_in(folder: Path) -> list[dict[str, Any]]:
    """Return the manifests in a folder, in the order in which they were committed.

    Raises:
        OutputError: If one cannot be read.
    """
    lines = _read(folder / _LINES).get("lines", [])
    turns = {line["lineage"]: line["turn"] for line in lines}
    found = [_read(path) for path in folder.glob("*-*.json")]
    found.sort(key=lambda manifest: (turns.get(manifest["lineage"], 0), manifest["epoch"]))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        found = json.loads(text)
    except ValueError as err:
        msg = f"the manifest cannot be read: {err}"
        raise OutputError(msg, path=str(path)) from err
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        msg = "the manifest is of a format that is not known here"
        raise OutputError(msg, path=str(path))
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps({"format": _FORMAT, **content}, indent=1, ensure_ascii=False)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


@final
class FolderLedger:
    """One sink of one job in the ledger of a folder."""

    def __init__(self, folder: Path, job: Job, sink: str, place: str) -> None:
        """Look at nothing yet.

        Args:
            folder: Where the ledger lies; made when the lineage is entered.
            job: Whose rows they are.
            sink: Name of the node.
            place: The output, for messages.
        """
        self.folder = folder
        self._job = job
        self._sink = sink
        self._place = place
        self._epochs: dict[str, int] | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes."""
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def lines(self) -> list[LedgerLine]:
        """Return the lines of the job and the sink."""
        told = _read(self.folder / _LINES).get("lines", [])
        epochs = self._known_epochs()
        return [
            LedgerLine(line["lineage"], line["turn"], epochs.get(line["lineage"], 0))
            for line in told
            if (line["job"], line["sink"]) == (self._job.name, self._sink)
        ]

    def _known_epochs(self) -> dict[str, int]:
        if self._epochs is None:
            self._epochs = {}
            for path in self.folder.glob("*-*.json"):
                manifest = _read(path)
                lineage, epoch = manifest["lineage"], manifest["epoch"]
                self._epochs[lineage] = max(epoch, self._epochs.get(lineage, 0))
        return self._epochs

    def enter(self) -> Entry:
        """Enter the lineage as the one that may commit. Called with the lock.

        Raises:
            OutputError: If another lineage of the job has committed since.
        """
        entry = enter(self.lines(), self._job, self._place)
        told = _read(self.folder / _LINES).get("lines", [])
        if entry.is_new:
            # Turns say in which order readers find the manifests, also those of other jobs.
            entry = replace(entry, turn=1 + max((line["turn"] for line in told), default=0))
        mine = {"job": self._job.name, "sink": self._sink, "lineage": self._job.lineage}
        others = [line for line in told if {**line, "turn": 0} != {**mine, "turn": 0}]
        _write(self.folder / _LINES, {"lines": [*others, {**mine, "turn": entry.turn}]})
        return entry

    def mark(self) -> EpochMark | None:
        """Return what the job last committed, None if never."""
        self._epochs = None
        return mark_of(self.lines())

    def has(self, epoch: int) -> bool:
        """Tell whether an epoch is committed. Called with the lock.

        Raises:
            OutputError: If another lineage of the job was opened since.
        """
        return has_epoch(self.lines(), self._job, epoch, self._place)

    def record(self, epoch: int, content: Mapping[str, Any]) -> None:
        """Record that an epoch is committed. Called with the lock."""
        whose = {
            "job": self._job.name,
            "sink": self._sink,
            "lineage": self._job.lineage,
            "epoch": epoch,
        }
        name = f"{epoch:012d}-{quote(self._job.lineage, safe='')}.json"
        _write(self.folder / name, {**whose, **content})
        self._known_epochs()[self._job.lineage] = epoch

    def check_columns(self, schema: Schema) -> None:
        """Refuse rows with other columns than those of the epochs before.

        Raises:
            SchemaError: If they have.
        """
        before = self.own()
        here = [str(field) for field in schema]
        if before and before[-1]["columns"] != here:
            msg = (
                f"rows with columns {', '.join(here)} cannot follow rows with columns "
                f"{', '.join(before[-1]['columns'])} in one output"
            )
            raise SchemaError(msg)

    def own(self) -> Sequence[dict[str, Any]]:
        """Return the manifests of the lineage and those it branched off from, in order."""
        lineages = {self._job.lineage, *self._job.ancestors}
        return [m for m in manifests_in(self.folder) if m["lineage"] in lineages]


def move_file(source: Path, target: Path, size: int) -> None:
    """Give a file its place, once; its bytes are on the disk, its name is not yet.

    Args:
        source: Where it is, unless it was moved before.
        target: Where it goes.
        size: How many bytes it has.

    Raises:
        OutputError: If it is in neither place.
    """
    if target.exists() and target.stat().st_size == size:
        return
    if not source.exists():
        msg = f"what was staged is not there any more: `{source}`"
        raise OutputError(msg, path=str(target))
    with reporting(str(target)):
        try:
            source.replace(target)
        except OSError as err:
            if err.errno != errno.EXDEV:
                raise
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, temporary)
            sync(temporary)
            temporary.replace(target)
