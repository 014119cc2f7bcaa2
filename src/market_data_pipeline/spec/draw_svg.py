"""A graph as SVG: one piece, without scripts, styles or references to anything outside.

Boxes have their own light fill with dark text, and lines a middle grey, so that it reads
on light and on dark ground; nothing in it can change the page it is put in.
"""

from __future__ import annotations

__all__ = ("to_svg",)

from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.graph import Dag, Node
from market_data_pipeline.spec.layers import Layout, Route, lay_out
from market_data_pipeline.spec.node_labels import clip, edge_label, one_line, settings_line

_BOX_WIDTH: Final = 196
_BOX_HEIGHT: Final = 60
_STEP_X: Final = 270
_STEP_Y: Final = 82
_MARGIN: Final = 14
_TIP: Final = 7
_NAME_WIDTH: Final = 22
_SMALL_WIDTH: Final = 30
_LINE: Final = "#7d8a9f"
_COLOURS: Final = {
    "source": ("#d9f2e3", "#2f9e63"),
    "operator": ("#dce9fb", "#3b76c4"),
    "sink": ("#ece2fa", "#8257c2"),
}


def to_svg(dag: Dag) -> str:
    """Return a graph as an SVG element."""
    layout = lay_out(dag)
    width = _MARGIN * 2 + max(layout.layers - 1, 0) * _STEP_X + _BOX_WIDTH
    height = round(_MARGIN * 2 + (layout.rows - 1) * _STEP_Y + _BOX_HEIGHT)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        f"aria-label={quoteattr(_clean(f'pipeline {dag.name}'))} "
        f'style="max-width:100%;height:auto" '
        f'font-family="system-ui, sans-serif" font-size="12">'
    )
    edges = [_edge(route, dag) for route in layout.routes]
    boxes = [_box(node, layout) for node in dag.nodes.values()]
    return "\n".join([head, *edges, *boxes, "</svg>"]) + "\n"


def _box(node: Node, layout: Layout) -> str:
    layer, row = layout.places[node.name]
    x, y = _middle(layer, row)
    left, top = x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2
    fill, line = _COLOURS[node.kind]
    kind = f"{node.kind} {type_name_of(node.component)}"
    settings = settings_line(node)
    title = "\n".join(part for part in (_clean(node.name), _clean(kind), _clean(settings)) if part)
    return (
        f'<g transform="translate({_number(left)} {_number(top)})" fill="#16202c">'
        f"<title>{escape(title)}</title>"
        f'<rect width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="9" fill="{fill}" '
        f'stroke="{line}" stroke-width="1.5"/>'
        f'<text x="12" y="20" font-weight="600" font-size="13">{_text(node.name, _NAME_WIDTH)}'
        f"</text>"
        f'<text x="12" y="36" fill="{_darker(line)}">{_text(kind, _SMALL_WIDTH - 4)}</text>'
        f'<text x="12" y="51" font-size="10.5" fill="#4a5566">{_text(settings, _SMALL_WIDTH)}'
        f"</text></g>"
    )


def _edge(route: Route, dag: Dag) -> str:
    points = [_middle(layer, row) for layer, row in route.points]
    (x0, y0), (x1, y1) = points[0], points[-1]
    points[0] = (x0 + _BOX_WIDTH / 2, y0)
    points[-1] = (x1 - _BOX_WIDTH / 2 - _TIP, y1)
    path = f"M{_number(points[0][0])} {_number(points[0][1])}"
    for (ax, ay), (bx, by) in pairwise(points):
        bend = max(abs(bx - ax) / 2, 24)
        path += (
            f" C{_number(ax + bend)} {_number(ay)} {_number(bx - bend)} {_number(by)} "
            f"{_number(bx)} {_number(by)}"
        )
    tip_x, tip_y = points[-1]
    tip = f"M{_number(tip_x + _TIP)} {_number(tip_y)}l-{_TIP + 2} -4.5v9z"
    dashed = (
        ' stroke-dasharray="5 4"'
        if route.edge.port in dag.nodes[route.edge.node].side_outputs
        else ""
    )
    line = (
        f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.6"{dashed}/>'
        f'<path d="{tip}" fill="{_LINE}"/>'
    )
    label = edge_label(route.edge)
    if not label:
        return line
    (ax, ay), (bx, by) = points[:2]
    x, y = ax + (bx - ax) * 0.6, ay + (by - ay) * 0.72 - 4  # on the curve, past the crossings
    return (
        f'{line}<text x="{_number(x)}" y="{_number(y)}" font-size="10.5" '
        f'text-anchor="middle" fill="{_LINE}">'
        f"{_text(label, 16)}</text>"
    )


def _middle(layer: int, row: float) -> tuple[float, float]:
    x = _MARGIN + layer * _STEP_X + _BOX_WIDTH / 2
    return x, _MARGIN + row * _STEP_Y + _BOX_HEIGHT / 2


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str, width: int) -> str:
    return escape(_clean(clip(text, width)))


def _clean(text: str) -> str:
    """Return text without the characters that XML forbids."""
    return one_line(text).replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")


def _darker(colour: str) -> str:
    parts = (int(colour[start : start + 2], 16) * 2 // 3 for start in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)
