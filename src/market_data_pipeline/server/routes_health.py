"""Routes for those who look after the process: is it up, is it ready, its metrics."""

from __future__ import annotations

__all__ = ("health_routes",)

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.web import APIRouter, JSONResponse, Response
from market_data_pipeline.telemetry.prometheus import exposition


def health_routes(
    runtime: PipelineRuntime, registry: Callable[[], CollectorRegistry]
) -> APIRouter:
    """Return the routes.

    Args:
        runtime: The runtime.
        registry: Returns what `/metrics` answers from.
    """
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Is it alive?", responses={503: {}})
    async def healthz() -> JSONResponse:
        live = runtime.health().live
        status = "ok" if live else "failed"
        return JSONResponse({"status": status}, 200 if live else 503)

    @routes.get("/readyz", summary="Does it take pipelines?", responses={503: {}})
    async def readyz() -> JSONResponse:
        health = runtime.health()
        told = {"status": "ready" if health.ready else "not ready", "jobs": dict(health.jobs)}
        return JSONResponse(told, 200 if health.ready else 503)

    @routes.get("/health", summary="Is it alive? As in version 0.8")
    async def health() -> dict[str, Any]:
        return {"status": "healthy", "service": "market-data-pipeline"}

    @routes.get("/metrics", summary="Figures for Prometheus", responses={503: {}})
    async def metrics() -> Response:
        if not runtime.health().ready:
            raise HttpError(503, "the runtime is not started")
        text = await asyncio.to_thread(exposition, registry())
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return routes
