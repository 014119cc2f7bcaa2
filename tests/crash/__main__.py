"""The long lanes of the crash tests: `python -m crash kills|failpoints|calls`.

Each prints its table as Markdown; the tables of the documentation are made by it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crash.jobs import HERE, Job, check, moments
from crash.test_io_faults import calls_of, disturbed
from crash.world import World
from support import postgres

SINKS = ("parquet", "duckdb", "sqlite", "postgres")
_SMALL = {"rows": 3_000, "seconds": 30}
_TINY = {"rows": 400, "seconds": 8, "symbols": 4}


class Lane:
    """Makes jobs, each in a folder of its own that goes when the job was right."""

    def __init__(self, folder: Path, server: postgres.PostgresServer | None) -> None:
        self._folder = folder
        self._server = server
        self._numbers = itertools.count()

    @contextlib.contextmanager
    def job(self, sink: str, world: World, speed: float) -> Iterator[Job]:
        """Make a job; check it at the end."""
        number = next(self._numbers)  # in one step: lanes have several threads
        dsn = self._server.database().dsn if sink == "postgres" and self._server else ""
        job = Job(self._folder / f"{sink}-{number}", sink, world, speed=speed, dsn=dsn)
        yield job
        job.finish() if not job.story.overhead_s else None
        check(job)
        shutil.rmtree(job.folder)


def kills(lane: Lane, sink: str, count: int, workers: int) -> list[str]:
    """Kill jobs at random until there were so many kills."""
    stories: list[tuple[int, int, list[float]]] = []

    def one(seed: int) -> None:
        if sum(story[0] for story in stories) >= count:
            return
        with lane.job(sink, World.make(seed, **_SMALL), 10) as job:
            job.survive(moments(seed, 0.6, 3.0), kills=6)
        stories.append((job.story.kills, job.story.resumed, job.story.overhead_s))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(count)))
    slowest = max(second for story in stories for second in story[2])
    done = [sum(story[0] for story in stories), len(stories), sum(story[1] for story in stories)]
    return [sink, *(f"{number:,}" for number in done), f"{slowest:.1f} s"]


def failpoints(lane: Lane, sink: str, times: tuple[int, ...], workers: int) -> list[str]:
    """Kill jobs at every named place."""
    outcome: Counter[str] = Counter()

    def one(case: tuple[str, int]) -> None:
        place, at = case
        with lane.job(sink, World.make(at, **_SMALL), 10) as job:
            if place.startswith("recovery"):
                job.run(environment={"MDP_FAILPOINT": "commit.begun@2"})
            before = job.story.kills
            job.run(environment={"MDP_FAILPOINT": f"{place}@{at}"})
            outcome["killed" if job.story.kills > before else "not reached"] += 1

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, [(place, at) for place in HERE for at in times]))
    return [sink, f"{len(HERE)}", f"{outcome['killed']}", f"{outcome['not reached']}"]


def calls(lane: Lane, sink: str, library: Path, every: int, workers: int) -> list[str]:
    """Disturb jobs at every so many calls."""
    world = World.make(5, **_TINY)
    with lane.job(sink, world, 10) as job:
        count = calls_of(job, library)
    kinds = [("kill", False), ("short", False)]
    kinds += [(str(e), onward) for e in (errno.EIO, errno.ENOSPC) for onward in (False, True)]
    outcome: Counter[str] = Counter()

    def one(case: tuple[int, str, bool]) -> None:
        at, kind, onward = case
        with lane.job(sink, world, 10) as job:
            code = disturbed(job, library, at, kind, onward=onward)
            outcome[{0: "went on", 1: "failed", -9: "killed"}[code]] += 1
            job.finish()

    cases = [(at, kind, on) for at in range(1, count + 1, every) for kind, on in kinds]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, cases))
    words = ("killed", "failed", "went on")
    return [sink, f"{count}", f"{len(cases)}", *(f"{outcome[word]}" for word in words)]


def main() -> None:
    """Run a lane and print its table."""
    parser = argparse.ArgumentParser(prog="python -m crash", description=__doc__)
    parser.add_argument("lane", choices=["kills", "failpoints", "calls"])
    parser.add_argument("--sinks", default=",".join(SINKS))
    parser.add_argument("--kills", type=int, default=500, help="kills per sink")
    parser.add_argument("--every", type=int, default=1, help="try every so many calls")
    parser.add_argument("--workers", type=int, default=2)
    settings = parser.parse_args()
    headers = {
        "kills": ["sink", "kills", "jobs", "runs that went on", "slowest start and recovery"],
        "failpoints": ["sink", "places", "kills", "not reached a second or fifth time"],
        "calls": ["sink", "calls of a run", "runs with a fault", "killed", "failed", "went on"],
    }
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdp-crash-")))
        sinks = settings.sinks.split(",")
        server = stack.enter_context(postgres.postgres_server()) if "postgres" in sinks else None
        lane = Lane(folder, server)
        library = folder / "io_faults.so"
        source = Path(__file__).with_name("io_faults.c")
        if settings.lane == "calls":
            command = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
            subprocess.run(command, check=True)
        rows = []
        for sink in sinks:
            if settings.lane == "kills":
                rows.append(kills(lane, sink, settings.kills, settings.workers))
            elif settings.lane == "failpoints":
                rows.append(failpoints(lane, sink, (1, 2, 5), settings.workers))
            else:
                rows.append(calls(lane, sink, library, settings.every, settings.workers))
            sys.stderr.write(f"{sink}: done after {time.monotonic() - began:.0f} s\n")
    table = [headers[settings.lane], ["---"] * len(headers[settings.lane]), *rows]
    sys.stdout.write("".join(f"| {' | '.join(row)} |\n" for row in table))


if __name__ == "__main__":
    main()
