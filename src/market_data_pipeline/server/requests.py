"""What the routes take: names that can be names, and pipelines that may be started."""

from __future__ import annotations

__all__ = ("PipelineBody", "started", "text_of")

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.server.answers import HttpError
from market_data_pipeline.server.reach import check_reach
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.yaml_text import parse_yaml

_FILE: Final = "pipeline"
_TEXT_TYPES: Final = frozenset(
    {"application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"}
)


class PipelineBody(BaseModel):
    """A pipeline as version 0.8 took it at `POST /pipelines`."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str
    pipeline_id: str
    source_type: str
    symbols: list[str] = Field(default_factory=list)
    rate: float | None = None
    replay_path: str | None = None
    duration: float | None = None
    operator_type: str = "bars"
    sink_type: str = "store"
    extra: dict[str, Any] = Field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """Return the same as the builder takes it."""
        overrides = {"ticks_per_sec": self.rate, "replay_path": self.replay_path}
        given = {name: value for name, value in overrides.items() if value is not None}
        return {
            "tenant_id": self.tenant_id,
            "pipeline_id": self.pipeline_id,
            "source": self.source_type,
            "symbols": self.symbols,
            "duration_sec": self.duration,
            "operator": self.operator_type,
            "sink": self.sink_type,
            "overrides": {**given, **self.extra},
        }


def text_of(body: bytes, content_type: str) -> str:
    """Return a body that holds a pipeline.

    Raises:
        HttpError: If it says it is something else, or is no text.
    """
    # A page of another site can send text/plain without asking; it cannot send these.
    if content_type.partition(";")[0].strip().lower() not in _TEXT_TYPES:
        msg = "send a pipeline as `Content-Type: application/json` or `application/yaml`"
        raise HttpError(415, msg)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as err:
        raise HttpError(400, f"the body is not UTF-8: {err.reason}") from err


async def started(
    runtime: PipelineRuntime,
    settings: ServerSettings,
    pipeline: str | Mapping[str, Any],
    key: str | None = None,
) -> str:
    """Start a pipeline that came over HTTP, once it was looked at; return its key.

    Args:
        runtime: The runtime.
        settings: What it may name.
        pipeline: The text of a pipeline file, or its content.
        key: What to call it; None for its own name.

    Raises:
        ConfigError: If it cannot run, or names what it may not.
        PipelineError: If the runtime does not take it.
    """
    content = await asyncio.to_thread(_looked_at, pipeline, settings)
    return await runtime.start(content, key=key)


def _looked_at(pipeline: str | Mapping[str, Any], settings: ServerSettings) -> dict[str, Any]:
    text = pipeline if isinstance(pipeline, str) else _as_json(pipeline)
    root = parse_yaml(text, _FILE)
    content: Any = root.plain()
    if not isinstance(content, dict):
        raise ConfigError(root.problem(f"expected a mapping, found {root.kind}").message)
    check_reach(root, settings)
    if "nodes" in content:
        # For the places in its messages; the runtime makes the graph anew.
        load_text(text, file=_FILE)
    return content


def _as_json(pipeline: Mapping[str, Any]) -> str:
    try:
        return json.dumps(pipeline, allow_nan=False)
    except (TypeError, ValueError) as err:
        msg = f"a pipeline must be plain data: {err}"
        raise ConfigError(msg) from err
