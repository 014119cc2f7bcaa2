"""What a client may send, and how long it may take for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.live_server import TOKEN, LiveServer

HEAD = f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"


def connect(server: LiveServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def answered(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def test_large_body_is_refused_by_what_it_announces(guarded: LiveServer) -> None:
    """A body that says it is too large is not read."""
    with connect(guarded) as connection:
        connection.sendall(f"{HEAD}Content-Length: 10001\r\n\r\n".encode())
        assert answered(connection).startswith(b"HTTP/1.1 413")


def test_large_body_in_chunks_is_refused(guarded: LiveServer) -> None:
    """A body that does not say how large it is ends where the limit is."""

    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 1_000

    with guarded.client() as client:
        headers = {"content-type": "application/json"}
        assert client.post("/jobs", content=chunks(), headers=headers).status_code == 413


@pytest.mark.parametrize("length", ["9" * 400, "-1", "x"])
def test_length_that_is_none_is_refused(guarded: LiveServer, length: str) -> None:
    """A length that cannot be one is a bad request."""
    with connect(guarded) as connection:
        connection.sendall(f"{HEAD}Content-Length: {length}\r\n\r\n".encode())
        assert answered(connection)[9:12] in {b"400", b"413"}


def test_slow_head_is_cut_off(guarded: LiveServer) -> None:
    """A client that sends a head bit by bit has no more time than another."""
    began = time.monotonic()
    with connect(guarded) as connection:
        connection.settimeout(0.05)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - began < 5:
            try:
                connection.sendall(b"X-Slow: 1\r\n")
                assert connection.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
    assert time.monotonic() - began < 4


def test_silent_connection_is_cut_off(guarded: LiveServer) -> None:
    """A client that connects and says nothing is let go."""
    began = time.monotonic()
    with connect(guarded) as connection:
        assert answered(connection) == b""
    assert time.monotonic() - began < 4


def test_slow_head_after_an_answer_is_cut_off(guarded: LiveServer) -> None:
    """The second head of a connection has no more time than the first."""
    began = time.monotonic()
    with connect(guarded) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        answer = answered(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1
    assert time.monotonic() - began < 4


def test_slow_body_is_cut_off(guarded: LiveServer) -> None:
    """A body that does not come is not waited for."""
    began = time.monotonic()
    with connect(guarded) as connection:
        connection.sendall(f"{HEAD}Content-Length: 100\r\n\r\nab".encode())
        assert answered(connection).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 4


def test_huge_head_is_refused(guarded: LiveServer) -> None:
    """A head has a largest size."""
    with connect(guarded) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        except ConnectionError:
            return
        assert answered(connection)[9:12] in {b"400", b"431", b""}


def test_long_address_is_refused(guarded: LiveServer) -> None:
    """An address has a largest length."""
    with guarded.client() as client:
        assert client.get("/" + "x" * 5_000).status_code == 414


def test_connections_are_counted(guarded: LiveServer) -> None:
    """One connection too many is dropped, and there is room again once others end."""
    with ExitStack() as stack:
        held = [stack.enter_context(connect(guarded)) for _ in range(20)]
        for connection in held:
            connection.sendall(f"{HEAD}Content-Length: 3\r\n\r\n".encode())
        with connect(guarded) as extra:
            extra.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answered(extra) == b""
        assert all(answered(connection).startswith(b"HTTP/1.1 408") for connection in held)
    with guarded.client() as client:
        assert client.get("/health").status_code == 200
