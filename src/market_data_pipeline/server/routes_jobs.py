"""Routes that control pipelines: list, start, stop, restart, scale."""

from __future__ import annotations

__all__ = ("ScaleBody", "job_dict", "job_routes")

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from market_data_pipeline.orchestration.jobs import JobStatus, checked_key
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.redaction import redacted
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.requests import started, text_of
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.server.web import APIRouter, Query, Request, Response
from market_data_pipeline.spec.node_labels import one_line


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

    @routes.post("/{key}/scale", summary="Let a source run slower, or as fast as it can")
    async def scale(key: str, body: ScaleBody) -> dict[str, Any]:
        """Let a source use at most this share of its budget, until it is started anew."""
        run = runtime.status(checked_key(key)).run
        coordinator = runtime.coordinator
        if run is None or body.node not in run.dag.nodes:
            raise HttpError(404, f"there is no node `{one_line(body.node)}`")
        reader = run.throttled().get(body.node)
        if coordinator is None or reader is None:
            msg = f"`{body.node}` cannot be scaled: only running sources with a `provider` can"
            raise HttpError(409, msg)
        coordinator.set_limit(reader, body.scale)
        return {"key": key, "node": body.node, "scale": coordinator.limit(reader)}

    return routes


class ScaleBody(BaseModel):
    """How fast a source may run."""

    model_config = ConfigDict(extra="forbid")

    node: str = Field(max_length=200)
    scale: float = Field(ge=0, le=1, allow_inf_nan=False)


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
