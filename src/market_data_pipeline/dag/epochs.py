"""What sources and sinks have besides if they take part in checkpoints.

An epoch is what lies between two barriers. At a barrier a source tells its position, an
operator gives its snapshot, and a sink stages: it makes all rows of the epoch durable
without showing them. Once all have done so the manifest is renamed, which decides; only
then the sinks commit. A run that is killed goes on from the last manifest: sinks are asked
which epoch they have, commit what is staged and missing, and sources are opened at their
positions.
"""

from __future__ import annotations

__all__ = ("Delivery", "EpochMark", "EpochWriter", "Job", "Position", "RewindableReader")

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
    """

    name: str
    lineage: str


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

        Opened with `NodeContext.position` set to it, the source gives from there on the
        same items with the same watermarks as it would have given.
        """
        ...


@runtime_checkable
class EpochWriter(SinkWriter, Protocol):
    """The running half of a sink whose rows become visible by epochs, each exactly once."""

    async def stage(self, epoch: int, folder: Path) -> None:
        """Make the rows written since the last call durable, and show none of them.

        Args:
            epoch: Number of the epoch, higher than any before in this lineage.
            folder: An empty folder on the local disk that belongs to this epoch and sink.
                What is put there is kept until the epoch is committed, and is there after
                a crash. No file at all means that the epoch has no rows.

        Raises:
            OutputError: If it cannot be done; the checkpoint does not come about.
        """
        ...

    async def commit(self, epoch: int, folder: Path) -> None:
        """Show what was staged in `folder`, and record the mark in the same atomic unit.

        Called in the order of epochs; also after a crash, in a process that did not stage.
        Called again for an epoch that is committed, it does nothing.

        Raises:
            OutputError: If it is not known to be done. It may be all the same, so the
                caller asks `committed` before it tries again.
        """
        ...

    async def committed(self) -> EpochMark | None:
        """Return what this job last committed to this sink, None if never."""
        ...
