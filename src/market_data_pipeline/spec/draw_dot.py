"""A graph in the language of Graphviz."""

from __future__ import annotations

__all__ = ("to_dot",)

from typing import Final

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.spec.node_labels import clip, edge_label, one_line, readers_of

_COLOURS: Final = {
    "source": ("#d9f2e3", "#2f9e63"),
    "operator": ("#dce9fb", "#3b76c4"),
    "sink": ("#ece2fa", "#8257c2"),
}
_WIDTH: Final = 60


def to_dot(dag: Dag) -> str:
    """Return a graph as a Graphviz `digraph`."""
    ids = {name: f"n{number}" for number, name in enumerate(dag.nodes)}
    lines = [
        f"digraph {_quoted(dag.name)} {{",
        "    rankdir=LR;",
        '    node [shape=box, style="rounded,filled", fontname="sans-serif"];',
        '    edge [fontname="sans-serif", fontsize=10];',
    ]
    for node in dag.nodes.values():
        fill, line = _COLOURS[node.kind]
        what = f"{node.kind} {type_name_of(node.component)}"
        label = f'"{_inner(node.name)}\\n{_inner(what)}"'
        lines.append(f'    {ids[node.name]} [label={label}, fillcolor="{fill}", color="{line}"];')
    for name, readers in readers_of(dag).items():
        for edge, reader in readers:
            label = edge_label(edge)
            attributes = f" [label={_quoted(label)}]" if label else ""
            lines.append(f"    {ids[name]} -> {ids[reader.name]}{attributes};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return f'"{_inner(text)}"'


def _inner(text: str) -> str:
    """Return text as it can stand between quotes, where escapes and entities expand."""
    text = clip(one_line(text), _WIDTH)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
