"""What all tests share: where the recorded data is, and a database server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import postgres
from support.examples import load_profile

load_profile()


def pytest_configure() -> None:
    """Have Ctrl-C heard, which jobs in the background of a shell, and what they start, ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded market data; tests that need it are skipped without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MDP_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder} (set MDP_DATA_DIR)")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A real PostgreSQL server for the whole session; do not stop it."""
    with postgres.postgres_server() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: postgres.PostgresServer) -> postgres.Database:
    """An empty database of the test's own."""
    return postgres_server.database()
