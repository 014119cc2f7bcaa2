"""An I/O call that fails, is cut short, or is the last one: the output is right in the end."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from crash.conftest import MakeJob
from crash.jobs import Job, check
from crash.world import World

_TINY = {"rows": 400, "seconds": 8, "symbols": 4}
_SAMPLE = 2
"""Calls that are tried of each kind; the long lane tries all."""


def calls_of(job: Job, library: Path) -> int:
    """Return how many calls an undisturbed run makes."""
    count = job.folder / "calls"
    environment = {
        "LD_PRELOAD": str(library),
        "IO_FAULTS_BELOW": str(job.folder),
        "IO_FAULTS_COUNT": str(count),
    }
    assert job.run(environment=environment) == 0
    return int(count.read_text())


def disturbed(job: Job, library: Path, at: int, kind: str, *, onward: bool) -> int:
    """Run a job with a fault at a call; return the code it ended with."""
    return job.run(
        environment={
            "LD_PRELOAD": str(library),
            "IO_FAULTS_BELOW": str(job.folder),
            "IO_FAULTS_AT": str(at),
            "IO_FAULTS_KIND": kind,
            "IO_FAULTS_ONWARD": "1" if onward else "0",
        }
    )


@pytest.mark.parametrize(
    ("sink", "kind", "onward"),
    [
        ("parquet", str(errno.EIO), False),
        ("parquet", "kill", False),
        ("duckdb", "kill", False),
        ("duckdb", str(errno.ENOSPC), True),
        ("sqlite", str(errno.EIO), True),
        ("sqlite", "short", False),
    ],
)
def test_a_fault_at_a_call(
    make_job: MakeJob, io_faults: Path, tmp_path: Path, sink: str, kind: str, onward: bool
) -> None:
    """The run fails with a message or goes on; run again it has every row once."""
    world = World.make(5, **_TINY)
    plain = make_job(sink, world, speed=10)
    calls = calls_of(plain, io_faults)
    check(plain)
    step = max(calls // _SAMPLE, 1)
    for number, at in enumerate(range(1 + len(sink + kind) % step, calls + 1, step)):
        job = Job(tmp_path / f"fault-{number}", sink, world, speed=10, interval="50ms")
        code = disturbed(job, io_faults, at, kind, onward=onward)
        assert code in {0, 1, -9}, f"call {at}: {job.story}"
        job.finish()
        check(job)
