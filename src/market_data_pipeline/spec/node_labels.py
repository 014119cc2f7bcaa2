"""What a drawing says of a node and of an edge, as text of a bounded width."""

from __future__ import annotations

__all__ = ("clip", "edge_label", "one_line", "readers_of", "settings_line", "width_of")

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from market_data_pipeline.dag.component import settings_of
from market_data_pipeline.dag.graph import Dag, Edge, Node
from market_data_pipeline.redaction import HIDDEN, redacted

_VALUE_WIDTH: Final = 40
# Names of settings whose values are not to be shown; `key`, of columns, is none.
_SECRET: Final = re.compile(
    r"(?:^|[^a-z])(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|credential|dsn|"
    r"database_url)s?(?:$|[^a-z])",
    re.IGNORECASE,
)


def settings_line(node: Node) -> str:
    """Return the settings of a node that differ from the defaults, on one line; no secrets."""
    settings = settings_of(node.component)
    return " ".join(f"{name}={_named(name, value)}" for name, value in settings.items())


def edge_label(edge: Edge) -> str:
    """Return what is special about an edge: port other than `out`, named input, policy."""
    parts = [edge.port] if edge.port != "out" else []
    if edge.into:
        parts.append(f"as {edge.into}")
    if edge.policy != "block":
        parts.append(edge.policy)
    return one_line(", ".join(parts))


def readers_of(dag: Dag) -> dict[str, list[tuple[Edge, Node]]]:
    """Return who reads each node; edges from nodes that are not there are left out."""
    readers: dict[str, list[tuple[Edge, Node]]] = {name: [] for name in dag.nodes}
    for node in dag.nodes.values():
        for edge in node.inputs:
            if edge.node in readers:
                readers[edge.node].append((edge, node))
    return readers


def one_line(text: str) -> str:
    """Return text without characters that break lines or cannot be shown."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_columns(char) for char in text)


def clip(text: str, width: int) -> str:
    """Return text on one line, cut to a width in columns."""
    text = one_line(text)
    if width_of(text) <= width:
        return text
    kept, used = [], 1
    for char in text:
        used += _columns(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _named(name: Any, value: Any) -> str:
    return HIDDEN if _SECRET.search(str(name)) else _value(value)


def _value(value: Any) -> str:
    if callable(value) and not isinstance(value, type):
        text = f"{getattr(value, '__name__', type(value).__name__)}()"
    elif isinstance(value, str | int | float | bool) or value is None:
        words: dict[Any, str] = {None: "null"}
        text = str(value).lower() if isinstance(value, bool) else words.get(value, str(value))
        text = redacted(text)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {_named(key, item)}" for key, item in value.items()) + "}"
    elif isinstance(value, tuple | list | set | frozenset):
        text = "[" + ", ".join(_value(item) for item in value) + "]"
    else:
        # Its own text may be a whole table.
        text = type(value).__name__
    return clip(text, _VALUE_WIDTH)
