"""One connection to PostgreSQL: safe to open, tried again where that can help, never leaked."""

from __future__ import annotations

__all__ = ("PostgresConnection", "connection_settings", "is_transient")

import ipaddress
import os
import random
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar, final

from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.errors import ConfigError, OutputError
from market_data_pipeline.sink.postgres_sql import load_psycopg

DATABASE_URL: Final = "DATABASE_URL"
"""The environment variable that says where the database is if the setting does not."""

_REFUSED: Final = {
    "service": "it reads another file",
    "servicefile": "it reads another file",
    "passfile": "it reads another file",
    "options": "it changes how the server runs the session",
}
_KEY_FILES: Final = ("sslkey", "sslcert")
_SECRET_FOLDERS: Final = ("/run/secrets", "/var/run/secrets", "/etc/ssl", "~/.postgresql")
_CONNECT_S: Final = 10
_DEAD_AFTER_S: Final = 30
_CANCEL_S: Final = 5.0
_BACKOFF_S: Final = 0.1
_BACKOFF_S_MAX: Final = 5.0
# Of each class of SQLSTATE: may the same transaction succeed if it is tried again?
_TRANSIENT: Final = ("08", "40", "53", "55P03", "57014", "57P01", "57P02", "57P03", "58030")

T = TypeVar("T")


def connection_settings(dsn: Secret) -> dict[str, Any]:
    """Return what to connect with, after refusing what a pipeline file may not ask for.

    Outside of this machine the server must prove who it is (`sslmode=verify-full`) unless
    the address says otherwise.

    Raises:
        ConfigError: If there is no address, it is none, or asks for what is refused. The
            message does not tell the address.
        MissingDependencyError: If psycopg is not installed.
    """
    psycopg = load_psycopg()
    text = dsn.reveal() if dsn else os.environ.get(DATABASE_URL, "")
    if not text:
        msg = (
            f"`dsn` of `postgres` is not set, and neither is the environment variable "
            f"`{DATABASE_URL}`"
        )
        raise ConfigError(msg, parameter="dsn")
    try:
        found: dict[str, Any] = dict(psycopg.conninfo.conninfo_to_dict(text))
    except psycopg.Error:
        # What was wrong is left out: the text quotes the address, password and all.
        found = {}
    if not found:
        msg = (
            "`dsn` of `postgres` is not the address of a PostgreSQL database; write "
            "`postgresql://USER@HOST:PORT/DATABASE` or `host=HOST dbname=DATABASE`"
        )
        raise ConfigError(msg, parameter="dsn")
    for name, why in _REFUSED.items():
        if name in found:
            msg = f"`dsn` of `postgres` may not have `{name}`: {why}"
            raise ConfigError(msg, parameter="dsn")
    for name in _KEY_FILES:
        _check_key_file(name, found.get(name))
    if "sslmode" not in found and not _is_local(found) and "PGSSLMODE" not in os.environ:
        found["sslmode"] = "verify-full"
        own = Path("~/.postgresql/root.crt").expanduser()
        if "sslrootcert" not in found and not own.exists():
            found["sslrootcert"] = "system"
    defaults = {
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": _DEAD_AFTER_S * 1000,
        "keepalives_idle": _DEAD_AFTER_S,
        "fallback_application_name": "market_data_pipeline",
    }
    return {**defaults, **found}


def _check_key_file(name: str, path: str | None) -> None:
    if path is None:
        return
    folders = [Path(folder).expanduser().resolve() for folder in _SECRET_FOLDERS]
    if not any(Path(path).resolve().is_relative_to(folder) for folder in folders):
        listed = ", ".join(f"`{folder}`" for folder in _SECRET_FOLDERS)
        msg = f"`{name}` in `dsn` of `postgres` must lie in one of {listed}"
        raise ConfigError(msg, parameter="dsn")


def _is_local(settings: Mapping[str, Any]) -> bool:
    hosts = settings.get("hostaddr") or settings.get("host") or os.environ.get("PGHOST", "")
    return all(_is_local_host(host) for host in str(hosts).split(","))


