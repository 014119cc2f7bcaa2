"""A graph for terminals: downwards along the data, a branch for each reader."""

from __future__ import annotations

__all__ = ("to_text",)

from typing import Final

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.graph import Dag, Edge, Node
from market_data_pipeline.spec.node_labels import (
    clip,
    edge_label,
    one_line,
    readers_of,
    settings_line,
)

_NAME_WIDTH: Final = 60
_SETTINGS_WIDTH: Final = 72


def to_text(dag: Dag) -> str:
    """Return a graph as lines of text.

    A node that reads from several is drawn under the first and pointed at by the others.
    """
    readers = readers_of(dag)
    drawn: set[str] = set()
    lines = [clip(dag.name, _NAME_WIDTH)]
    for root in _roots(dag):
        if root.name not in drawn:
            lines.append("")
            _draw_from(root, readers, drawn, lines)
    return "\n".join(lines) + "\n"


def _roots(dag: Dag) -> list[Node]:
    """Return where to begin: nodes that read nothing, then the rest, for cycles."""
    first = [
        node
        for node in dag.nodes.values()
        if not any(edge.node in dag.nodes for edge in node.inputs)
    ]
    return [*first, *dag.nodes.values()]


def _draw_from(
    root: Node,
    readers: dict[str, list[tuple[Edge, Node]]],
    drawn: set[str],
    lines: list[str],
) -> None:
    # Each entry: node, edge it is reached by, prefix of its line and of those below it.
    waiting: list[tuple[Node, Edge | None, str, str]] = [(root, None, "", "")]
    while waiting:
        node, edge, prefix, below = waiting.pop()
        label = edge_label(edge) if edge is not None else ""
        arrow = f"({label}) " if label else ""
        if node.name in drawn:
            lines.append(f"{prefix}{arrow}{clip(node.name, _NAME_WIDTH)} (drawn above)")
            continue
        drawn.add(node.name)
        lines.append(f"{prefix}{arrow}{_line(node)}")
        following = readers[node.name]
        if len(following) == 1:
            edge, reader = following[0]
            lines.append(f"{below}│")
            waiting.append((reader, edge, below, below))
            continue
        for index, (edge, reader) in reversed(list(enumerate(following))):
            last = index == len(following) - 1
            fork, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
            waiting.append((reader, edge, below + fork, below + bar))


def _line(node: Node) -> str:
    kind = one_line(f"{node.kind} {type_name_of(node.component)}")
    settings = clip(settings_line(node), _SETTINGS_WIDTH)
    line = f"{clip(node.name, _NAME_WIDTH)}  [{kind}]"
    return f"{line}  {settings}" if settings else line
