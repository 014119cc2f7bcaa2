"""One entry of `nodes` in a pipeline file: its component, and the edges it reads."""

from __future__ import annotations

__all__ = ("NodeEntry", "make_component", "read_node")

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from market_data_pipeline.dag.graph import Edge, input_names
from market_data_pipeline.dag.nodes import SinkNode
from market_data_pipeline.errors import ConfigError, Problem, nearest
from market_data_pipeline.spec import registry
from market_data_pipeline.spec.component_schema import nested_source_lists, nested_sources
from market_data_pipeline.spec.described import fields_of
from market_data_pipeline.spec.excerpts import shown
from market_data_pipeline.spec.registry import KINDS, Kind
from market_data_pipeline.spec.yaml_text import Value

_EDGE_KEYS: Final = ("node", "port", "policy", "rows", "bytes")
RESERVED: Final = (*KINDS, "from")


class PlacedEdge(NamedTuple):
    """An edge and where it is written."""

    edge: Edge
    place: Value


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node as the file gives it.

    Attributes:
        name: Its name.
        key: Where its name stands.
        component: The component; None if there was a problem with it.
        inputs: What it reads, as far as that is sound.
        reads: Where its `from` stands; None if it has none.
    """

    name: str
    key: Value
    component: Any
    inputs: list[PlacedEdge]
    reads: Value | None

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Its output ports; None if they are unknown."""
        if self.component is None:
            return None
        if isinstance(self.component, SinkNode):
            return ()
        ports: tuple[str, ...] = self.component.outputs
        return ports


def read_node(name: str, value: Value, nodes: Iterable[str], problems: list[Problem]) -> NodeEntry:
    """Read one entry.

    Args:
        name: Name of the node.
        value: The entry.
        nodes: Names of all nodes.
        problems: Takes what is wrong.
    """
    key = value.key or value
    if not isinstance(value.content, dict):
        msg = (
            f"node `{shown(name)}` must be a mapping such as "
            f"`{{source: replay, path: ...}}`, found {value.kind}"
        )
        problems.append(value.problem(msg))
        return NodeEntry(name, key, None, [], None)
    reads = value.content.get("from")
    kind = _kind(name, value, value.content, problems)
    cls = None if kind is None else _class(kind, value.content, problems)
    inputs: list[PlacedEdge] = []
    if reads is not None and (cls is not None or not _could_be_named(reads)):
        names = input_names(cls)
        known = set(nodes)
        inputs = (
            _named_edges(reads, names, known, problems)
            if names
            else _edges(reads, known, problems)
        )
    component = None
    if kind is not None and cls is not None:
        component = make_component(cls, value, value.content, problems, skip=(kind, "from"))
    return NodeEntry(name, key, component, inputs, reads)


def _could_be_named(reads: Value) -> bool:
    """Tell whether this may be right for a component that is not known."""
    return isinstance(reads.content, dict) and "node" not in reads.content


def _class(kind: Kind, entries: dict[str, Value], problems: list[Problem]) -> type[Any] | None:
    word = entries[kind]
    if not isinstance(word.content, str):
        problems.append(word.problem(f"`{kind}` must name a component, found {word.kind}"))
        return None
    try:
        return registry.find(kind, word.content)
    except ConfigError as err:
        problems.append(word.problem(str(err)))
        return None


def _kind(
    name: str, node: Value, entries: dict[str, Value], problems: list[Problem]
) -> Kind | None:
    found: list[Kind] = [kind for kind in KINDS if kind in entries]
    if len(found) == 1:
        return found[0]
    if found:
        place = entries[found[1]]
        both = " and ".join(f"`{kind}`" for kind in found)
        msg = f"node `{shown(name)}` has {both}; a node is one of them"
        problems.append((place.key or place).problem(msg))
        return None
    typos = ((key, difflib.get_close_matches(key, KINDS, n=1, cutoff=0.75)) for key in entries)
    typo = next(((key, close[0]) for key, close in typos if close), None)
    needed = "one of `source`, `operator`, `sink`"
    msg = f"node `{shown(name)}` needs {needed}: the name of a component"
    place = node.key or node
    if typo is not None:
        msg = f"unknown key `{shown(typo[0])}`; did you mean `{typo[1]}`?"
        place = entries[typo[0]].key or place
    problems.append(place.problem(msg))
    return None


def make_component(
    cls: type[Any],
    node: Value,
    entries: dict[str, Value],
    problems: list[Problem],
    *,
    skip: tuple[str, ...] = (),
) -> Any:
    """Return a component with the settings of a mapping, None if they are wrong.

    Args:
        cls: Its class.
        node: The mapping.
        entries: What is in it.
        problems: Takes what is wrong.
        skip: Keys that are no settings.
    """
    known = fields_of(cls)
    nested, lists = nested_sources(cls), nested_source_lists(cls)
    settings: dict[str, Any]
    settings, sound = {}, True
    for key, value in entries.items():
        if key in skip:
            continue
        if key not in known:
            names = ", ".join(f"`{word}`" for word in known) or "none"
            hint = nearest(key, [*known, *skip])
            msg = f"`{cls.type_name}` has no setting `{shown(key)}`{hint} (settings: {names})"
            problems.append((value.key or value).problem(msg))
            sound = False
        elif key in nested:
            settings[key] = _nested(key, value, problems)
            sound = sound and settings[key] is not None
        elif key in lists:
            settings[key] = _nested_list(key, value, problems)
            sound = sound and None not in settings[key]
        else:
            settings[key] = value.plain()
    if not sound:
        # A misspelt setting would be told a second time, as one that is missing.
        return None
    try:
        return cls(**settings)
    except ConfigError as err:
        place = entries.get(err.parameter or "", node.key or node)
        problems.append(place.problem(str(err)))
        return None


