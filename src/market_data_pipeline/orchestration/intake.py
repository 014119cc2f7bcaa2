"""What may be given to a runtime, made ready to run: a graph, a spec, or a file of either."""

from __future__ import annotations

__all__ = ("Job", "Plan", "plan_of")

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.orchestration.jobs import JobKind, checked_key
from market_data_pipeline.pipeline_builder import PipelineBuilder
from market_data_pipeline.pipeline_spec import PipelineSpec, is_spec
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
        facts: What a version 0.8 spec says, by the names of that version.
    """

    key: str
    kind: JobKind
    dag: Dag
    origin: Job = field(repr=False)
    duration_s: float | None = None
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
    if is_spec(root.content):
        return _of_spec(root.plain(), key, origin, config)
    dag = load_text(data, file=file)
    return Plan(key or checked_key(dag.name, of="name"), "dag", dag, origin)


def _of_spec(given: Any, key: str | None, origin: Job, config: Any) -> Plan:
    spec = PipelineSpec.of(given)
    for part in _SPEC_KEYS:
        text = checked_key(getattr(spec, part), of=part)
        if ":" in text:
            msg = f"`{part}` must hold no colon, which parts tenant and pipeline, was `{text}`"
            raise ConfigError(msg, parameter=part)
    if spec.duration_sec is not None and not spec.duration_sec >= 0:
        msg = f"`duration_sec` must be 0 or more, was {spec.duration_sec}"
        raise ConfigError(msg, parameter="duration_sec")
    facts = {
        "tenant_id": spec.tenant_id,
        "pipeline_id": spec.pipeline_id,
        "source": spec.source,
        "operator": spec.operator,
        "sink": spec.sink,
        "symbols": list(spec.symbols),
        "duration_sec": spec.duration_sec,
    }
    dag = PipelineBuilder(config).build(spec).dag()
    return Plan(key or spec.key, "pipeline", dag, origin, spec.duration_sec, facts)
