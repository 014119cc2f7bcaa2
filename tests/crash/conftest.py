"""What the crash tests share: where a sink's output goes, and the compiled faults."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.jobs import Job
from crash.world import World
from support import postgres
from support.services import require

MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(tmp_path: Path, request: pytest.FixtureRequest) -> MakeJob:
    """Make a job over a world, in a folder or a database of its own."""

    def make(
        sink: str,
        world: World,
        *,
        speed: float | str = "max",
        interval: str = "50ms",
        is_remote: bool = False,
    ) -> Job:
        dsn = ""
        if sink == "postgres":
            require(postgres.postgres_programs(), "PostgreSQL is not installed")
            server: postgres.PostgresServer = request.getfixturevalue("postgres_server")
            dsn = server.database().dsn
        return Job(
            tmp_path / "job",
            sink,
            world,
            speed=speed,
            interval=interval,
            dsn=dsn,
            is_remote=is_remote,
        )

    return make


@pytest.fixture(scope="session")
def io_faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that fails or kills at a given call, compiled here."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    require(compiler, "there is no C compiler for the library of faults")
    library = tmp_path_factory.mktemp("faults") / "io_faults.so"
    source = Path(__file__).with_name("io_faults.c")
    command = [str(compiler), "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library
