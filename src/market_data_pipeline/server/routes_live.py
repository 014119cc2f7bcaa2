"""The live page, the events it lives on, and the graphs as JSON and SVG."""

from __future__ import annotations

__all__ = ("live_routes",)

import hmac
from importlib.resources import files
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from market_data_pipeline.orchestration.jobs import checked_key
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.guard import COOKIE, page_cookie
from market_data_pipeline.server.live import LiveFeed
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.server.web import (
    APIRouter,
    JSONResponse,
    Query,
    Request,
    Response,
    StreamingResponse,
)
from market_data_pipeline.spec.drawing import draw

_PAGE: Final = "market_data_pipeline.server"
_ASSETS: Final = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_SIGNED_IN_S: Final = 12 * 3_600


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=4_096)


def live_routes(
    runtime: PipelineRuntime, settings: ServerSettings, live: LiveFeed, version: str
) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["live"])

    @routes.get("/", summary="The live page; for API clients name and version")
    async def home(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return _asset("page.html", "text/html")
        return JSONResponse({"message": "Market Data Pipeline API", "version": version})

    @routes.get("/page/{name}", summary="The page's own files", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HttpError(404, "there is no such file")
        return _asset(name, _ASSETS[name])

    @routes.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return _asset("icon.svg", "image/svg+xml")

    @routes.get("/events", summary="The figures twice a second, as server-sent events")
    async def events() -> StreamingResponse:
        return StreamingResponse(
            live.events(),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    @routes.get("/graph", summary="The graphs with their figures, or one as SVG")
    async def graph(
        key: Annotated[str | None, Query()] = None,
        form: Annotated[str, Query(pattern="^(json|svg)$")] = "json",
    ) -> Response:
        if form == "json":
            shown: dict[str, Any] = live.look()
            if key is not None:
                runtime.status(checked_key(key))
                shown["jobs"] = [job for job in shown["jobs"] if job["key"] == key]
            return JSONResponse(shown)
        if key is None:
            raise HttpError(400, "say which pipeline with `key`")
        run = runtime.status(checked_key(key)).run
        if run is None:
            raise HttpError(404, "it has no graph yet")
        return Response(draw(run.dag, "svg"), media_type="image/svg+xml")

    @routes.get("/session", summary="Is a token needed?", tags=["session"])
    async def session(request: Request) -> dict[str, bool]:
        cookie = request.cookies.get(COOKIE, "").encode("utf-8", "replace")
        token = settings.token
        known = token is None or hmac.compare_digest(cookie, page_cookie(token).encode())
        return {"token_needed": token is not None, "signed_in": known}

    @routes.post("/session", summary="Show the token, and get a cookie", tags=["session"])
    async def sign_in(body: _Token) -> Response:
        if settings.token is None:
            return Response(status_code=204)
        given, wanted = body.token.encode("utf-8", "replace"), settings.token.encode()
        if not hmac.compare_digest(given, wanted):
            raise HttpError(401, "the token is wrong")
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE,
            page_cookie(settings.token),
            max_age=_SIGNED_IN_S,
            httponly=True,
            samesite="strict",
            secure=settings.tls_cert is not None,
        )
        return response

    @routes.delete("/session", summary="Drop the cookie", tags=["session"])
    async def sign_out() -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE)
        return response

    return routes


def _asset(name: str, media_type: str) -> Response:
    data = files(_PAGE).joinpath("page", name).read_bytes()
    return Response(data, media_type=media_type, headers={"cache-control": "no-cache"})
