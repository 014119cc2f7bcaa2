"""What may be given to a runtime, made ready to run: a graph, a spec, or a file of either."""

from __future__ import annotations

__all__ = ("Job", "Plan", "plan_of")

import asyncio
import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.orchestration.jobs import JobKind, checked_key
from market_data_pipeline.spec.excerpts import shown
from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.spec.yaml_text import MAX_BYTES, parse_yaml

Job: TypeAlias = Dag | Mapping[str, Any] | str | Path | Any
"""A graph, a version 0.8 spec, a mapping with the content of a file, or a file."""

_SPEC_KEYS: Final = ("tenant_id", "pipeline_id")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        key: What it is called if nothing else is said.
        kind: A graph, or a pipeline made from a version 0.8 spec.
        dag: The graph.
        origin: What it was made from, to make it again.
        duration_s: Seconds after which its sources are stopped; None to let them end.
        pipeline: The version 0.8 pipeline that is closed in the end; None for a graph.
        facts: What a version 0.8 spec says, by the names of that version.
    """

    key: str
    kind: JobKind
    dag: Dag
    origin: Job = field(repr=False)
    duration_s: float | None = None
    pipeline: Any = field(default=None, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)


async def plan_of(job: Job, *, key: str | None = None, config: Any = None) -> Plan:
    """Return what a job is.

    Files are told apart by what is in them: one with `nodes` is a graph, one with
    `tenant_id` a version 0.8 spec.

    Args:
        job: A graph, a spec, a mapping, or a path.
        key: What to call it; None to take the graph's name, or `tenant:pipeline`.
        config: Defaults of version 0.8 pipelines.

    Raises:
        ConfigError: If it is none of these, or its names cannot be names.
        InputError: If a pipeline file names an input that cannot be read.
    """
    if key is not None:
        checked_key(key)
    if isinstance(job, Dag):
        return Plan(key or checked_key(job.name, of="name"), "dag", job, job)
    if isinstance(job, str | Path):
        data = await asyncio.to_thread(_read, Path(job))
        return await asyncio.to_thread(_of_text, data, str(job), key, job, config)
    if isinstance(job, Mapping):
        try:
            text = json.dumps(job)
        except (TypeError, ValueError) as err:
            msg = f"a pipeline given as a mapping must be plain data: {err}"
            raise ConfigError(msg) from err
        return await asyncio.to_thread(_of_text, text, "pipeline", key, job, config)
    if all(hasattr(job, name) for name in _SPEC_KEYS):
        return await asyncio.to_thread(_of_spec, job, key, job, config)
    msg = (
        "a job must be a `Dag`, a `PipelineSpec`, a mapping or the path of a file, was "
        f"`{type(job).__name__}`"
    )
    raise ConfigError(msg, parameter="job")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        msg = f"the file `{path}` cannot be read: {reason}"
        raise ConfigError(msg) from err


def _of_text(data: str | bytes, file: str, key: str | None, origin: Job, config: Any) -> Plan:
    root = parse_yaml(data, file)
    found = root.content
    if isinstance(found, dict) and "nodes" not in found and any(k in found for k in _SPEC_KEYS):
        return _of_spec(root.plain(), key, origin, config)
    dag = load_text(data, file=file)
    return Plan(key or checked_key(dag.name, of="name"), "dag", dag, origin)


def _of_spec(spec: Any, key: str | None, origin: Job, config: Any) -> Plan:
    # Its half of version 0.8 is loaded with the first spec, not with the first graph.
    builder: Any = importlib.import_module("market_data_pipeline.pipeline_builder")
    made = _spec(builder, spec) if isinstance(spec, Mapping) else spec
    tenant, name = (checked_key(getattr(made, part), of=part) for part in _SPEC_KEYS)
    for part, text in zip(_SPEC_KEYS, (tenant, name), strict=True):
        if ":" in text:
            msg = f"`{part}` must hold no colon, which parts tenant and pipeline, was `{text}`"
            raise ConfigError(msg, parameter=part)
    pipeline = builder.PipelineBuilder(config).build(made)
    facts = {
        "tenant_id": tenant,
        "pipeline_id": name,
        "source": made.source,
        "operator": made.operator,
        "sink": made.sink,
        "symbols": list(made.symbols),
        "duration_sec": made.duration_sec,
    }
    own = key or f"{tenant}:{name}"
    return Plan(own, "pipeline", pipeline.dag(), origin, made.duration_sec, pipeline, facts)


def _spec(builder: Any, given: Mapping[str, Any]) -> Any:
    """Return the spec that plain data stands for."""
    settings = dict(given)
    overrides = settings.get("overrides")
    if isinstance(overrides, Mapping):
        settings["overrides"] = _made(builder.PipelineOverrides, overrides, "overrides")
    return _made(builder.PipelineSpec, settings, "a pipeline")


def _made(cls: Any, settings: Mapping[str, Any], what: str) -> Any:
    names = list(inspect.signature(cls).parameters)
    unknown = next((name for name in settings if name not in names), None)
    if unknown is not None:
        known = ", ".join(f"`{name}`" for name in names)
        msg = f"{what} has no setting `{shown(unknown)}`{nearest(unknown, names)} ({known})"
        raise ConfigError(msg, parameter=str(unknown))
    try:
        return cls(**settings)
    except TypeError as err:
        msg = f"{what} lacks a setting: {err}"
        raise ConfigError(msg) from err
