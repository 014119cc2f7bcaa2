"""A deliberate bug is found: by the kills, or by the power cuts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

import market_data_pipeline
from crash import defects
from crash.jobs import Job, check
from crash.world import World
from market_data_pipeline import folders, segment_log
from market_data_pipeline.dag.checkpoints import files, store
from market_data_pipeline.errors import PipelineError
from market_data_pipeline.sink import publish
from property import test_power_loss as power
from property import test_restarts as restarts
from unit.dag.checkpoints import test_restored as restored

_SMALL: Final = {"rows": 1_500, "seconds": 15}
_TESTS: Final = Path(__file__).parents[1]
_SOURCE: Final = Path(market_data_pipeline.__file__).parents[1]


class DefectiveJob(Job):
    """A job whose runs have a bug."""

    module = defects.MODULE
    defect = ""

    def start(
        self, environment: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        paths = os.pathsep.join([str(_TESTS), str(_SOURCE)])
        bug = {defects.ENVIRONMENT_VARIABLE: self.defect, "PYTHONPATH": paths}
        return super().start({**bug, **(environment or {})}, arguments)


def _graphs(folder: Path) -> None:
    for seed in range(restarts.GRAPHS):
        own = folder / str(seed)
        own.mkdir()
        restarts.test_graphs_that_die_give_what_others_give(seed, own)


_RESTARTS: Final[Mapping[str, Callable[[Path], None]]] = {
    "watermark_not_restored": (
        restored.test_an_input_that_is_silent_after_a_restart_holds_nothing_up
    ),
    "keys_not_saved": restored.test_a_second_copy_is_one_after_a_restart_too,
    "position_of_the_checkpoint_before": _graphs,
}
_LATER: Final = ("commit.begun@14",)
_KILLS: Final[Mapping[str, tuple[str, ...]]] = {
    "acknowledged_before_durable": ("manifest.written@3",),
    # Whose commit it is depends on who is faster, and one with a key forgives a second one.
    "ledger_not_checked": tuple(f"commit.done@{count}" for count in (14, 3, 4, 5)),
    "aborted_rows_lost": ("outbox.listed@3=error",),
    "staged_deleted_before_commit": (),
    "two_runs_at_once": (),
}
"""Where a job must die for a bug to show; most show after any commit that did not happen."""


def hurt(job: Job, places: tuple[str, ...]) -> None:
    """Kill a job where it hurts."""
    for place in places:
        code = job.run(environment={"MDP_FAILPOINT": place})
        if not place.endswith("=error"):
            assert code <= 0, f"it cannot go on: {job.story.failures[-1]}"
    kills = sum(not place.endswith("=error") for place in places)
    assert job.story.kills == kills, f"it did not come to {places}: {job.story}"


def end(job: Job) -> None:
    """Let a job end, and compare."""
    job.finish()
    check(job)


def meet(job: Job) -> None:
    """Start a job twice; the second run must be kept out by the first."""
    runs = [job.start(), job.start()]
    told = [run.communicate(timeout=60)[1] for run in runs]
    assert any("another run uses these checkpoints" in text for text in told), "both have run"


def find(job: DefectiveJob) -> None:
    """Let a job with a bug show it."""
    hurt(job, _KILLS.get(job.defect, _LATER))
    meet(job) if job.defect == "two_runs_at_once" else end(job)


def make(kind: type[Job], folder: Path) -> Any:
    return kind(folder, "duckdb", World.make(3, **_SMALL), speed=6, interval="50ms")


@pytest.mark.parametrize("places", sorted({_LATER, *_KILLS.values()}))
def test_a_job_without_a_bug_survives_the_same(places: tuple[str, ...], tmp_path: Path) -> None:
    """What finds the bugs finds nothing where there is none."""
    job = make(Job, tmp_path / "job")
    hurt(job, places)
    end(job)


def test_a_job_without_a_bug_keeps_a_second_run_out(tmp_path: Path) -> None:
    """As the one with the bug does not."""
    job = make(Job, tmp_path / "job")
    meet(job)
    end(job)


@pytest.mark.parametrize("defect", [name for name in defects.DEFECTS if name not in _RESTARTS])
def test_kills_find_it(defect: str, tmp_path: Path) -> None:
    """A run fails or is refused, or rows differ from those of the oracle."""
    job = make(DefectiveJob, tmp_path / "job")
    job.defect = defect
    with pytest.raises(AssertionError, match=r"it cannot go on|rows too many|both have run"):
        find(job)


@pytest.mark.parametrize("defect", _RESTARTS)
def test_restarts_find_it(defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kills meet by chance only, since files are never silent and keys forgive much."""
    monkeypatch.setattr(defects, "setattr", monkeypatch.setattr, raising=False)
    defects.DEFECTS[defect]()
    with pytest.raises((AssertionError, PipelineError, ExceptionGroup)):
        _RESTARTS[defect](tmp_path)


class _Hasty:
    """`os` as a module sees it that forgets to flush."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        """Do nothing."""


def _nothing(*_: Any) -> None:
    pass


Patch = Callable[[pytest.MonkeyPatch], None]

_POWER: Final[Mapping[str, tuple[Any, Patch]]] = {
    "state and manifest renamed before they are flushed": (
        power.test_the_last_checkpoint_is_there_or_the_next,
        lambda patch: patch.setattr(files, "os", _Hasty()),
    ),
    "folder of a manifest not flushed": (
        power.test_the_last_checkpoint_is_there_or_the_next,
        lambda patch: patch.setattr(files, "sync_folder", _nothing),
    ),
    "names in an epoch not flushed": (
        power.test_the_last_checkpoint_is_there_or_the_next,
        lambda patch: patch.setattr(store, "sync_folder", _nothing),
    ),
    "folder of checkpoints not flushed when it is made": (
        power.test_the_last_checkpoint_is_there_or_the_next,
        lambda patch: patch.setattr(folders, "sync_folder", _nothing),
    ),
    "records acknowledged before they are flushed": (
        power.test_a_log_keeps_what_it_accepted,
        lambda patch: patch.setattr(segment_log, "os", _Hasty()),
    ),
    "names of segments not flushed": (
        power.test_a_log_keeps_what_it_accepted,
        lambda patch: patch.setattr(segment_log, "sync_folder", _nothing),
    ),
    "torn tail accepted": (
        power.test_a_log_keeps_what_it_accepted,
        lambda patch: patch.setattr(segment_log, "_checksum", lambda *_: 0),
    ),
    "file named before it is flushed": (
        power.test_a_file_is_the_one_before_or_the_next,
        lambda patch: patch.setattr(publish.Draft, "complete_file", _nothing),
    ),
    "folder named before its files are flushed": (
        power.test_a_folder_is_there_whole_or_not_at_all,
        lambda patch: patch.setattr(publish.Draft, "complete_folder", _nothing),
    ),
}


@pytest.mark.parametrize("defect", _POWER)
def test_power_cuts_find_it(defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the seeds that every run of the tests tries."""
    prove, put_in = _POWER[defect]
    put_in(monkeypatch)
    with pytest.raises((AssertionError, PipelineError, pa.ArrowException)):
        cut_power(prove, tmp_path)


def cut_power(prove: Callable[[int, Path], None], folder: Path) -> None:
    for seed in power.SEEDS:
        own = folder / str(seed)
        own.mkdir()
        prove(seed, own)
