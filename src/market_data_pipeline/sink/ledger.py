"""What a sink remembers of the jobs that write to it, wherever it keeps that.

One line for each lineage of a job. The one with the highest turn is the only one that may
commit: a process that was suspended while another took over finds itself locked out.
"""

from __future__ import annotations

__all__ = ("Entry", "LedgerLine", "enter", "has_epoch", "mark_of")

from collections.abc import Sequence
from dataclasses import dataclass

from market_data_pipeline.dag.epochs import EpochMark, Job
from market_data_pipeline.errors import OutputError


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One lineage of a job.

    Attributes:
        lineage: The lineage.
        turn: When it was opened last, compared with the others.
        epoch: The last epoch it has committed, 0 for none.
    """

    lineage: str
    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Entry:
    """How a lineage is entered.

    Attributes:
        turn: Its turn from now on.
        is_new: True if it has no line yet.
        is_own: True if what is in the sink is the job's own: of this lineage, or of one
            that it branched off from.
        is_unused: True if runs of the job were here before, and none committed anything.
    """

    turn: int
    is_new: bool
    is_own: bool
    is_unused: bool


def enter(lines: Sequence[LedgerLine], job: Job, place: str) -> Entry:
    """Return how a lineage is entered as the one that may commit.

    Args:
        lines: All lines of the job and the sink.
        job: The job, with the lineage to enter.
        place: The output, for messages.

    Raises:
        OutputError: If another lineage has committed since it was open.
    """
    highest = max((line.turn for line in lines), default=0)
    known = {line.lineage: line for line in lines}
    is_own = not known.keys().isdisjoint({job.lineage, *job.ancestors})
    is_unused = bool(lines) and not any(line.epoch for line in lines)
    mine = known.get(job.lineage)
    if mine is None:
        return Entry(highest + 1, is_new=True, is_own=is_own, is_unused=is_unused)
    # One that was opened and never committed, as a run that was refused, counts for nothing.
    if any(line.turn > mine.turn and line.epoch for line in lines):
        raise _locked_out(place)
    turn = mine.turn if mine.turn == highest else highest + 1
    return Entry(turn, is_new=False, is_own=is_own, is_unused=is_unused)


def mark_of(lines: Sequence[LedgerLine]) -> EpochMark | None:
    """Return what the job last committed, None if never."""
    committed = [line for line in lines if line.epoch]
    if not committed:
        return None
    last = max(committed, key=lambda line: line.turn)
    return EpochMark(last.lineage, last.epoch)


def has_epoch(lines: Sequence[LedgerLine], job: Job, epoch: int, place: str) -> bool:
    """Tell whether an epoch is committed.

    Raises:
        OutputError: If another lineage was opened since.
    """
    last = max(lines, key=lambda line: line.turn, default=None)
    if last is None or last.lineage != job.lineage:
        raise _locked_out(place)
    return last.epoch >= epoch


def _locked_out(place: str) -> OutputError:
    msg = (
        "another run of this job has written here since, so this one, which knows nothing of "
        "that, may not; stop one of the two, or start from scratch"
    )
    return OutputError(msg, path=place)
