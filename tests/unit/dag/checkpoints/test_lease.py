"""The object that says who uses checkpoints in a store elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from market_data_pipeline.dag.checkpoints.lease import LEASE_S, Lease
from market_data_pipeline.dag.checkpoints.objects import Objects
from market_data_pipeline.dag.checkpoints.processes import is_gone, this_process
from market_data_pipeline.errors import CheckpointsInUseError
from market_data_pipeline.testing import ManualClock
from support.faulty_objects import Plan, begin

_URL = "faulty://bucket/job"


@pytest.fixture
def clock() -> ManualClock:
    begin(Plan())
    return ManualClock()


def _lease(clock: ManualClock) -> Lease:
    return Lease(Objects(_URL), clock, _URL)


def _told() -> dict[str, Any]:
    data = Objects(_URL).read("LOCK")
    assert data is not None
    told: dict[str, Any] = json.loads(data)
    return told


def _elsewhere(lease_of: dict[str, Any], **other: Any) -> None:
    """Let the lease be that of a process of which nobody here can know."""
    process = {**lease_of["process"], "host": "elsewhere", "space": "another kernel", **other}
    Objects(_URL).write("LOCK", json.dumps({**lease_of, "process": process}).encode())


def test_a_lease_that_nobody_has_is_ours_at_once(clock: ManualClock) -> None:
    """It is there for others to see, and gone when it is released."""
    lease = _lease(clock)
    assert lease.claim() is None
    assert _told()["process"]["pid"] == os.getpid()
    lease.release()
    assert Objects(_URL).read("LOCK") is None


def test_one_that_is_renewed_is_not_given_up(clock: ManualClock) -> None:
    """Whoever sees it change is told who has it, and where."""
    first, second = _lease(clock), _lease(clock)
    assert first.claim() is None
    assert second.claim() is not None
    first.renew()
    with pytest.raises(CheckpointsInUseError, match=f"process {os.getpid()} on"):
        second.claim()


def test_one_that_is_not_renewed_runs_out(clock: ManualClock) -> None:
    """It is taken over once it has not changed for so long, and never before."""
    first, second = _lease(clock), _lease(clock)
    assert first.claim() is None
    _elsewhere(_told())
    assert second.claim() == f"process {os.getpid()} on `elsewhere`"
    clock.advance(LEASE_S - 0.001)
    assert second.claim() is not None
    clock.advance(0.001)
    assert second.claim() is None
    second.check()
    with pytest.raises(CheckpointsInUseError):
        first.check()


def test_whoever_lost_it_leaves_it_alone(clock: ManualClock) -> None:
    """A run that was suspended neither renews nor deletes what its successor has."""
    first, second = _lease(clock), _lease(clock)
    assert first.claim() is None
    _elsewhere(_told())
    assert second.claim() is not None
    clock.advance(LEASE_S)
    assert second.claim() is None
    ours = _told()
    with pytest.raises(CheckpointsInUseError):
        first.renew()
    with pytest.raises(CheckpointsInUseError):
        first.check_if_due()
    first.release()
    assert _told() == ours


def test_a_run_of_this_process_that_is_over_has_none(clock: ManualClock) -> None:
    """What it could not delete keeps nobody waiting."""
    first = _lease(clock)
    assert first.claim() is None
    begin(Plan(1, onward=True), is_empty=False)
    first.release()
    begin(Plan(), is_empty=False)
    assert _told()
    assert _lease(clock).claim() is None


def test_a_process_that_was_killed_here_has_none(clock: ManualClock) -> None:
    """It is known to be gone, also if another has its number by now."""
    code = (
        "import json; from dataclasses import asdict; "
        "from market_data_pipeline.dag.checkpoints.processes import this_process; "
        "print(json.dumps(asdict(this_process())))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    gone = json.loads(ended.stdout)
    assert gone["space"] == this_process().space
    for process in (gone, {**gone, "pid": os.getpid()}):
        record = {"token": "theirs", "process": process, "renewals": 3}
        Objects(_URL).write("LOCK", json.dumps(record).encode())
        lease = _lease(clock)
        assert lease.claim() is None
        lease.release()


def test_a_name_of_a_machine_tells_nothing(clock: ManualClock) -> None:
    """Two containers may have the same name and the same numbers of processes."""
    lease = _lease(clock)
    assert lease.claim() is None
    _elsewhere(_told(), host=this_process().host, pid=2**22 + 1)
    assert _lease(clock).claim() is not None
    assert not is_gone(this_process())


def test_of_two_that_come_at_once_one_has_it(clock: ManualClock) -> None:
    """The store says who created it."""
    first, second = _lease(clock), _lease(clock)
    objects = second._objects
    read, objects.read = objects.read, lambda name: None  # type: ignore[method-assign]
    assert first.claim() is None
    assert second.claim() is not None
    objects.read = read  # type: ignore[method-assign]
    first.check()


def test_one_that_is_being_taken_is_not_taken_for_one_that_is_over(clock: ManualClock) -> None:
    """Another run of this process that comes in between leaves it to who came first."""
    second, told = _lease(clock), []

    class Watched(Objects):
        def create(self, name: str, data: bytes) -> None:
            super().create(name, data)
            told.append(second.claim())

    assert Lease(Watched(_URL), clock, _URL).claim() is None
    assert told == [f"process {os.getpid()} on `{this_process().host}`"]


def test_a_lease_that_was_deleted_is_had_by_who_comes_first(clock: ManualClock) -> None:
    """Deleting it by hand lets another in, and locks the first out only then."""
    first, second = _lease(clock), _lease(clock)
    assert first.claim() is None
    Objects(_URL).delete(["LOCK"])
    first.check()
    assert second.claim() is not None
    Objects(_URL).delete(["LOCK"])
    assert second.claim() is None
    with pytest.raises(CheckpointsInUseError):
        first.check()


def test_an_error_that_hides_a_success_is_no_obstacle(clock: ManualClock) -> None:
    """A lease that was created although the store said no is ours, on any system."""
    begin(Plan(2, is_after=True))
    lease = _lease(clock)
    # There are systems where nobody can tell which process that is.
    lease._own = replace(lease._own, process=replace(lease._own.process, space=""))
    with pytest.raises(OSError, match="was to fail"):
        lease.claim()
    assert lease.claim() is None


def test_what_cannot_be_read_is_waited_for(clock: ManualClock) -> None:
    """It may be the lease of a later version; it runs out as others do."""
    Objects(_URL).write("LOCK", b"{")
    lease = _lease(clock)
    assert lease.claim() == "a run that cannot be told"
    clock.advance(LEASE_S)
    assert lease.claim() is None
