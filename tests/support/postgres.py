"""A real PostgreSQL server in a temporary folder, on a socket there and a loopback port.

The server is the session's (`postgres_server` in `conftest.py`); a test that wants an
empty database of its own takes `postgres_database`. A test that stops the server starts
one for itself: `with postgres_server() as server`.
"""

from __future__ import annotations

__all__ = ("Database", "PostgresServer", "postgres_programs", "postgres_server")

import itertools
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from support.services import require

_STOP_S: Final = 30
_DELETE_S: Final = 180  # many databases, on a disk that others use too
_SUPERUSER: Final = "keeper"
_PLAIN: Final = "loader"
# Whoever started it may be killed: the end of its input tells the guardian.
_GUARDIAN: Final = """
cat > /dev/null
"$1/pg_ctl" stop -D "$2/data" -m immediate -t 20 > /dev/null 2>&1
rm -rf "$2"
"""
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "40",
    "log_min_messages": "warning",
}
_databases = itertools.count(1)


def postgres_programs() -> Path | None:
    """Return the folder of the server's programs, the newest there is; None without any."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3])
    )
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@dataclass(frozen=True)
class Database:
    """One database of a server, and how to connect to it.

    Attributes:
        name: Its name.
        dsn: As a role that may create tables and nothing else, over TCP, with a password.
        superuser_dsn: As superuser, over the socket.
        password: The password in `dsn`, for tests that look for it where it must not be.
    """

    name: str
    dsn: str
    superuser_dsn: str
    password: str

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run SQL as superuser in a transaction of its own; return what it gives."""
        import psycopg

        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


class PostgresServer:
    """A server that runs.

    Attributes:
        host: Folder of its socket.
        port: Its port, also on 127.0.0.1.
    """

    def __init__(self, folder: Path, programs: Path, settings: Mapping[str, str]) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._user = _user()
        if self._user is not None:
            shutil.chown(folder, self._user, pwd.getpwnam(self._user).pw_gid)
        self.host = str(folder)
        self.port = _free_port()
        self.password = secrets.token_hex(8)
        self._guardian = self._guard()
        try:
            self._initialise({**_SETTINGS, **settings})
            self.start()
            self._make_role()
        except BaseException:
            self.close()
            raise

    def _process(self, *command: str, timeout_s: float = 60) -> None:
        done = subprocess.run(
            command,
            cwd=self._folder,
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            # Not a pipe: the server would hold it open, and whoever reads it would wait.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            log = self._folder / "log"
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            msg = f"{Path(command[0]).name} ended with {done.returncode}: {said}"
            raise RuntimeError(msg)

    def _guard(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", str(self._programs), str(self._folder)],
            cwd="/",
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # or an interrupt at the terminal would end it first
        )

    def _initialise(self, settings: Mapping[str, str]) -> None:
        self._process(
            str(self._programs / "initdb"),
            *("-D", str(self._data), "-U", _SUPERUSER, "--no-sync"),
            *("-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"),
        )
        lines = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": self.host,
            **settings,
        }
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        (self._data / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )

    def _make_role(self) -> None:
        import psycopg
        from psycopg import sql

        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(_PLAIN), sql.Literal(self.password)
                )
            )

    def _dsn(self, database: str) -> str:
        return f"host={self.host} port={self.port} user={_SUPERUSER} dbname={database}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        log = str(self._folder / "log")
        self._process(
            str(self._programs / "pg_ctl"),
            *("start", "-w", "-t", "30", "-D", str(self._data), "-l", log),
        )

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server: `fast` ends sessions first, `immediate` is a crash."""
        self._process(
            str(self._programs / "pg_ctl"),
            *("stop", "-w", "-t", str(_STOP_S), "-D", str(self._data), "-m", mode),
        )

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server and start it again, on the same port."""
        self.stop(mode)
        self.start()

    def database(self) -> Database:
        """Make an empty database, owned by the plain role."""
        import psycopg
        from psycopg import sql

        name = f"test_{next(_databases)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(_PLAIN)
                )
            )
        dsn = f"postgresql://{_PLAIN}:{self.password}@127.0.0.1:{self.port}/{name}"
        return Database(name, dsn, self._dsn(name), self.password)

    def close(self) -> None:
        """Stop the server, whatever state it is in, and delete its folder."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()
        self._guardian.wait(_DELETE_S)


def _user() -> str | None:
    """Return the user to run as; the server refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def postgres_server(settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Start a server and stop it at the end, also if this process is killed.

    Args:
        settings: Lines for `postgresql.conf`; by default nothing is waited for to be on
            the disk, which survives a crash of the server, not of the machine.
    """
    programs = postgres_programs()
    require(programs is not None, "PostgreSQL is not installed (Debian: `postgresql`)")
    assert programs is not None
    try:
        import psycopg  # noqa: F401
    except ImportError:
        require(condition=False, reason="psycopg is not installed (the extra `postgres`)")
    # The path of a socket may have 107 bytes, and pytest's own folders are long.
    folder = Path(tempfile.mkdtemp(prefix="mdp-pg-"))
    server = PostgresServer(folder, programs, settings or {})
    try:
        yield server
    finally:
        server.close()
