"""The HTTP application: its routes behind its guards."""

from __future__ import annotations

__all__ = ("create_app",)

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.telemetry.prometheus import observe

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(
    runtime: PipelineRuntime,
    settings: ServerSettings | None = None,
    *,
    clock: Clock | None = None,
    owns_runtime: bool = False,
) -> FastAPI:
    """Return the application that shows and controls what a runtime runs.

    Unless `owns_runtime`, the runtime is left as it is: whoever made it starts it and shuts
    it down.

    Args:
        runtime: The runtime.
        settings: Who is let in, and how much is taken; None for this machine only.
        clock: Time outside the data; the machine's by default.
        owns_runtime: Start the runtime with the application, and shut it down with it.

    Raises:
        MissingDependencyError: If FastAPI is not installed.
    """
    from market_data_pipeline.server.failures import add_failures
    from market_data_pipeline.server.figures import Observer
    from market_data_pipeline.server.guard import Guard
    from market_data_pipeline.server.limits import Limits
    from market_data_pipeline.server.live import LiveFeed
    from market_data_pipeline.server.routes_health import health_routes
    from market_data_pipeline.server.routes_jobs import job_routes
    from market_data_pipeline.server.routes_live import live_routes
    from market_data_pipeline.server.routes_pipelines import pipeline_routes
    from market_data_pipeline.server.web import FastAPI

    settings = settings or ServerSettings()
    clock = clock or SystemClock()
    version = _version()
    live = LiveFeed(Observer(runtime, version, clock), settings.every_s, clock)

    registry = REGISTRY

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal registry
        async with contextlib.AsyncExitStack() as stack:
            if owns_runtime:
                await stack.enter_async_context(runtime)
            registry = stack.enter_context(_observed(runtime, clock))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(live.run())
                try:
                    yield
                finally:
                    live.close()
                    task.cancel()

    app = FastAPI(
        title="market_data_pipeline",
        version=version,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.live = live
    app.include_router(live_routes(runtime, settings, live, version))
    app.include_router(health_routes(runtime, lambda: registry))
    app.include_router(job_routes(runtime, settings))
    app.include_router(pipeline_routes(runtime, settings))
    add_failures(app)
    app.add_middleware(Limits, settings=settings)
    app.add_middleware(Guard, settings=settings)
    return app


@contextlib.contextmanager
def _observed(runtime: PipelineRuntime, clock: Clock) -> Iterator[CollectorRegistry]:
    """Have the pipelines exposed; give the registry that exposes them.

    It is the process's own, with all that others have there, unless another runtime is
    exposed by it already.
    """
    with contextlib.ExitStack() as stack:
        registry = REGISTRY
        try:
            stack.enter_context(observe(runtime, clock=clock))
        except ConfigError:
            registry = CollectorRegistry()
            stack.enter_context(observe(runtime, registry=registry, clock=clock))
        yield registry


def _version() -> str:
    try:
        return version_of("market-data-pipeline")
    except PackageNotFoundError:
        return "unknown"
