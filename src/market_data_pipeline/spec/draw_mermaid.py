"""A graph in the language of Mermaid, as GitHub and many wikis draw it."""

from __future__ import annotations

__all__ = ("to_mermaid",)

from typing import Final

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.spec.node_labels import clip, edge_label, readers_of

_SHAPES: Final = {"source": ("([", "])"), "operator": ("[", "]"), "sink": ("[(", ")]")}
_WIDTH: Final = 60


def to_mermaid(dag: Dag) -> str:
    """Return a graph as a Mermaid flowchart."""
    ids = {name: f"n{number}" for number, name in enumerate(dag.nodes)}
    lines = ["flowchart LR"]
    for node in dag.nodes.values():
        left, right = _SHAPES[node.kind]
        label = (
            f"{_escaped(node.name)}<br/>{_escaped(f'{node.kind} {type_name_of(node.component)}')}"
        )
        lines.append(f'    {ids[node.name]}{left}"{label}"{right}:::{node.kind}')
    for name, readers in readers_of(dag).items():
        for edge, reader in readers:
            label = edge_label(edge)
            arrow = f'-- "{_escaped(label)}" -->' if label else "-->"
            lines.append(f"    {ids[name]} {arrow} {ids[reader.name]}")
    lines += [
        "    classDef source fill:#d9f2e3,stroke:#2f9e63,color:#16202c",
        "    classDef operator fill:#dce9fb,stroke:#3b76c4,color:#16202c",
        "    classDef sink fill:#ece2fa,stroke:#8257c2,color:#16202c",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return text as it can stand in a quoted label: all but plain letters as entities."""
    return "".join(
        char if char.isalnum() or char in " _-.,:" else f"#{ord(char)};"
        for char in clip(text, _WIDTH)
    )
