"""A graph becomes the text of a pipeline file.

Only what differs from the defaults is written. Reading the text gives an equal graph, and
writing that gives the same text; comments and layout of an earlier file are not kept.
"""

from __future__ import annotations

__all__ = ("node_to_dict", "to_dict", "to_yaml")

import dataclasses
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import yaml

from market_data_pipeline.dag.component import settings_of, type_name_of
from market_data_pipeline.dag.graph import Dag, Edge, Node
from market_data_pipeline.dag.nodes import SourceNode
from market_data_pipeline.dag.secret import Secret
from market_data_pipeline.durations import duration_ns, format_duration
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.excerpts import shown
from market_data_pipeline.spec.yaml_text import plain_scalar

_LINE: Final = 96
_Plain = str | int | float | bool | list[Any] | dict[str, Any] | None


def to_yaml(dag: Dag) -> str:
    """Return a graph as YAML.

    Raises:
        ConfigError: If a node cannot be written, as one that holds a Python function.
    """
    spec = to_dict(dag)
    lines = [f"name: {_flow(spec['name'])}"]
    if "checkpoint" in spec:
        lines.append(f"checkpoint: {_flow(spec['checkpoint'])}")
    lines.append("nodes:")
    for name, node in spec["nodes"].items():
        key, entry = _flow(name), _flow(node)
        line = f"  {key}: {entry}"
        if len(line) <= _LINE:
            lines.append(line)
        else:
            lines.append(f"  {key}:")
            lines += [f"    {setting}: {_flow(value)}" for setting, value in node.items()]
    return "\n".join(lines) + "\n"


def to_dict(dag: Dag) -> dict[str, Any]:
    """Return a graph as plain data, in the form of the pipeline file.

    Raises:
        ConfigError: If a node cannot be written, as one that holds a Python function.
    """
    nodes = {_text(name, name): node_to_dict(node) for name, node in dag.nodes.items()}
    if dag.checkpoint is None:
        return {"name": _text(dag.name, dag.name), "nodes": nodes}
    checkpoint = _settings(dag.checkpoint, "checkpoint")
    return {"name": _text(dag.name, dag.name), "checkpoint": checkpoint, "nodes": nodes}


def node_to_dict(node: Node) -> dict[str, Any]:
    """Return a node as plain data: its kind and component, what it reads, its settings.

    Raises:
        ConfigError: If it cannot be written, as one that holds a Python function.
    """
    try:
        kind = registry.kind_of(node.component)
    except ConfigError as err:
        msg = f"node `{shown(node.name)}` cannot be written as YAML: {err}"
        raise ConfigError(msg) from err
    entry: dict[str, Any] = {kind: type_name_of(node.component)}
    if node.inputs:
        edges = [_edge(edge) for edge in node.inputs]
        if all(edge.into for edge in node.inputs):
            entry["from"] = {
                edge.into: written for edge, written in zip(node.inputs, edges, strict=True)
            }
        else:
            entry["from"] = edges[0] if len(edges) == 1 else edges
    settings = _settings(node.component, node.name)
    # What would read back as something else is refused, not changed silently. Text stands
    # for the comparison: a path and its text are the same in a file.
    again = _settings(_rebuilt(node.component, node.name), node.name)
    if _flow(again) != _flow(settings):
        changed = [name for name in settings if _flow(again.get(name)) != _flow(settings[name])]
        names = ", ".join(f"`{name}`" for name in changed or again)
        msg = f"node `{shown(node.name)}` cannot be written as YAML: {names} would change"
        raise ConfigError(msg)
    return entry | settings


def _rebuilt(component: Any, node: str) -> Any:
    """Return a component as it will be once its settings are read back."""
    settings = {name: _again(value, node, name) for name, value in settings_of(component).items()}
    return type(component)(**settings)


def _again(value: Any, node: str, name: str) -> Any:
    if isinstance(value, SourceNode):
        return _rebuilt(value, node)
    if isinstance(value, tuple) and value and all(isinstance(v, SourceNode) for v in value):
        return tuple(_rebuilt(member, node) for member in value)
    return _plain(value, node, name)


def _settings(component: Any, node: str) -> dict[str, Any]:
    settings = settings_of(component)
    return {name: _plain(value, node, name) for name, value in settings.items()}


def _edge(edge: Edge) -> str | dict[str, Any]:
    default = Edge(edge.node, into=edge.into)
    settings = {
        field.name: getattr(edge, field.name)
        for field in dataclasses.fields(edge)
        if getattr(edge, field.name) != getattr(default, field.name)
    }
    if not settings:
        return edge.node
    if list(settings) == ["port"]:
        return f"{edge.node}.{edge.port}"
    return {"node": edge.node, **settings}


def _plain(value: Any, node: str, setting: str) -> _Plain:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _text(value, node)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, PurePath):
        return _text(str(value), node)
    if isinstance(value, timedelta):
        return format_duration(duration_ns(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {_text(str(k), node): _plain(v, node, setting) for k, v in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((_plain(item, node, setting) for item in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, node, setting) for item in value]
    if isinstance(value, Secret):
        if value.reference is None and value:
            msg = (
                f"node `{shown(node)}` cannot be written as YAML: `{setting}` holds a secret; "
                f"put it into an environment variable and give `${{env:NAME}}` in its place"
            )
            raise ConfigError(msg, parameter=setting)
        return value.reference or ""
    if isinstance(value, SourceNode):
        return {registry.kind_of(value): type_name_of(value), **_settings(value, node)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v, node, setting) for k, v in settings_of(value).items()}
    if callable(value):
        what = f"the Python function `{getattr(value, '__qualname__', type(value).__name__)}`"
        way_out = "; give an expression in its place, or run the graph from Python"
    else:
        what, way_out = f"a `{type(value).__name__}`", "; run the graph from Python"
    msg = f"node `{shown(node)}` cannot be written as YAML: `{setting}` holds {what}{way_out}"
    raise ConfigError(msg, parameter=setting)


def _text(text: str, node: str) -> str:
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        msg = f"node `{shown(node)}` cannot be written as YAML: it holds a NUL or half a character"
        raise ConfigError(msg)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes text so that no reader, of YAML 1.1 or 1.2, takes it for something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = '"'
    elif text.isdigit() or not _is_text(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _is_text(text: str) -> bool:
    try:
        return isinstance(plain_scalar(text), str)
    except ValueError:
        return False


_Dumper.add_representer(str, _represent_text)


def _flow(value: _Plain) -> str:
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        allow_unicode=True,
        width=math.inf,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")
