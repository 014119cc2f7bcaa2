"""The routes of version 0.8, on the one runtime."""

from __future__ import annotations

__all__ = ("pipeline_routes",)

import asyncio
import contextlib
from typing import Annotated, Any

from market_data_pipeline.errors import JobError
from market_data_pipeline.orchestration.jobs import checked_key
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.requests import PipelineBody, started, text_of
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.server.web import APIRouter, Query, Request
from market_data_pipeline.spec.yaml_text import parse_yaml

_WAIT_MAX_S = 3_600.0


def pipeline_routes(runtime: PipelineRuntime, settings: ServerSettings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/pipelines", tags=["version 0.8"])

    async def made(spec: dict[str, Any]) -> str:
        _check_ready(runtime)
        for name in ("tenant_id", "pipeline_id"):
            if ":" in checked_key(spec.get(name), of=name):
                raise HttpError(400, f"`{name}` must hold no colon")
        try:
            return await started(runtime, settings, spec)
        except JobError as err:
            raise HttpError(400, str(err)) from err

    @routes.get("", summary="List the keys of the pipelines that run")
    async def listed() -> list[str]:
        _check_ready(runtime)
        return await runtime.list_pipelines()

    @routes.post("", summary="Start a pipeline")
    async def create(body: PipelineBody) -> dict[str, str]:
        key = await made(body.spec())
        return {"pipeline_key": key, "message": f"pipeline {key} created"}

    @routes.post("/spec", summary="Start a pipeline from the builder's spec")
    async def create_spec(
        request: Request, wait: Annotated[bool | None, Query()] = None
    ) -> dict[str, str]:
        """Answer once it is over if `wait`, by default where the spec has a duration."""
        text = text_of(await request.body(), request.headers.get("content-type", ""))
        spec: Any = (await asyncio.to_thread(parse_yaml, text, "spec")).plain()
        if not isinstance(spec, dict) or "nodes" in spec:
            raise HttpError(400, "expected a spec with `tenant_id`, `pipeline_id` and `source`")
        key = await made(spec)
        if not (wait if wait is not None else spec.get("duration_sec")):
            return {"pipeline_key": key, "message": f"pipeline {key} started"}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_MAX_S):
                await runtime.wait(key)
                return {"pipeline_key": key, "message": f"pipeline {key} completed"}
        return {"pipeline_key": key, "message": f"pipeline {key} still runs"}

    @routes.get("/{tenant}:{pipeline}", summary="Tell how a pipeline is")
    async def told(tenant: str, pipeline: str) -> dict[str, Any]:
        _check_ready(runtime)
        key = checked_key(f"{tenant}:{pipeline}")
        status = await runtime.service.get_pipeline_status(key)
        return {"tenant_id": tenant, "pipeline_id": pipeline, **status}

    @routes.delete("/{tenant}:{pipeline}", summary="Stop a pipeline and forget it")
    async def delete(tenant: str, pipeline: str) -> dict[str, str]:
        _check_ready(runtime)
        key = checked_key(f"{tenant}:{pipeline}")
        await runtime.service.delete_pipeline(key)
        return {"message": f"pipeline {key} deleted"}

    return routes


def _check_ready(runtime: PipelineRuntime) -> None:
    if not runtime.health().ready:
        raise HttpError(503, "the runtime is not started")
