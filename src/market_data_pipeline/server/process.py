"""A runtime and its server as a process: until a signal, or as long as one pipeline runs."""

from __future__ import annotations

__all__ = ("run_served", "serve_until_stopped")

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.jobs import checked_key
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from market_data_pipeline.server.app import create_app
from market_data_pipeline.server.listening import bound_socket, serve, served_url
from market_data_pipeline.server.settings import ServerSettings

_LOOK_EVERY_S: Final = 0.1


async def serve_until_stopped(
    settings: ServerSettings,
    files: Sequence[str | Path] = (),
    *,
    runtime_settings: PipelineRuntimeSettings | None = None,
    told: Callable[[str], None] | None = None,
) -> None:
    """Serve a runtime until SIGINT or SIGTERM; then let what runs drain.

    A second signal ends at once.

    Args:
        settings: Of the server.
        files: Pipelines to start.
        runtime_settings: Of the runtime; None for those of the environment.
        told: Called with the address once it is served.

    Raises:
        ConfigError: If it cannot listen, or a pipeline cannot run; nothing runs then.
    """
    end = asyncio.Event()
    if runtime_settings is None:
        runtime_settings = PipelineRuntimeSettings.load()
    with _signals(end.set):
        async with PipelineRuntime(runtime_settings) as runtime:
            listening = bound_socket(settings)
            async with serve(create_app(runtime, settings), settings, listening):
                for file in files:
                    await runtime.start(file)
                if told is not None:
                    told(served_url(settings, listening))
                await end.wait()
                await runtime.shutdown()


async def run_served(
    dag: Dag,
    settings: ServerSettings,
    *,
    progress: Callable[[Run], None] | None = None,
    told: Callable[[str], None] | None = None,
) -> RunResult:
    """Run a graph to its end, and serve the live page meanwhile.

    The first signal stops the sources and lets what was read go through, the second ends
    at once.

    Args:
        dag: The graph.
        settings: Of the server.
        progress: Called about ten times a second with the run, for display.
        told: Called with the address once it is served.

    Raises:
        ConfigError: If it cannot listen.
        PipelineError: What made the graph fail.
        KeyboardInterrupt: If it was interrupted twice.
    """
    runtime = PipelineRuntime(PipelineRuntimeSettings.load())
    key = ""

    def stop() -> None:
        run = runtime.status(key).run if key else None
        if run is not None:
            run.stop()

    async def look() -> None:
        while True:
            run = runtime.status(key).run
            if run is not None and progress is not None:
                progress(run)
            await asyncio.sleep(_LOOK_EVERY_S)

    async with runtime:
        listening = bound_socket(settings)
        async with serve(create_app(runtime, settings), settings, listening):
            if told is not None:
                told(served_url(settings, listening))
            with _signals(stop):
                key = await runtime.start(dag, key=_key_of(dag))
                watcher = asyncio.get_running_loop().create_task(look())
                try:
                    return await runtime.wait(key)
                finally:
                    watcher.cancel()
                    await asyncio.wait([watcher])


def _key_of(dag: Dag) -> str:
    """Return the graph's name, or another one where it cannot stand in an address."""
    try:
        return checked_key(dag.name)
    except ConfigError:
        return "pipeline"


@contextmanager
def _signals(first: Callable[[], None]) -> Iterator[None]:
    """Call a function on the first signal to end, and cancel this task on the second."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = killed = False

    def on_signal() -> None:
        nonlocal asked, killed
        if not asked:
            asked = True
            first()
        elif task is not None:
            killed = True
            task.cancel()

    handled: list[tuple[signal.Signals, Any]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, on_signal)
        except (NotImplementedError, ValueError, RuntimeError):
            break  # Windows, or no main thread: signals do what they always do
        handled.append((number, before))
    try:
        yield
    except asyncio.CancelledError:
        if killed:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, before in handled:
            loop.remove_signal_handler(number)
            if before is not None:
                signal.signal(number, before)
