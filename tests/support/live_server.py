"""A real server on a loopback port, in a thread of its own, ended in any case."""

from __future__ import annotations

__all__ = ("TOKEN", "LiveServer", "live_server")

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from market_data_pipeline.server.app import create_app
from market_data_pipeline.server.listening import bound_socket, serve, served_url
from market_data_pipeline.server.settings import ServerSettings

T = TypeVar("T")

TOKEN = "a-token-of-the-tests"  # noqa: S105 - it opens nothing

_PATIENCE_S = 30.0


@dataclass(frozen=True)
class LiveServer:
    """A server that runs.

    Attributes:
        url: Where.
        runtime: What it shows; to be used through `call`.
        settings: Its settings.
    """

    url: str
    runtime: PipelineRuntime
    settings: ServerSettings
    loop: asyncio.AbstractEventLoop

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def call(self, work: Callable[[PipelineRuntime], Coroutine[Any, Any, T]]) -> T:
        """Do something with the runtime, in its loop."""
        future = asyncio.run_coroutine_threadsafe(work(self.runtime), self.loop)
        return future.result(_PATIENCE_S)

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that brings the token, if there is one."""
        headers = dict(options.pop("headers", {}))
        if self.settings.token is not None:
            headers.setdefault("authorization", f"Bearer {self.settings.token}")
        return httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE_S, **options)


@contextmanager
def live_server(
    settings: ServerSettings | None = None,
    *,
    runtime_settings: PipelineRuntimeSettings | None = None,
) -> Iterator[LiveServer]:
    """Run a server with a runtime of its own while the block runs."""
    settings = settings or ServerSettings(port=0)
    ready: Future[LiveServer] = Future()
    ending: Future[asyncio.Event] = Future()

    async def main() -> None:
        end = asyncio.Event()
        async with PipelineRuntime(runtime_settings) as runtime:
            listening = bound_socket(settings)
            async with serve(create_app(runtime, settings), settings, listening):
                url = served_url(settings, listening)
                ending.set_result(end)
                loop = asyncio.get_running_loop()
                ready.set_result(LiveServer(url, runtime, settings, loop))
                await end.wait()
            for status in runtime.list():
                await runtime.stop(status.key, drain=False)

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as err:
            if ready.done():
                raise
            ready.set_exception(err)

    thread = threading.Thread(target=work, name="live server")
    thread.start()
    try:
        server = ready.result(_PATIENCE_S)
        try:
            yield server
        finally:
            server.loop.call_soon_threadsafe(ending.result().set)
    finally:
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), "the server did not end"
