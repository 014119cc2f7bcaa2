"""The page of the reference that lists the routes of the server, from its OpenAPI document."""

from __future__ import annotations

__all__ = ("routes_page",)

from typing import Any, Final

from market_data_pipeline.orchestration import PipelineRuntime
from market_data_pipeline.server.app import create_app

_GROUPS: Final = {
    "live": "The live page and its figures",
    "jobs": "Control of pipelines",
    "version 0.8": "The routes of version 0.8",
    "health": "Health and metrics",
    "session": "Sign-in of the page",
}
_OPEN: Final = frozenset({"/", "/health", "/healthz", "/readyz", "/session"})
_INTRODUCTION: Final = (
    "What `mdp serve` answers; the same as OpenAPI is at `/openapi.json`. Errors are JSON, "
    '`{"detail": ...}`: 400 for a pipeline that cannot run or may not, 401 without the '
    "token, 404 for an unknown pipeline, 409 for one that runs already, 413 and 408 for a "
    "body that is too large or too slow, 421 for an unknown `Host`, 422 for a request that "
    "is not understood, 503 while the runtime takes nothing. See "
    "[the guide](../guide/live-page-and-api.md)."
)


def routes_page(generated: str) -> str:
    """Return the page.

    Args:
        generated: The comment that says where it comes from.
    """
    described = create_app(PipelineRuntime()).openapi()["paths"]
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {name: [] for name in _GROUPS}
    for path, methods in described.items():
        for method, route in methods.items():
            groups[route["tags"][-1]].append((method.upper(), path, route))
    parts = ["# HTTP routes", generated, _INTRODUCTION]
    for name, title in _GROUPS.items():
        rows = ["| route | what it does | takes |", "|---|---|---|"]
        rows += [_row(*found) for found in groups[name]]
        parts += [f"## {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _row(method: str, path: str, route: dict[str, Any]) -> str:
    text = route["summary"]
    more = route.get("description", "").partition("\n\n")[0].replace("\n", " ")
    text += f". {more}" if more else ""
    text += " (open to all)" if path in _OPEN else ""
    asked = [f"`{p['name']}`" for p in route.get("parameters", ()) if p["in"] == "query"]
    if method == "POST" and "{" not in path and path != "/session":
        asked.append("the pipeline")
    elif "requestBody" in route:
        asked.append("a JSON body")
    return f"| `{method} {path}` | {text.replace('..', '.')} | {', '.join(asked)} |"
