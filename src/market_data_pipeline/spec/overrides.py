"""Settings given on the command line in place of those in the file."""

from __future__ import annotations

__all__ = ("apply_override",)

from dataclasses import replace

from market_data_pipeline.errors import Problem, SpecError, nearest
from market_data_pipeline.spec.excerpts import SpecText, shown
from market_data_pipeline.spec.yaml_text import Value, parse_yaml


def apply_override(nodes: dict[str, Value], override: str) -> list[Problem]:
    """Set one setting of one node, in place.

    The value is read as YAML, so `5` is a number, `"5"` is text and `[a, b]` is a list. It
    may also replace `from` or the component's name. Whether the component has the setting
    is seen when the component is made.

    Args:
        nodes: The entries of the file by name.
        override: `node.key=value`.

    Returns:
        What is wrong with it; empty if nothing is.
    """
    text = SpecText(f"--set {shown(override)}", override)
    target, equals, value = override.partition("=")
    name, dot, key = target.strip().partition(".")
    if not equals or not dot or not name or not key:
        return [text.problem("expected `node.key=value`", 1, 1)]
    node = nodes.get(name)
    if node is None:
        known = ", ".join(f"`{shown(known)}`" for known in nodes) or "none"
        msg = f"there is no node `{shown(name)}`{nearest(name, nodes)} (nodes: {known})"
        return [text.problem(msg, 1, 1)]
    if not isinstance(node.content, dict):
        return []  # told as a problem of the node
    offset = len(override) - len(value.lstrip())
    try:
        parsed = parse_yaml(value, text.file) if value.strip() else Value(None, text, 1, 1)
    except SpecError as err:
        return [text.problem(p.message, 1, p.column + len(target) + 1) for p in err.problems]
    place = Value(key, text, 1, len(override) - len(value) - len(key))
    node.content[key] = replace(parsed, text=text, column=offset + 1, key=place)
    return []
