"""Routes that control pipelines: list, start, stop, restart, scale."""

from __future__ import annotations

__all__ = ("job_dict", "job_routes")

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from market_data_pipeline.orchestration.jobs import JobStatus, checked_key
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.redaction import redacted
from market_data_pipeline.server.requests import started, text_of
from market_data_pipeline.server.settings import ServerSettings


def job_routes(runtime: PipelineRuntime, settings: ServerSettings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/jobs", tags=["jobs"])

    @routes.get("", summary="List the pipelines")
    async def listed() -> list[dict[str, Any]]:
        return [job_dict(status) for status in runtime.list()]

    @routes.post("", status_code=201, summary="Start a pipeline")
    async def start(
        request: Request, response: Response, key: Annotated[str | None, Query()] = None
    ) -> dict[str, Any]:
        """Take a graph or a version 0.8 spec, YAML or JSON, as the body."""
        text = text_of(await request.body(), request.headers.get("content-type", ""))
        made = await started(runtime, settings, text, None if key is None else checked_key(key))
        response.headers["location"] = f"/jobs/{made}"
        return job_dict(runtime.status(made))

    @routes.get("/{key}", summary="Tell how a pipeline is")
    async def told(key: str) -> dict[str, Any]:
        return job_dict(runtime.status(checked_key(key)))

    @routes.post("/{key}/stop", summary="Stop a pipeline")
    async def stop(key: str, drain: Annotated[bool, Query()] = True) -> dict[str, Any]:  # noqa: FBT002
        """Return once it is over; with `drain` what was read goes through first."""
        await runtime.stop(checked_key(key), drain=drain)
        return job_dict(runtime.status(key))

    @routes.post("/{key}/restart", summary="Start a pipeline anew")
    async def restart(key: str) -> dict[str, Any]:
        """Stop it if it runs, and start it from what it was made from."""
        await runtime.restart(checked_key(key))
        return job_dict(runtime.status(key))

    return routes


def job_dict(status: JobStatus) -> dict[str, Any]:
    """Return a pipeline's status as plain data."""
    return {
        "key": status.key,
        "name": status.name,
        "kind": status.kind,
        "state": status.state,
        "since_ns": status.since_ns,
        "error": None if status.error is None else redacted(status.error),
    }
