"""How the nodes of a graph are wired: edges that lead nowhere, and inputs that are linked."""

from __future__ import annotations

__all__ = ("are_linked", "check_input", "check_ports", "check_readers")

from collections.abc import Mapping
from typing import TYPE_CHECKING

from market_data_pipeline.errors import PortError, UnconnectedNodeError, nearest

if TYPE_CHECKING:
    from market_data_pipeline.dag.graph import Dag, Edge, Node


def check_ports(node: Node, nodes: Mapping[str, Node]) -> None:
    """Refuse edges from outputs that are not there, and into inputs that are not.

    Args:
        node: The node that reads.
        nodes: Those of the graph, by name; all it reads from are among them.

    Raises:
        PortError: If there is such an edge, or one twice.
    """
    if node.kind == "source" and node.inputs:
        msg = f"`{node.name}` is a source and cannot read from `{node.inputs[0].node}`"
        raise PortError(msg, node=node.name)
    seen = set()
    for edge in node.inputs:
        giver = nodes[edge.node]
        if edge.port not in giver.outputs:
            names = ", ".join(f"`{port}`" for port in giver.outputs) or "none: it is a sink"
            hint = nearest(edge.port, giver.outputs)
            msg = (
                f"node `{node.name}` reads from `{edge.node}.{edge.port}`, but "
                f"`{edge.node}` has no such output{hint} (outputs: {names})"
            )
            raise PortError(msg, node=node.name)
        if (edge.node, edge.port) in seen:
            msg = f"node `{node.name}` reads from `{edge.node}.{edge.port}` twice"
            raise PortError(msg, node=node.name)
        seen.add((edge.node, edge.port))
    _check_input_names(node)


def _check_input_names(node: Node) -> None:
    """Refuse edges into inputs that a node does not have, and two into one."""
    names = node.input_names
    fed: dict[str, Edge] = {}
    for edge in node.inputs:
        if not names:
            if edge.into:
                msg = (
                    f"node `{node.name}` reads `{edge.node}` into `{edge.into}`, but its inputs "
                    f"have no names"
                )
                raise PortError(msg, node=node.name)
            continue
        if edge.into not in names:
            listed = ", ".join(f"`{name}`" for name in names)
            if edge.into:
                what = f"into `{edge.into}`, which is no input of it{nearest(edge.into, names)}"
            else:
                what = "without saying into which input"
            msg = f"node `{node.name}` reads `{edge.node}` {what} (inputs: {listed})"
            raise PortError(msg, node=node.name)
        if edge.into in fed:
            msg = (
                f"node `{node.name}` reads `{fed[edge.into].node}` and `{edge.node}` into "
                f"`{edge.into}`; merge them with `union` before"
            )
            raise PortError(msg, node=node.name)
        fed[edge.into] = edge


def check_input(node: Node) -> None:
    """Refuse a node that lacks an input.

    Raises:
        UnconnectedNodeError: If nothing feeds it, or one of the inputs it has by name.
    """
    names = node.input_names
    if node.kind != "source" and not node.inputs:
        pairs = ", ".join(f"{name}: ..." for name in names)
        way_out = f"`from: {{{pairs}}}` which nodes" if names else "`from:` which node"
        msg = f"node `{node.name}` reads from nothing; say {way_out}"
        raise UnconnectedNodeError(msg, node=node.name)
    fed = {edge.into for edge in node.inputs}
    missing = [name for name in names if name not in fed]
    if missing:
        msg = f"nothing feeds the input `{missing[0]}` of `{node.name}`; say `from:` what does"
        raise UnconnectedNodeError(msg, node=node.name)


def check_readers(node: Node, read: set[str]) -> None:
    """Refuse a node whose rows would go nowhere.

    Args:
        node: The node.
        read: Its outputs that somebody reads.

    Raises:
        UnconnectedNodeError: If nobody reads an output that must be read.
    """
    if node.kind == "sink":
        return
    missing = [p for p in node.outputs if p not in read and p not in node.side_outputs]
    if missing:
        ports = ", ".join(f"`{node.name}.{port}`" for port in missing)
        msg = f"nobody reads {ports}; add a sink that reads from it"
        raise UnconnectedNodeError(msg, node=node.name)


def are_linked(dag: Dag, node: Node) -> bool:
    """Tell whether two inputs of a node are linked, in whatever direction, apart from it.

    Where they are, one input can have to wait for what the other one holds up: because
    they have a source in common, or because another node reads from both.
    """
    readers: dict[str, list[str]] = {name: [] for name in dag.nodes}
    for other in dag.nodes.values():
        for edge in other.inputs:
            readers[edge.node].append(other.name)
    seen: set[str] = set()
    for start in node.inputs:
        if start.node in seen:
            return True
        waiting = [start.node]
        while waiting:
            name = waiting.pop()
            if name not in seen and name != node.name:
                seen.add(name)
                waiting += [*readers[name], *(edge.node for edge in dag.nodes[name].inputs)]
    return False
