"""Where the nodes of a drawing go: in layers along the data, few crossings."""

from __future__ import annotations

__all__ = ("Layout", "Route", "lay_out")

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from market_data_pipeline.dag.graph import Dag, Edge

_SWEEPS: Final = 6
_DUMMY: Final = 0.6
"""Room of an edge that passes a layer, in rows; a node takes one."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge.

    Attributes:
        edge: The edge.
        reader: Name of the node that reads it.
        points: (layer, row) of its two ends and of each layer it passes.
    """

    edge: Edge
    reader: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing in units of layers and rows.

    Attributes:
        places: (layer, row) of each node's middle; rows begin at 0.
        routes: The edges.
        layers: Number of layers.
        rows: Number of rows.
    """

    places: dict[str, tuple[int, float]]
    routes: tuple[Route, ...]
    layers: int
    rows: float


@dataclass(slots=True, eq=False)
class _Vertex:
    layer: int
    is_node: bool
    left: list[_Vertex]
    right: list[_Vertex]
    row: float = 0.0


def lay_out(dag: Dag) -> Layout:
    """Return places for all nodes and ways for all edges; cycles do no harm."""
    depth = _depths(dag)
    nodes = {name: _Vertex(layer, True, [], []) for name, layer in depth.items()}
    layers: list[list[_Vertex]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for vertex in nodes.values():
        layers[vertex.layer].append(vertex)
    chains = []
    for node in dag.nodes.values():
        for edge in node.inputs:
            if edge.node in nodes:
                chain = _chain(nodes[edge.node], nodes[node.name], layers)
                chains.append((edge, node.name, chain))
    _place(layers)
    lowest = min((v.row for layer in layers for v in layer), default=0.0)
    for layer in layers:
        for vertex in layer:
            vertex.row -= lowest
    rows = max((v.row for layer in layers for v in layer), default=0.0) + 1
    routes = tuple(
        Route(edge, reader, tuple((v.layer, v.row) for v in chain))
        for edge, reader, chain in chains
    )
    places = {name: (vertex.layer, vertex.row) for name, vertex in nodes.items()}
    return Layout(places, routes, len(layers), rows)


def _depths(dag: Dag) -> dict[str, int]:
    """Return the longest way from a start to each node; nodes in cycles come last."""
    readers: dict[str, list[str]] = {name: [] for name in dag.nodes}
    open_inputs = dict.fromkeys(dag.nodes, 0)
    for node in dag.nodes.values():
        for edge in node.inputs:
            if edge.node in readers:
                readers[edge.node].append(node.name)
                open_inputs[node.name] += 1
    depth: dict[str, int] = {}
    ready = deque((name, 0) for name, count in open_inputs.items() if count == 0)
    reached = dict.fromkeys(dag.nodes, 0)
    while ready:
        name, layer = ready.popleft()
        depth[name] = layer
        for reader in readers[name]:
            reached[reader] = max(reached[reader], layer + 1)
            open_inputs[reader] -= 1
            if open_inputs[reader] == 0:
                ready.append((reader, reached[reader]))
    last = max(depth.values(), default=-1) + 1
    circling = [name for name in dag.nodes if name not in depth]
    depth.update({name: last + number for number, name in enumerate(circling)})
    return depth


def _chain(start: _Vertex, end: _Vertex, layers: list[list[_Vertex]]) -> list[_Vertex]:
    """Return the vertices of an edge, with a new one in each layer it passes."""
    step = 1 if end.layer >= start.layer else -1
    chain = [start]
    for layer in range(start.layer + step, end.layer, step):
        dummy = _Vertex(layer, False, [], [])
        layers[layer].append(dummy)
        chain.append(dummy)
    chain.append(end)
    if step == 1:
        for before, after in pairwise(chain):
            before.right.append(after)
            after.left.append(before)
    return chain


def _place(layers: list[list[_Vertex]]) -> None:
    for layer in layers:
        _spread(layer)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            for vertex in layer:
                towards = vertex.left if forward else vertex.right
                if towards:
                    vertex.row = sum(v.row for v in towards) / len(towards)
            layer.sort(key=lambda vertex: vertex.row)
            _spread(layer)


def _spread(layer: list[_Vertex]) -> None:
    """Move vertices apart where they overlap, in their order, keeping their middle."""
    if not layer:
        return
    wanted = [vertex.row for vertex in layer]
    edge = float("-inf")
    for vertex in layer:
        half = (1.0 if vertex.is_node else _DUMMY) / 2
        vertex.row = max(vertex.row, edge + half)
        edge = vertex.row + half
    shift = sum(w - v.row for w, v in zip(wanted, layer, strict=True)) / len(layer)
    for vertex in layer:
        vertex.row += shift
