"""A job that is killed at any moment has every row once in the end."""

from __future__ import annotations

import signal
import time

import pytest

from crash.conftest import MakeJob
from crash.jobs import HERE, REMOTE, check, moments
from crash.world import World
from market_data_pipeline.failpoints import FAILPOINTS

SINKS = ("parquet", "duckdb", "sqlite", "postgres")
_SMALL = {"rows": 1_500, "seconds": 15}


@pytest.mark.parametrize("sink", SINKS)
def test_a_job_that_is_left_alone(make_job: MakeJob, sink: str) -> None:
    """What the oracle says, without any kill; started once more it has nothing to do."""
    job = make_job(sink, World.make(1, **_SMALL))
    job.finish()
    check(job)
    job.finish()
    check(job)


@pytest.mark.parametrize("is_remote", [False, True])
@pytest.mark.parametrize("sink", SINKS)
def test_kills_at_random_moments(make_job: MakeJob, sink: str, is_remote: bool) -> None:
    """While it starts, runs, takes checkpoints, recovers."""
    seed = SINKS.index(sink)
    job = make_job(sink, World.make(seed, **_SMALL), speed=10, is_remote=is_remote)
    job.survive(moments(seed, 0.0, 1.2), kills=4)
    assert job.story.kills
    check(job)


@pytest.mark.parametrize(
    ("place", "is_remote"),
    [*((place, False) for place in HERE), *((place, True) for place in REMOTE)],
)
def test_a_kill_at_every_named_place(make_job: MakeJob, place: str, is_remote: bool) -> None:
    """The first time it comes there; places of the recovery after a kill at a commit."""
    sink = SINKS[(list(FAILPOINTS).index(place) + is_remote) % len(SINKS)]
    # Several checkpoints come before the first is deleted, and those elsewhere take longer.
    speed = 4 if is_remote and place.startswith("prune") else 20
    job = make_job(sink, World.make(3, **_SMALL), speed=speed, is_remote=is_remote)
    if place.startswith("recovery"):
        job.run(environment={"MDP_FAILPOINT": "commit.begun@2"})
    job.run(environment={"MDP_FAILPOINT": place})
    assert job.story.kills == 1 + place.startswith("recovery"), f"nobody comes to `{place}`"
    job.finish()
    check(job)
    assert not job.story.failures


@pytest.mark.parametrize("sink", SINKS)
def test_a_kill_before_the_job_is_known(make_job: MakeJob, sink: str) -> None:
    """What the first run has made by then is in the way of nobody."""
    job = make_job(sink, World.make(5, **_SMALL))
    job.run(environment={"MDP_FAILPOINT": "recovery.committed"})
    assert job.story.kills == 1
    job.finish()
    check(job)


def test_a_second_instance_is_kept_out(make_job: MakeJob) -> None:
    """One that sleeps may wake up and write, so nobody takes its place while it lives."""
    job = make_job("duckdb", World.make(4, **_SMALL), speed=5)
    sleeper = job.start()
    try:
        deadline = time.monotonic() + 30
        while not list((job.folder / "checkpoints").glob("*/MANIFEST.json")):
            assert time.monotonic() < deadline
            time.sleep(0.05)  # noqa: TID251  another process works meanwhile
        sleeper.send_signal(signal.SIGSTOP)
        assert job.run() not in {0, -signal.SIGKILL}
        assert "another run uses these checkpoints" in job.story.failures[-1]
        sleeper.send_signal(signal.SIGCONT)
        _, err = sleeper.communicate(timeout=60)
        assert sleeper.returncode == 0, err
    finally:
        sleeper.kill()
        sleeper.communicate()
    check(job)


@pytest.mark.parametrize("sink", SINKS)
def test_a_job_that_is_told_to_stop(make_job: MakeJob, sink: str) -> None:
    """It takes a last checkpoint and leaves at once; the next run goes on from there."""
    job = make_job(sink, World.make(6, **_SMALL), speed=5)
    process = job.start()
    job.await_sign(process)
    time.sleep(0.5)  # noqa: TID251  the moment is any
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert process.returncode in {0, 130}, err
    assert time.monotonic() - began < 10
    job.finish()
    assert job.story.resumed
    check(job)
