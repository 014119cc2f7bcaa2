"""The JSON Schema of the pipeline file, for editors and other tools.

`docs/pipeline.schema.json` is what this gives for the built-in components.
"""

from __future__ import annotations

__all__ = ("pipeline_schema", "pipeline_schema_text")

import inspect
import json
import sys
from typing import Any, Final, get_args

from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.graph import (
    DEFAULT_EDGE_BYTES,
    DEFAULT_EDGE_ROWS,
    Policy,
    input_names,
)
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.component_schema import (
    component_schema,
    nested_source_lists,
    nested_sources,
)
from market_data_pipeline.spec.described import (
    ComponentInfo,
    describe_all,
    settings_from_docstring,
)
from market_data_pipeline.spec.loader import MAX_NODES
from market_data_pipeline.spec.registry import KINDS, Kind

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_NODE_NAME: Final = r"^(?! )[^.]*[^. ]$"


def pipeline_schema(*, installed: bool = False) -> dict[str, Any]:
    """Return the schema.

    Args:
        installed: Describe the components of installed packages too, but for those that
            cannot be loaded.
    """
    definitions: dict[str, Any] = {"inputs": _inputs(), "edge": _edge()}
    choices: list[dict[str, Any]] = []
    for kind in KINDS:
        for info in describe_all(kind):
            built_in = info.name in registry.built_in(kind)
            if info.problem or not info.in_yaml or not (built_in or installed):
                continue
            node, inner = _node(info)
            definitions |= inner
            definitions[f"{kind}.{info.name}"] = node
            choices.append({"$ref": f"#/$defs/{kind}.{info.name}"})
    sources = [choice for choice in choices if choice["$ref"].startswith("#/$defs/source.")]
    definitions["source"] = {"description": "A source and its settings.", "oneOf": sources}
    nodes = {
        "description": "The nodes by name, in any order.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_NODES,
        "propertyNames": {"pattern": _NODE_NAME},
        "additionalProperties": {"oneOf": choices},
    }
    title = {
        "description": "What the pipeline is called; the file's name by default.",
        "type": "string",
        "minLength": 1,
    }
    checkpoint = _checkpoint()
    return {
        "$schema": _DIALECT,
        "title": "market_data_pipeline pipeline",
        "type": "object",
        "properties": {"name": title, "checkpoint": checkpoint, "nodes": nodes},
        "required": ["nodes"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def pipeline_schema_text() -> str:
    """Return the schema of the built-in components as the text of its file."""
    return json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n"


def _checkpoint() -> dict[str, Any]:
    described = settings_from_docstring(inspect.getdoc(Checkpoint) or "")
    schema = component_schema(Checkpoint)
    properties = {
        name: {"description": described[name], **setting}
        for name, setting in schema["properties"].items()
    }
    for setting in properties.values():
        setting.pop("title", None)
    return {
        "description": "Keep checkpoints, and go on from them after a crash.",
        "type": "object",
        "properties": properties,
        "required": schema["required"],
        "additionalProperties": False,
    }


def _node(info: ComponentInfo) -> tuple[dict[str, Any], dict[str, Any]]:
    kind, name = info.kind, info.name
    schema = component_schema(registry.find(kind, name))
    inner = {
        f"{kind}.{name}.{key}": _renamed(value, kind, name)
        for key, value in schema.pop("$defs", {}).items()
    }
    properties: dict[str, Any] = {kind: {"const": name, "description": info.summary}}
    names = input_names(registry.find(kind, name))
    if names:
        properties["from"] = _named_inputs(names)
    elif kind != "source":
        properties["from"] = {"$ref": "#/$defs/inputs"}
    nested = nested_sources(registry.find(kind, name))
    lists = nested_source_lists(registry.find(kind, name))
    described = {setting.name: setting.description for setting in info.settings}
    for key, value in schema.get("properties", {}).items():
        setting = _renamed(value, kind, name)
        setting.pop("title", None)
        if key in nested:
            setting = {"$ref": "#/$defs/source"}
        elif key in lists:
            setting = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/source"}}
        description = {"description": described[key]} if described.get(key) else {}
        properties[key] = description | setting
    required = [kind, *(["from"] if kind != "source" else []), *schema.get("required", [])]
    node = {
        "title": f"{kind} {name}",
        "description": info.summary,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return node, inner


def _renamed(value: Any, kind: Kind, name: str) -> Any:
    """Point references at the definitions of this component."""
    if isinstance(value, dict):
        return {
            key: inner.replace("#/$defs/", f"#/$defs/{kind}.{name}.")
            if key == "$ref" and isinstance(inner, str)
            else _renamed(inner, kind, name)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_renamed(item, kind, name) for item in value]
    return value


def _inputs() -> dict[str, Any]:
    one = [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/edge"}]
    return {
        "description": "What it reads: `node`, `node.port`, an edge with settings, or a list.",
        "anyOf": [*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}],
    }


def _named_inputs(names: tuple[str, ...]) -> dict[str, Any]:
    one = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/edge"}]}
    return {
        "description": "What each input reads: `node`, `node.port` or an edge with settings.",
        "type": "object",
        "properties": dict.fromkeys(names, one),
        "required": list(names),
        "additionalProperties": False,
    }


def _edge() -> dict[str, Any]:
    positive = {"type": "integer", "exclusiveMinimum": 0}
    return {
        "title": "edge",
        "type": "object",
        "properties": {
            "node": {"type": "string", "description": "The node to read from."},
            "port": {"type": "string", "default": "out", "description": "Its output."},
            "policy": {
                "enum": list(get_args(Policy)),
                "default": "block",
                "description": "What happens when the reader cannot keep up.",
            },
            "rows": positive | {"default": DEFAULT_EDGE_ROWS, "description": "Capacity in rows."},
            "bytes": positive
            | {"default": DEFAULT_EDGE_BYTES, "description": "Capacity in bytes."},
        },
        "required": ["node"],
        "additionalProperties": False,
    }


if __name__ == "__main__":
    sys.stdout.write(pipeline_schema_text())
