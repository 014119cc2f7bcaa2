"""What sources and sinks have besides if they take part in checkpoints.

An epoch is what lies between two barriers. At a barrier a source tells its position, an
operator gives its snapshot, and a sink stages: it makes all rows of the epoch durable
without showing them. Once all have done so the manifest is renamed, which decides; only
then the sinks commit. A run that is killed goes on from the last manifest: sinks are asked
which epoch they have, commit what is staged and missing, and sources are opened at their
positions.
"""

from __future__ import annotations

__all__ = (
    "Delivery",
    "EpochMark",
    "EpochWriter",
    "FlushedWriter",
    "Job",
    "Position",
    "RetainingReader",
    "RewindableReader",
)

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from market_data_pipeline.dag.nodes import SinkWriter, SourceReader

Position: TypeAlias = Mapping[str, Any]
"""Where a source stands: plain JSON data."""

Delivery: TypeAlias = Literal["exactly_once", "at_least_once"]


@dataclass(frozen=True, slots=True)
class Job:
    """Whose rows they are: the pipeline, and one line of its life.

    Attributes:
        name: Name of the pipeline.
        lineage: Text made at random when the job starts from scratch or is rewound. Epochs
            of two lineages have nothing to do with each other.
        ancestors: The lineages it branched off from when the job was rewound, oldest first;
            what they wrote is the job's own.
    """

    name: str
    lineage: str
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EpochMark:
    """What a sink has, as recorded in the same atomic unit as its rows.

    Attributes:
        lineage: Lineage of the job that wrote last.
        epoch: The last epoch that is committed.
    """

    lineage: str
    epoch: int


@runtime_checkable
class RewindableReader(SourceReader, Protocol):
    """The running half of a source that can be opened again where it stood."""

    def position(self) -> Position:
        """Return where the next `read` goes on. Called between two reads.

        A read that waits is cancelled for it and called again afterwards, so it must lose
        nothing when it is. After the end it is where the input ended. Opened with
        `NodeContext.position` set to it, the source gives from there on the same items
        with the same watermarks as it would have given.
        """
        ...


@runtime_checkable
class RetainingReader(RewindableReader, Protocol):
    """The running half of a source that keeps what it gave until no checkpoint needs it."""

    async def release(self, position: Position) -> None:
        """Forget what lies before a position, that of the oldest checkpoint that is kept."""
        ...


@runtime_checkable
class EpochWriter(SinkWriter, Protocol):
    """The running half of a sink whose rows become visible by epochs, each exactly once.

    A run with checkpoints calls `open`, `committed`, perhaps `commit` for what an earlier
    process staged, then `write` and `stage` in turn. While later rows are written and
    staged, `commit` shows the epochs before: one at a time, but beside `write` and
    `stage`. At the regular end, and when the run is told to stop, all is committed and
    `finish` has no rows left to commit: it frees what the writer holds. A later run of a
    job that has come to its end calls it too, so what a sink makes of all epochs at the
    end is made then if it is not there. `abort` comes after a failure and leaves alone
    what is staged or committed. In a run without checkpoints (`NodeContext.job` is None)
    none of the three is called.
    """

    async def stage(self, epoch: int, folder: Path) -> None:
        """Make the rows written since the last call durable, and show none of them.

        Afterwards no row is `held` in the account: what is staged has been sent. Rows of a
        call that failed stay with the writer, and the next call stages them too, into
        another folder. What is staged is never taken back: if the checkpoint does not come
        about for another reason, the folder is committed with the next one.

        Args:
            epoch: Number of the epoch, higher than any before; numbers may be left out.
            folder: An empty folder on the local disk that belongs to this epoch and sink.
                What is put there is kept until the epoch is committed, and is there after
                a crash; files and the folder itself must be flushed to the disk. No file
                at all means that the epoch has no rows, and it is never committed.

        Raises:
            OutputError: If it cannot be done; the checkpoint does not come about.
        """
        ...

    async def commit(self, epoch: int, folder: Path) -> None:
        """Show what was staged in `folder`, and record the mark in the same atomic unit.

        Called in the order of epochs; also after a crash, in a process that did not stage.
        Called again for an epoch that is committed, it does nothing. Files may be moved out
        of the folder; it is deleted afterwards.

        Raises:
            OutputError: If it is not known to be done. It may be all the same, so the
                caller asks `committed` before it tries again.
        """
        ...

    async def committed(self) -> EpochMark | None:
        """Return what this job last committed to this sink, None if never.

        The mark is found by the name of the job, whatever its lineage.
        """
        ...


@runtime_checkable
class FlushedWriter(SinkWriter, Protocol):
    """What a sink that is no `EpochWriter` has besides if it holds rows back.

    Its rows are written at least once: those after the last checkpoint again after a crash.
    """

    async def flush(self) -> None:
        """Make durable and visible what was written; called at each barrier.

        Raises:
            OutputError: If it cannot be done; the checkpoint does not come about.
        """
        ...
