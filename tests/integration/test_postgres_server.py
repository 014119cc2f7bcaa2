"""The server that other tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.postgres import Database, PostgresServer, postgres_programs, postgres_server
from support.services import require

psycopg = pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with postgres_server() as server:
        yield server


def test_database_is_empty_and_the_role_is_a_plain_one(postgres_database: Database) -> None:
    """The plain role may make tables in its own database and is no superuser."""
    with psycopg.connect(postgres_database.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE made (x int)")
        found = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert found.fetchone() == (False,)
    assert postgres_database.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'made'") == [
        ("loader",)
    ]


def test_crash_of_the_server_keeps_what_was_committed(own_server: PostgresServer) -> None:
    """An immediate stop is a crash: connections break, committed rows stay."""
    database = own_server.database()
    database.rows("CREATE TABLE made AS SELECT 42 AS answer")
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        own_server.restart("immediate")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert database.rows("SELECT answer FROM made") == [(42,)]


def test_server_goes_when_its_process_is_killed(tmp_path: Path) -> None:
    """A killed test run leaves no server and no folder behind."""
    require(postgres_programs() is not None, "PostgreSQL is not installed")
    code = textwrap.dedent("""
        import sys
        from support.postgres import postgres_server
        with postgres_server() as server:
            print(server.host, flush=True)
            sys.stdin.read()
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().decode().strip())
    assert (folder / "data" / "postmaster.pid").exists()
    pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for _ in range(100):
        if not folder.exists():
            break
        subprocess.run(["sleep", "0.1"], check=True)  # noqa: S607
    assert not folder.exists()
    # A process that ended and that nobody has waited for is there without a command.
    command = Path(f"/proc/{pid}/cmdline")
    assert not command.exists() or not command.read_bytes()