def _is_local_host(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_transient(err: Any) -> bool:
    """Tell whether the same may succeed if it is tried again, on a connection of its own.

    Args:
        err: A `psycopg.Error`.
    """
    if err.sqlstate is not None:
        return str(err.sqlstate).startswith(_TRANSIENT)
    # Without a state the server has said nothing: the connection broke or never was.
    psycopg = load_psycopg()
    return isinstance(err, psycopg.OperationalError | psycopg.InterfaceError)


@final
class PostgresConnection:
    """A connection that is opened when it is needed and again when it broke.

    One thread uses it. Why not a pool, nor psycopg's asynchronous half: a sink's
    transactions follow one another, so one connection is all it can use, and making rows
    into the form the server reads is work that would hold up the event loop. `interrupt`
    may come from another thread.
    """

    def __init__(
        self,
        dsn: Secret,
        *,
        place: str,
        timeout_ms: int,
        tries: int = 8,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            dsn: Where the database is.
            place: The table, for messages.
            timeout_ms: Milliseconds a statement may take.
            tries: How often a transaction is tried in all.
            wait: Waits some seconds and tells whether to stop; for tests.
        """
        self._psycopg = load_psycopg()
        self._settings = connection_settings(dsn)
        self._place = place
        self._timeout_ms = timeout_ms
        self._tries = tries
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._connection: Any = None
        self.retried = 0

    def transact(self, work: Callable[[Any], T], *, tries: int | None = None) -> T:
        """Do work in a transaction of its own; again, if it failed for the time being.

        The work is told nothing of a try before, which may even have been committed with
        the reply lost: it must look at the database.

        Args:
            work: Given the connection, inside the transaction.
            tries: How often in all; as often as the connection does by default.

        Raises:
            OutputError: If the server refuses, or still cannot do it after all tries.
        """
        tries = self._tries if tries is None else tries
        for done in range(1, tries + 1):
            try:
                connection = self._connected()
                with connection.transaction():
                    return work(connection)
            except self._psycopg.Error as err:
                self._drop()
                if self._stopping.is_set() or done == tries or not is_transient(err):
                    raise self._output_error(err, done) from err
            self.retried += 1
            # Many sinks lose one server at the same instant; they must not return as one.
            pause = min(_BACKOFF_S * 2.0 ** (done - 1), _BACKOFF_S_MAX)
            if self._wait(pause * random.uniform(0.5, 1.0)):  # noqa: S311  no secret
                msg = "was given up: the run was stopped while the database could not be reached"
                raise OutputError(msg, path=self._place)
        raise AssertionError

    def _connected(self) -> Any:
        if self._connection is None:
            connection = self._psycopg.connect(**self._settings, autocommit=True)
            try:
                for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                    connection.execute(
                        "SELECT set_config(%s, %s, false)", (name, f"{self._timeout_ms}ms")
                    )
                # A commit that the server may forget is none: the rows staged for it are
                # deleted as soon as it is known.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') = 'off'"
                )
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        connection = self._connection
        if connection is not None:
            # Whatever state it is in, a new one is in none.
            self._connection = None
            with suppress(self._psycopg.Error):
                connection.close()

    def _output_error(self, err: Any, tries: int) -> OutputError:
        diagnosis = err.diag
        text = diagnosis.message_primary or str(err).partition("\n")[0] or type(err).__name__
        parts = [f"PostgreSQL: {text}"]
        if diagnosis.column_name:
            parts.append(f"column `{diagnosis.column_name}`")
        if err.sqlstate:
            parts.append(f"SQLSTATE {err.sqlstate}")
        if tries > 1:
            parts.append(f"after {tries} tries")
        if "SSL" in text or "certificate" in text:
            parts.append("say `sslmode=` in `dsn` if the connection need not be encrypted")
        return OutputError("; ".join(parts), path=self._place)

    def interrupt(self) -> None:
        """Make the other thread's work end soon: cancel its statement, or cut it off."""
        self._stopping.set()
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            connection.cancel_safe(timeout=_CANCEL_S)
        except self._psycopg.Error:
            # The server cannot be reached: whoever waits for it would wait for minutes.
            with (
                suppress(OSError, self._psycopg.Error),
                socket.socket(fileno=os.dup(connection.fileno())) as line,
            ):
                line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._psycopg.Error):
                connection.close()