def _nested_list(name: str, value: Value, problems: list[Problem]) -> tuple[Any, ...]:
    """Return the sources that a setting is."""
    if not isinstance(value.content, list):
        msg = f"`{name}` must be a list of sources, found {value.kind}"
        problems.append(value.problem(msg))
        return (None,)
    return tuple(_nested(name, item, problems) for item in value.content)


def _nested(name: str, value: Value, problems: list[Problem]) -> Any:
    """Return the source that a setting is."""
    if not isinstance(value.content, dict):
        msg = (
            f"`{name}` must be a source such as `{{source: replay, path: ...}}`, "
            f"found {value.kind}"
        )
        problems.append(value.problem(msg))
        return None
    unfit = next((key for key in ("operator", "sink", "from") if key in value.content), None)
    if unfit is not None:
        place = value.content[unfit]
        msg = f"`{name}` is a source, which has no `{unfit}`"
        problems.append((place.key or place).problem(msg))
        return None
    if "source" not in value.content:
        msg = f"`{name}` needs `source`: the name of a source"
        problems.append((value.key or value).problem(msg))
        return None
    cls = _class("source", value.content, problems)
    return (
        None
        if cls is None
        else make_component(cls, value, value.content, problems, skip=("source", "from"))
    )


def _edges(reads: Value, nodes: set[str], problems: list[Problem]) -> list[PlacedEdge]:
    items = reads.content if isinstance(reads.content, list) else [reads]
    edges = [_edge(item, nodes, problems) for item in items]
    return [PlacedEdge(edge, item) for edge, item in zip(edges, items, strict=True) if edge]


def _named_edges(
    reads: Value, names: tuple[str, ...], nodes: set[str], problems: list[Problem]
) -> list[PlacedEdge]:
    """Return the edges of a node whose inputs have names."""
    listed = ", ".join(f"`{name}`" for name in names)
    if not isinstance(reads.content, dict):
        example = ", ".join(f"{name}: ..." for name in names)
        msg = f"`from` must say which input reads what, `{{{example}}}`, found {reads.kind}"
        problems.append(reads.problem(msg))
        return []
    placed = []
    for name, value in reads.content.items():
        if name not in names:
            msg = f"there is no input `{shown(name)}`{nearest(name, names)} (inputs: {listed})"
            problems.append((value.key or value).problem(msg))
            continue
        edge = _edge(value, nodes, problems)
        if edge is not None:
            placed.append(PlacedEdge(replace(edge, into=name), value))
    missing = [name for name in names if name not in reads.content]
    if missing:
        msg = f"`from` does not say what feeds the input `{missing[0]}` (inputs: {listed})"
        problems.append((reads.key or reads).problem(msg))
    return placed


def _edge(item: Value, nodes: set[str], problems: list[Problem]) -> Edge | None:
    if isinstance(item.content, dict):
        return _edge_of_mapping(item, item.content, nodes, problems)
    if not isinstance(item.content, str):
        msg = (
            f"`from` must be `node`, `node.port`, a mapping or a list of these, found {item.kind}"
        )
        problems.append(item.problem(msg))
        return None
    node, dot, port = item.content.partition(".")
    if node not in nodes:
        problems.append(item.problem(_unknown_node(node, nodes)))
        return None
    return Edge(node, port) if dot else Edge(node)


def _edge_of_mapping(
    item: Value, entries: dict[str, Value], nodes: set[str], problems: list[Problem]
) -> Edge | None:
    count = len(problems)
    for key, value in entries.items():
        if key not in _EDGE_KEYS:
            names = ", ".join(f"`{word}`" for word in _EDGE_KEYS)
            msg = f"an edge has no setting `{shown(key)}`{nearest(key, _EDGE_KEYS)}"
            problems.append((value.key or value).problem(f"{msg} (settings: {names})"))
        elif key in {"rows", "bytes"}:
            if type(value.content) is not int:
                problems.append(value.problem(f"`{key}` must be an integer, found {value.kind}"))
        elif not isinstance(value.content, str):
            problems.append(value.problem(f"`{key}` must be text, found {value.kind}"))
    node = entries.get("node")
    if node is None:
        problems.append(item.problem("an edge needs the key `node`: the node to read from"))
    elif isinstance(node.content, str) and node.content not in nodes:
        problems.append(node.problem(_unknown_node(node.content, nodes)))
    if len(problems) > count:
        return None
    settings: dict[str, Any] = item.plain()
    try:
        return Edge(**settings)
    except ConfigError as err:
        problems.append(entries.get(err.parameter or "", item).problem(str(err)))
        return None


def _unknown_node(name: str, nodes: set[str]) -> str:
    known = sorted(nodes)
    listed = ", ".join(f"`{shown(node)}`" for node in known[:20])
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return f"there is no node `{shown(name)}`{nearest(name, known)} (nodes: {listed}{more})"
