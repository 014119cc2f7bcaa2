"""A small HTTP server for metrics, in a thread of its own, for a process that only runs."""

from __future__ import annotations

__all__ = ("is_loopback", "serve_metrics")

import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any, Final, TypeAlias
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.telemetry.prometheus import exposition

_TOKEN_LEAST: Final = 16
_TIMEOUT_S: Final = 10
_TEXT: Final = "text/plain; charset=utf-8"

_Start: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@contextmanager
def serve_metrics(
    port: int,
    host: str = "127.0.0.1",
    *,
    token: str | None = None,
    registry: CollectorRegistry = REGISTRY,
) -> Iterator[int]:
    """Serve `/metrics` and `/healthz` while the context lasts; give the port.

    Args:
        port: Where to listen; 0 for a free one.
        host: On which address; only this machine can reach the default.
        token: What a client must bring for `/metrics` as `Authorization: Bearer`. Needed
            where others can reach the address; at least 16 characters.
        registry: What to serve.

    Raises:
        ConfigError: If the address cannot be had, or needs a token.
    """
    _check_token(host, token)
    try:
        server = make_server(
            host.strip("[]"),
            port,
            _application(registry, token, is_local=is_loopback(host)),
            _Server6 if ":" in host else _Server,
            _Handler,
        )
    except (OSError, OverflowError) as err:
        reason = err.strerror if isinstance(err, OSError) else None
        msg = f"cannot serve metrics on {host}:{port}: {reason or err}"
        raise ConfigError(msg) from err
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="mdp-metrics")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _check_token(host: str, token: str | None) -> None:
    if token is None and not is_loopback(host):
        msg = (
            f"metrics on `{host}` could be read by others; give a token in the environment "
            "variable MDP_METRICS_TOKEN, or listen on 127.0.0.1"
        )
        raise ConfigError(msg)
    if token is not None and (len(token) < _TOKEN_LEAST or not token.isascii()):
        msg = f"the token for metrics must be at least {_TOKEN_LEAST} ASCII characters"
        raise ConfigError(msg)


def _application(
    registry: CollectorRegistry, token: str | None, *, is_local: bool
) -> Callable[[Mapping[str, str], _Start], Iterable[bytes]]:
    wanted = None if token is None else f"Bearer {token}"

    def answer(environ: Mapping[str, str]) -> tuple[str, str, bytes]:
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return "405 Method Not Allowed", _TEXT, b"only GET\n"
        if is_local and not _is_local_name(environ.get("HTTP_HOST", "")):
            # A page of another site that has its name point here, to read over a browser.
            return "403 Forbidden", _TEXT, b"unknown host name\n"
        path = environ.get("PATH_INFO")
        if path == "/healthz":
            return "200 OK", _TEXT, b"ok\n"
        if path != "/metrics":
            return "404 Not Found", _TEXT, b"there is /metrics and /healthz\n"
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
        if wanted is not None and not hmac.compare_digest(given, wanted.encode()):
            return "401 Unauthorized", _TEXT, b"needs the token\n"
        return "200 OK", CONTENT_TYPE_LATEST, exposition(registry)

    def application(environ: Mapping[str, str], start: _Start) -> Iterable[bytes]:
        status, kind, body = answer(environ)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        if status.startswith("401"):
            headers.append(("WWW-Authenticate", "Bearer"))
        start(status, headers)
        return [body] if environ.get("REQUEST_METHOD") != "HEAD" else []

    return application


def _is_local_name(header: str) -> bool:
    name, colon, port = header.rpartition(":")
    host = name if colon and port.isdigit() else header
    return is_loopback(host)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base names it so
        """Say nothing: a scrape every few seconds is no news."""
