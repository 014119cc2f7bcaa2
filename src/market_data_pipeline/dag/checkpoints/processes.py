"""Which process this is, told so that another can see that it is gone."""

from __future__ import annotations

__all__ = ("ProcessId", "is_gone", "this_process")

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_DEAD: Final = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process.

    Attributes:
        host: Name of its machine.
        pid: Its number there.
        space: Where that number means something: one start of one kernel, one namespace. Empty
            if it cannot be told.
        started: When it was started, as the kernel counts; numbers are given again.
    """

    host: str
    pid: int
    space: str
    started: str


def this_process() -> ProcessId:
    """Return what tells this process from all others."""
    pid = os.getpid()
    told = _told(pid)
    return ProcessId(socket.gethostname(), pid, _space(), told[1] if told else "")


def is_gone(process: ProcessId) -> bool:
    """Tell whether a process is known to be gone; False also if it cannot be known.

    A name of a machine does not tell: containers on two machines may have the same.
    """
    if not process.space or process.space != _space():
        return False
    told = _told(process.pid)
    return told is None or told[0] in _DEAD or told[1] != process.started


def _space() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{boot} {namespace}"


def _told(pid: int) -> tuple[str, str] | None:
    """Return the state of a process and when it was started, None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything.
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]
