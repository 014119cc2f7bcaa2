"""Named places at which a test can kill the process or make it fail.

`MDP_FAILPOINT=manifest.renamed` kills the process when it comes there, as SIGKILL does;
`manifest.renamed@3` the third time it does; `manifest.renamed@2=error` raises an `OSError`
there instead, once, the second time. Where the variable is not set a place costs one look
at a global name.
"""

from __future__ import annotations

__all__ = ("ENVIRONMENT_VARIABLE", "FAILPOINTS", "failpoint")

import errno
import os
import signal
from dataclasses import dataclass
from typing import Final

from market_data_pipeline.errors import ConfigError, nearest

ENVIRONMENT_VARIABLE: Final = "MDP_FAILPOINT"

FAILPOINTS: Final = {
    "job.written": "the line of life of the job is on the disk, no checkpoint is",
    "checkpoint.begun": "an epoch has its number and its folder",
    "source.cut": "a source has told its position",
    "operator.snapshot": "a run of operators has given its state",
    "sink.staging": "a sink has come to the barrier and has staged nothing of the epoch",
    "sink.staged": "a sink has staged the epoch",
    "state.written": "the file of one state is written and not flushed",
    "state.synced": "the file of one state is flushed",
    "outbox.listed": "what the sinks staged is hashed, its folders are flushed",
    "manifest.written": "the manifest is written under its temporary name",
    "manifest.synced": "the manifest is flushed under its temporary name",
    "manifest.renamed": "the manifest has its name: the checkpoint is decided",
    "manifest.durable": "the folder of the manifest is flushed",
    "remote.leased": "the checkpoints of a store elsewhere are ours",
    "remote.uploaded": "all of a checkpoint is in the store elsewhere but its manifest",
    "remote.decided": "the manifest is there, and nobody knows: the checkpoint is decided",
    "commit.begun": "the checkpoint is decided, a sink has not committed it",
    "commit.done": "a sink has committed, nobody else knows",
    "outbox.deleted": "what one sink staged and committed is deleted",
    "prune.begun": "a checkpoint that is not needed any more is about to go",
    "prune.done": "it is gone",
    "final.done": "the last checkpoint is committed, the sinks are not closed",
    "recovery.chosen": "the checkpoint to go on from is chosen",
    "recovery.commit": "a sink lacks an epoch that is staged, and has not got it",
    "recovery.committed": "the sinks have all that is staged",
    "recovery.cleaned": "what later epochs left behind is deleted",
    "recovery.restored": "sources and operators stand where the checkpoint has them",
}
"""Every place, and what has just happened there."""


@dataclass(slots=True)
class _Armed:
    name: str
    at: int
    is_error: bool
    seen: int = 0


def _parse(text: str) -> _Armed | None:
    if not text:
        return None
    place, _, action = text.partition("=")
    name, _, at = place.partition("@")
    if name not in FAILPOINTS:
        msg = f"`{ENVIRONMENT_VARIABLE}` names no place: `{name}`{nearest(name, FAILPOINTS)}"
        raise ConfigError(msg)
    if action not in {"", "kill", "error"} or not (at or "1").isdigit():
        msg = f"`{ENVIRONMENT_VARIABLE}` must be NAME[@COUNT][=kill|error], was `{text}`"
        raise ConfigError(msg)
    return _Armed(name, int(at or "1"), action == "error")


_armed = _parse(os.environ.get(ENVIRONMENT_VARIABLE, ""))


def failpoint(name: str) -> None:
    """Do nothing, but at the place and time the environment names.

    Raises:
        OSError: If the environment asks for it.
    """
    if _armed is not None and _armed.name == name:
        _come(_armed)


def _come(armed: _Armed) -> None:
    armed.seen += 1
    if armed.seen != armed.at:
        return
    if armed.is_error:
        raise OSError(errno.EIO, f"the failpoint `{armed.name}` was asked for")
    os.kill(os.getpid(), signal.SIGKILL)
