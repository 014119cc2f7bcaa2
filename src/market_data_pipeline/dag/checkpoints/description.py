"""What a graph is, as plain data that two runs can compare, and that tells no secret."""

from __future__ import annotations

__all__ = ("NodeDescription", "describe", "hash_of")

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from market_data_pipeline.dag.component import settings_of, type_name_of
from market_data_pipeline.dag.graph import Dag, Node

_FREE: Final = frozenset({"parallelism"})
_SECRET: Final = re.compile(
    r"dsn|password|passwd|secret|token|api_?key|credential|://", re.IGNORECASE
)
_DIGITS: Final = 32


@dataclasses.dataclass(frozen=True, slots=True)
class NodeDescription:
    """A node as a checkpoint knows it.

    Attributes:
        name: Its name.
        kind: `source`, `operator` or `sink`.
        type: The word for its component.
        settings: What is not at its default, less what may change without harm; what may
            hold a secret is hashed.
        inputs: What it reads, `node.port`.
    """

    name: str
    kind: str
    type: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]


def describe(dag: Dag) -> tuple[NodeDescription, ...]:
    """Return the nodes of a graph in their order."""
    return tuple(_described(node) for node in dag.order())


def hash_of(nodes: Sequence[NodeDescription]) -> str:
    """Return a hash that is the same for the same graph in any process."""
    plain = [dataclasses.asdict(node) for node in nodes]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _described(node: Node) -> NodeDescription:
    component = node.component
    try:
        settings = _without_tuning(component, settings_of(component))
    except TypeError:
        settings = {}  # a user's own class need not be a dataclass
    plain = {name: _hidden(name, _plain(v)) for name, v in settings.items()}
    inputs = tuple(f"{edge.node}.{edge.port}" for edge in node.inputs)
    return NodeDescription(node.name, node.kind, type_name_of(component), plain, inputs)


def _without_tuning(component: object, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which results may depend."""
    free = _FREE | frozenset(getattr(component, "tuning", ()))
    return {name: value for name, value in settings.items() if name not in free}


def _hidden(name: str, value: Any) -> Any:
    text = json.dumps(value, sort_keys=True)
    if value is None or not _SECRET.search(f"{name}: {text}"):
        return value
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it; of what JSON does not have, its type or name."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, PurePath | Decimal | date | time | timedelta):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(str(_plain(item)) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        told = {name: _plain(item) for name, item in _without_tuning(value, fields).items()}
        return {"type": type(value).__name__, **told}
    if callable(value):
        return f"function {getattr(value, '__qualname__', type(value).__name__)}"
    return type(value).__name__
