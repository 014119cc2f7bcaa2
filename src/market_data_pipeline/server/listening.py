"""The server on its socket: bounded connections, and heads that come in time."""

from __future__ import annotations

__all__ = ("bound_socket", "serve", "served_url")

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

from market_data_pipeline.errors import ConfigError, MissingDependencyError
from market_data_pipeline.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_BYTES: Final = 16_384
_KEEP_ALIVE_S: Final = 5
_LEAVE_S: Final = 2


def bound_socket(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        ConfigError: If it cannot.
    """
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, settings.port))
    except OSError as err:
        listening.close()
        msg = f"cannot listen on `{settings.host}` port {settings.port}: {err.strerror or err}"
        raise ConfigError(msg, parameter="port") from err
    listening.setblocking(False)
    return listening


def served_url(settings: ServerSettings, listening: socket.socket) -> str:
    """Return the address to open in a browser."""
    address: tuple[str, int] = listening.getsockname()[:2]
    host, port = address
    scheme = "http" if settings.tls_cert is None else "https"
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"


@contextlib.asynccontextmanager
async def serve(
    app: FastAPI, settings: ServerSettings, listening: socket.socket
) -> AsyncIterator[None]:
    """Serve an application while the body runs; it takes no signals.

    Args:
        app: The application, of `create_app`.
        settings: The same settings.
        listening: Of `bound_socket`; closed at the end.

    Raises:
        MissingDependencyError: If uvicorn is not installed.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as err:
        if err.name != "uvicorn":
            raise
        raise MissingDependencyError(package="uvicorn", extra="server") from err

    class _Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    server = _Server(
        uvicorn.Config(
            app,
            http=_protocol(settings),
            ws="none",
            loop="none",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LEAVE_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
    )
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[listening]))
        while not server.started and not task.done():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        if not server.started:
            failure = ConfigError("the server could not start; its log says why")
        else:
            try:
                yield
            except (Exception, asyncio.CancelledError) as err:  # noqa: BLE001 - raised below
                # Taken out of the group, which would cut off the answers under way.
                failure = err
        app.state.live.close()
        server.should_exit = True
    if failure is not None:
        raise failure


def _protocol(settings: ServerSettings) -> type[H11Protocol]:
    """Return uvicorn's protocol with the bounds that it does not have."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class _Bounded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                transport.abort()
                return
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(settings.send_timeout_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_waiting()

        def _stop_waiting(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

        def _watch(self) -> None:
            # The clock runs from the first byte of a connection, or from the end of the
            # answer before, to the end of the head; more bytes of a head do not reset it.
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_watching()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(
                    settings.header_timeout_s, self.transport.abort
                )

        def _stop_watching(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return _Bounded
