"""Pictures of a graph: as text, Mermaid, DOT and SVG. All are made of one layout or none."""

from __future__ import annotations

__all__ = ("FORMATS", "draw", "to_dot", "to_mermaid", "to_svg", "to_text")

from collections.abc import Callable, Mapping
from html import escape
from typing import Final

from market_data_pipeline.dag.component import settings_of, type_name_of
from market_data_pipeline.dag.graph import Dag, Edge, Node
from market_data_pipeline.errors import ConfigError, nearest

_SETTINGS_WIDTH: Final = 60
_COLOURS: Final = {"source": "#1a7f5a", "operator": "#2f5fb3", "sink": "#9a5b13"}
_MERMAID_SHAPES: Final = {"source": ("([", "])"), "operator": ("[", "]"), "sink": ("[(", ")]")}
_DOT_SHAPES: Final = {"source": "ellipse", "operator": "box", "sink": "cylinder"}

# Sizes of the SVG, in pixels.
_BOX: Final = 168
_HEIGHT: Final = 52
_GAP_X: Final = 84
_GAP_Y: Final = 24
_MARGIN: Final = 16
_LINE_LENGTH_MAX: Final = 22

_SVG_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif">
<title>{title}</title>"""
_SVG_STYLE: Final = """\
<style>
.ink{fill:#1b1f24} .soft{fill:#656d76} .line{stroke:#8b949e;fill:none} .box{fill:#ffffff}
@media(prefers-color-scheme:dark){.ink{fill:#e6edf3} .soft{fill:#9198a1} .box{fill:#161b22}}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0L8 4L0 8z" fill="#8b949e"/></marker></defs>"""


def draw(dag: Dag, form: str) -> str:
    """Return a picture of a graph.

    Args:
        dag: The graph; it need not be complete.
        form: `text`, `mermaid`, `dot` or `svg`.

    Raises:
        ConfigError: If there is no such form.
        GraphError: If the graph has a cycle or an edge from nowhere.
    """
    if form not in FORMATS:
        names = ", ".join(f"`{name}`" for name in FORMATS)
        msg = f"a graph can be drawn as {names}, was `{form}`{nearest(form, FORMATS)}"
        raise ConfigError(msg)
    return FORMATS[form](dag)


def to_text(dag: Dag) -> str:
    """Return the graph as a tree of text, each node below the first one it reads."""
    lines = [f"{dag.name}: {len(dag.nodes)} nodes"]
    seen: set[str] = set()

    def add(node: Node, edge: Edge | None, lead: str, branch: str) -> None:
        name = node.name + _read_as(edge)
        if node.name in seen:
            lines.append(f"{lead}{branch}{name}  (above)")
            return
        seen.add(node.name)
        what = f"{node.kind} {type_name_of(node.component)}"
        lines.append(f"{lead}{branch}{name}  ({': '.join(filter(None, (what, _settings(node))))})")
        below = lead + {"": "", "└─ ": "   ", "├─ ": "│  "}[branch]
        readers = dag.consumers(node.name)
        for number, (reader, reads) in enumerate(readers, 1):
            add(reader, reads, below, "└─ " if number == len(readers) else "├─ ")

    for node in dag.order():
        if not node.inputs:
            add(node, None, "", "")
    return "\n".join(lines) + "\n"


def _read_as(edge: Edge | None) -> str:
    if edge is None:
        return ""
    port = f" <- {edge.node}.{edge.port}" if edge.port != "out" else ""
    return f"{port} [{edge.policy}]" if edge.policy != "block" else port


def to_mermaid(dag: Dag) -> str:
    """Return the graph as a Mermaid flowchart, as GitHub and many wikis draw it."""
    ids = _ids(dag)
    lines = ["flowchart LR"]
    for node in dag.nodes.values():
        left, right = _MERMAID_SHAPES[node.kind]
        label = _mermaid_text(f"{node.name}\n{type_name_of(node.component)}")
        lines.append(f'    {ids[node.name]}{left}"{label}"{right}:::{node.kind}')
    for node, edge in _edges(dag):
        label = _edge_label(edge)
        arrow = f'-->|"{_mermaid_text(label)}"|' if label else "-->"
        lines.append(f"    {ids[edge.node]} {arrow} {ids[node.name]}")
    for kind, colour in _COLOURS.items():
        lines.append(f"    classDef {kind} stroke:{colour},stroke-width:2px")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    return escape(text).replace("\n", "<br/>").replace("|", "#124;")


def to_dot(dag: Dag) -> str:
    """Return the graph in Graphviz's language."""
    ids = _ids(dag)
    lines = [f"digraph {_quoted(dag.name)} {{", "    rankdir=LR;", '    node [fontname="sans"];']
    for node in dag.nodes.values():
        label = _quoted(f"{node.name}\n{type_name_of(node.component)}")
        shape, colour = _DOT_SHAPES[node.kind], _COLOURS[node.kind]
        lines.append(f'    {ids[node.name]} [label={label}, shape={shape}, color="{colour}"];')
    for node, edge in _edges(dag):
        label = _edge_label(edge)
        attributes = f" [label={_quoted(label)}]" if label else ""
        lines.append(f"    {ids[edge.node]} -> {ids[node.name]}{attributes};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def to_svg(dag: Dag) -> str:
    """Return the graph as a self-contained SVG image that fits light and dark pages."""
    places = _layout(dag)
    width = max((x for x, _ in places.values()), default=0) + _BOX + _MARGIN
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + _MARGIN
    head = _SVG_HEAD.format(width=width, height=height, title=escape(dag.name))
    parts = [head, _SVG_STYLE]
    parts += [_svg_edge(places, node, edge) for node, edge in _edges(dag)]
    parts += [_svg_node(places, node) for node in dag.nodes.values()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _svg_node(places: Mapping[str, tuple[int, int]], node: Node) -> str:
    x, y = places[node.name]
    colour = _COLOURS[node.kind]
    what = f"{node.kind} · {type_name_of(node.component)}"
    tip = f"{node.name}: {what}\n{_settings(node, None)}".rstrip()
    return (
        f"<g><title>{escape(tip)}</title>"
        f'<rect class="box" x="{x}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="8" '
        f'stroke="{colour}" stroke-width="2"/>'
        f'<text class="ink" x="{x + 12}" y="{y + 22}" font-size="14" font-weight="600">'
        f"{escape(_shortened(node.name, _LINE_LENGTH_MAX - 4))}</text>"
        f'<text class="soft" x="{x + 12}" y="{y + 40}" font-size="12">'
        f"{escape(_shortened(what, _LINE_LENGTH_MAX))}</text></g>"
    )


def _svg_edge(places: Mapping[str, tuple[int, int]], node: Node, edge: Edge) -> str:
    x1, y1 = places[edge.node]
    x2, y2 = places[node.name]
    x1, y1, y2 = x1 + _BOX, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
    bend = _GAP_X // 2
    path = (
        f'<path class="line" stroke-width="1.5" marker-end="url(#tip)" '
        f'd="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 1} {y2}"/>'
    )
    label = _edge_label(edge)
    if not label:
        return path
    # Beside the arrow's tip, where edges of one node have parted.
    return (
        f'{path}<text class="soft" x="{x2 - 8}" y="{y2 - 6}" font-size="11" '
        f'text-anchor="end">{escape(label)}</text>'
    )


def _layout(dag: Dag) -> dict[str, tuple[int, int]]:
    """Return the left upper corner of each node's box: columns by the longest way to it."""
    columns: dict[str, int] = {}
    rows: dict[str, float] = {}
    taken: dict[int, list[str]] = {}
    for node in dag.order():
        before = [edge.node for edge in node.inputs]
        columns[node.name] = 1 + max((columns[name] for name in before), default=-1)
        taken.setdefault(columns[node.name], []).append(node.name)
    for _, names in sorted(taken.items()):
        wish = {
            name: sum(rows[edge.node] for edge in dag.nodes[name].inputs)
            / max(1, len(dag.nodes[name].inputs))
            for name in names
        }
        free = 0.0
        for name in sorted(names, key=lambda name: wish[name]):
            rows[name] = max(wish[name], free)
            free = rows[name] + 1
    return {
        name: (
            _MARGIN + column * (_BOX + _GAP_X),
            _MARGIN + round(rows[name] * (_HEIGHT + _GAP_Y)),
        )
        for name, column in columns.items()
    }


def _edges(dag: Dag) -> list[tuple[Node, Edge]]:
    return [(node, edge) for node in dag.nodes.values() for edge in node.inputs]


def _edge_label(edge: Edge) -> str:
    words = [edge.port] if edge.port != "out" else []
    words += [edge.policy] if edge.policy != "block" else []
    return ", ".join(words)


def _ids(dag: Dag) -> dict[str, str]:
    return {name: f"n{number}" for number, name in enumerate(dag.nodes)}


def _settings(node: Node, width: int | None = _SETTINGS_WIDTH) -> str:
    text = ", ".join(
        f"{key}={_plain(value)}" for key, value in settings_of(node.component).items()
    )
    return text if width is None else _shortened(text, width)


def _plain(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_plain(item) for item in value)}]"
    return str(getattr(value, "__qualname__", value))


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


FORMATS: Final[Mapping[str, Callable[[Dag], str]]] = {
    "text": to_text,
    "mermaid": to_mermaid,
    "dot": to_dot,
    "svg": to_svg,
}
