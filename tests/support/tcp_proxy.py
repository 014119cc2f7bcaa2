"""A line to a server that can be cut at a chosen byte, or go silent."""

from __future__ import annotations

__all__ = ("TcpProxy",)

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65_536


class TcpProxy:
    """Forwards connections on a loopback port to a server, until it is told otherwise.

    Attributes:
        port: Where to connect to.
        connections: How many there were.
        cuts: How many were cut.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.cuts = 0
        self._cut_after: bytes | None = None
        self._act: tuple[int, Callable[[], object]] | None = None
        self._acts_left = 0
        self._silent = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut_after(self, text: bytes) -> None:
        """Cut the next connection on which a client sends this, once it is forwarded.

        The server gets the text, acts on it, and its reply is lost.
        """
        self._cut_after = text

    def after_bytes(self, count: int, act: Callable[[], object], *, times: int = 1) -> None:
        """Do something once a client has sent so many bytes; on so many connections."""
        self._act = (count, act)
        self._acts_left = times

    def fall_silent(self) -> None:
        """Forward nothing any more, and cut nothing, as a cable that is pulled out."""
        self._silent.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._target)
            self._open |= {client, server}
            thread = threading.Thread(target=self._serve, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        lost = threading.Event()
        answering = threading.Thread(target=self._answer, args=(client, server, lost))
        answering.start()
        self._forward(client, server, lost)
        answering.join()
        # Only shut down it would go on taking what the client sends.
        client.close()
        server.close()
        self._open -= {client, server}

    def _forward(
        self, client: socket.socket, server: socket.socket, lost: threading.Event
    ) -> None:
        sent = 0
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                if self._silent.is_set():
                    continue
                sent += len(data)
                if self._act is not None and self._acts_left and sent >= self._act[0]:
                    self._acts_left -= 1
                    sent = 0
                    self._act[1]()
                if self._cut_after is not None and self._cut_after in data:
                    self._cut_after = None
                    lost.set()
                server.sendall(data)
        self._shut(server)
        self._shut(client)

    def _answer(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_CHUNK):
                if self._silent.is_set():
                    continue
                if lost.is_set():
                    # The server has answered, so it has done what it was told.
                    self.cuts += 1
                    self._shut(server)
                    break
                client.sendall(data)
        self._shut(client)
        self._shut(server)

    @staticmethod
    def _shut(line: socket.socket) -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shut(self._listener)
        self._listener.close()
        self._accepting.join(5)
        for line in list(self._open):
            self._shut(line)
        for thread in self._threads:
            thread.join(5)
