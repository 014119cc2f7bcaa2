"""A job that is killed again and again, and what became of it."""

from __future__ import annotations

__all__ = ("HERE", "REMOTE", "Job", "Story", "check", "moments")

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crash.oracle import Expected, expected
from crash.pipelines import found_rows, pipeline_text, read_outputs
from crash.world import World
from market_data_pipeline.failpoints import FAILPOINTS

_RUN_LIMIT_S = 120.0

HERE = [place for place in FAILPOINTS if not place.startswith("remote.")]
"""The places that a run comes to whose checkpoints are in a folder."""

REMOTE = [place for place in FAILPOINTS if not place.startswith("manifest.")]
"""Those of one whose checkpoints are behind an address."""


@dataclass
class Story:
    """What happened to a job until it was done.

    Attributes:
        kills: How often it was killed.
        failures: What it said when it failed of itself.
        resumed: How often it went on from a checkpoint.
        overhead_s: For each run that came to its end, the seconds that it spent starting,
            recovering and leaving.
    """

    kills: int = 0
    failures: list[str] = field(default_factory=list)
    resumed: int = 0
    overhead_s: list[float] = field(default_factory=list)


class Job:
    """A pipeline over a world in a folder of its own.

    Args:
        folder: An empty folder.
        sink: The sink under test.
        world: What arrives.
        speed: Seconds of event time in a second.
        interval: Time between two checkpoints.
        dsn: For a database server, where it is.
        is_remote: Keep checkpoints behind an address. What a run has on its own disk is then
            lost with it.

    Attributes:
        module: What is run as `mdp`.
    """

    module = "market_data_pipeline"

    def __init__(
        self,
        folder: Path,
        sink: str,
        world: World,
        *,
        speed: float | str = "max",
        interval: str = "100ms",
        dsn: str = "",
        is_remote: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        world.write(folder)
        path = f"file://{folder}/checkpoints" if is_remote else "checkpoints"
        (folder / "pipeline.yaml").write_text(
            pipeline_text(sink, speed=speed, interval=interval, checkpoints=path)
        )
        self.folder = folder
        self.is_remote = is_remote
        self.sink = sink
        self.dsn = dsn
        self.expected: Expected = expected(world)
        self.story = Story()

    def start(
        self, environment: Mapping[str, str] | None = None, arguments: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start a run."""
        command = [sys.executable, "-m", self.module, "run", "pipeline.yaml", "--json"]
        own = self._own_disk()
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env={**os.environ, "DATABASE_URL": self.dsn, **own, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _own_disk(self) -> dict[str, str]:
        """Return where a run keeps what is its own; empty if it is on the disk of the job."""
        if not self.is_remote:
            return {}
        disk = self.folder / "disk"
        shutil.rmtree(disk, ignore_errors=True)
        disk.mkdir()
        return {"TMPDIR": str(disk)}

    def run(
        self,
        *,
        kill_after_s: float | None = None,
        after_sign: bool = False,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> int:
        """Run until it ends, or until it is killed; return the code it ended with.

        A run that is killed ends with -9.

        Args:
            kill_after_s: When to kill it, seconds after its start; None to leave it alone.
            after_sign: Count from the first thing it writes about its checkpoints instead.
            environment: Variables besides those of this process.
            arguments: Further arguments of `mdp run`.
        """
        began = time.monotonic()
        process = self.start(environment, arguments)
        if kill_after_s is not None and after_sign:
            self.await_sign(process)
        try:
            out, err = process.communicate(timeout=kill_after_s or _RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            if kill_after_s is None:
                msg = f"the run hangs, {_RUN_LIMIT_S} s without an end: {err}"
                raise AssertionError(msg) from None
        code = process.returncode
        self.story.resumed += "resuming" in err
        if code == 0:
            seconds = json.loads(out.splitlines()[-1]).get("seconds", 0.0)
            self.story.overhead_s.append(time.monotonic() - began - seconds)
        elif code == -signal.SIGKILL:
            self.story.kills += 1
        else:
            self.story.failures.append(err[-2000:])
        return code

    def await_sign(self, process: subprocess.Popen[str]) -> None:
        """Return once a run writes about its checkpoints, or has ended."""
        folder, before = self.folder / "checkpoints", self._newest()
        deadline = time.monotonic() + _RUN_LIMIT_S
        while process.poll() is None and (not folder.exists() or self._newest() == before):
            assert time.monotonic() < deadline, "the run does not begin"
            time.sleep(0.01)  # noqa: TID251  another process works meanwhile

    def _newest(self) -> set[str]:
        return {path.name for path in (self.folder / "checkpoints").glob("*")}

    def finish(self) -> None:
        """Run it to its end, undisturbed."""
        code = self.run()
        assert code == 0, f"it cannot go on: {self.story.failures[-1]}"

    def survive(self, times_s: Iterator[float], *, kills: int) -> None:
        """Kill it so many times, at most once in a run, until it is done all the same."""
        for place in itertools.count():
            if self.story.kills >= kills:
                break
            # Every fourth is to hit it while it starts or recovers.
            code = self.run(kill_after_s=next(times_s), after_sign=place % 4 != 3)
            assert code in {0, -signal.SIGKILL}, self.story.failures[-1]
            if code == 0:
                return
        self.finish()

    def differences(self) -> dict[str, tuple[Counter[object], Counter[object]]]:
        """Return, by output, the rows that should not be there, and those that should be."""
        found = found_rows(read_outputs(self.sink, self.folder, self.dsn))
        # A file keeps every revision of a bar, a table with a key the last one.
        found.pop("bars" if self.sink == "parquet" else "revisions")
        wrong = {}
        for name, rows in found.items():
            wanted = getattr(self.expected, name)
            if rows != wanted:
                wrong[name] = (Counter(rows - wanted), Counter(wanted - rows))
        return wrong


def check(job: Job) -> None:
    """Make sure that each output has every row once.

    Raises:
        AssertionError: If not; it names some of the rows.
    """
    told = [
        f"{name}: {sum(extra.values())} rows too many, as {list(extra.items())[:2]}; "
        f"{sum(missing.values())} missing, as {list(missing.items())[:2]}"
        for name, (extra, missing) in job.differences().items()
    ]
    assert not told, "\n".join([f"in {job.folder} ({job.sink})", *told, str(job.story)])


def moments(seed: int, low_s: float, high_s: float) -> Iterator[float]:
    """Give moments at random, seconds after the start of a run."""
    rng = random.Random(seed)
    while True:
        yield rng.uniform(low_s, high_s)
