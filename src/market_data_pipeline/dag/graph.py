"""The graph: a pure description of which node reads from which. Nothing runs here."""

from __future__ import annotations

__all__ = ("Dag", "Edge", "Node", "Policy", "input_names")

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.nodes import SelectiveNode
from market_data_pipeline.dag.roles import (
    Component,
    is_component,
    is_join,
    is_source,
    is_transform,
)
from market_data_pipeline.dag.wiring import check_input, check_ports, check_readers
from market_data_pipeline.errors import (
    ConfigError,
    CycleError,
    DuplicateNodeError,
    GraphError,
    SchemaError,
    UnknownNodeError,
    nearest,
)
from market_data_pipeline.records import Schema

Policy: TypeAlias = Literal["block", "drop_oldest", "drop_newest", "conflate"]
Kind: TypeAlias = Literal["source", "operator", "sink"]

DEFAULT_EDGE_ROWS: Final = 262_144
DEFAULT_EDGE_BYTES: Final = 64 * 1024 * 1024
_POLICIES: Final = ("block", "drop_oldest", "drop_newest", "conflate")


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a node reads from, and what happens when it cannot keep up.

    Attributes:
        node: Name of the node read from.
        port: Its output.
        policy: What a full channel does: `block` makes the sender wait; `drop_oldest`
            and `drop_newest` shed rows, counted; `conflate` keeps the latest row of each
            key (with more keys than room, the oldest rows go) and is refused for rows such
            as trades whose every row counts.
        rows: Capacity in rows, > 0.
        bytes: Capacity in bytes, > 0; a single larger row passes alone.
        into: The input it feeds of a node whose inputs have names, as those of a join;
            empty for other nodes.
    """

    node: str
    port: str = "out"
    policy: Policy = "block"
    rows: int = DEFAULT_EDGE_ROWS
    bytes: int = DEFAULT_EDGE_BYTES
    into: str = ""

    def __post_init__(self) -> None:
        if self.policy not in _POLICIES:
            names = ", ".join(f"`{name}`" for name in _POLICIES)
            hint = nearest(str(self.policy), _POLICIES)
            msg = f"`policy` must be one of {names}, was `{self.policy}`{hint}"
            raise ConfigError(msg, parameter="policy")
        for name, value in (("rows", self.rows), ("bytes", self.bytes)):
            if value <= 0:
                msg = f"`{name}` of an edge must be positive, was {value}"
                raise ConfigError(msg, parameter=name)


@dataclass(frozen=True, slots=True)
class Node:
    """A component with a name and inputs.

    Attributes:
        name: Unique in the graph.
        component: The settings; makes the running half.
        inputs: The edges it reads; rows of several are merged by event time, unless they
            feed inputs with names.
    """

    name: str
    component: Component
    inputs: tuple[Edge, ...] = ()

    @property
    def kind(self) -> Kind:
        """What the node is."""
        if is_transform(self.component) or is_join(self.component):
            return "operator"
        return "source" if is_source(self.component) else "sink"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The output ports; a sink has none."""
        ports: tuple[str, ...] = getattr(self.component, "outputs", ())
        return () if self.kind == "sink" else ports

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of its inputs; empty where all edges feed one input."""
        return input_names(self.component)

    @property
    def side_outputs(self) -> tuple[str, ...]:
        """Output ports that may be left unconnected."""
        ports: tuple[str, ...] = getattr(self.component, "side_outputs", ())
        return () if self.kind == "sink" else ports


def input_names(component: object) -> tuple[str, ...]:
    """Return the names of the inputs of a component or its class; empty for one input."""
    names: tuple[str, ...] = getattr(component, "inputs", ())
    return names


class Dag:
    """A directed acyclic graph of sources, operators and sinks.

    Attributes:
        name: What the pipeline is called.
        checkpoint: Where its runs keep checkpoints; None for none.
    """

    def __init__(self, name: str = "pipeline", *, checkpoint: Checkpoint | None = None) -> None:
        self.name = name
        self.checkpoint = checkpoint
        self._nodes: dict[str, Node] = {}

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name, in the order they were added."""
        return self._nodes

    def add(
        self, component: object, *, name: str | None = None, inputs: Sequence[Edge] = ()
    ) -> Node:
        """Add a node.

        Args:
            component: Its settings.
            name: Its name; None to make one from the component's type.
            inputs: What it reads.

        Raises:
            DuplicateNodeError: If the name is taken.
            ConfigError: If the name cannot be one, or `component` is no component.
        """
        if not is_component(component):
            msg = f"a node needs a source, an operator or a sink, was {component!r}"
            raise ConfigError(msg)
        name = self._free_name(type_name_of(component)) if name is None else name
        if not name or "." in name or name != name.strip():
            msg = f"a node name must not be empty or hold a dot or outer spaces, was `{name}`"
            raise ConfigError(msg, parameter="name")
        if name in self._nodes:
            msg = f"there are two nodes named `{name}`; give one another name"
            raise DuplicateNodeError(msg, node=name)
        node = Node(name, component, tuple(inputs))
        self._nodes[name] = node
        return node

    def _free_name(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._nodes:
            number += 1
            name = f"{stem}_{number}"
        return name

    def consumers(self, node: str, port: str | None = None) -> list[tuple[Node, Edge]]:
        """Return who reads a node, or one port of it, in the order of the graph."""
        return [
            (reader, edge)
            for reader in self._nodes.values()
            for edge in reader.inputs
            if edge.node == node and port in {None, edge.port}
        ]

    def order(self) -> list[Node]:
        """Return the nodes so that each comes after those it reads.

        Raises:
            CycleError: If there is no such order.
            UnknownNodeError: If an edge names a node that is not there.
        """
        done: dict[str, Node] = {}
        # By hand rather than by recursion, which long chains would exhaust: the path from
        # a root down, and for each node on it the edges not yet followed.
        for root in self._nodes.values():
            path: dict[str, Iterator[Edge]] = {}
            if root.name not in done:
                path[root.name] = iter(root.inputs)
            while path:
                name, edges = next(reversed(path.items()))
                edge = next(edges, None)
                if edge is None:
                    del path[name]
                    done[name] = self._nodes[name]
                elif edge.node not in self._nodes:
                    raise UnknownNodeError(edge.node, self._nodes, node=name)
                elif edge.node in path:
                    names = list(path)
                    # Each node on the path reads the next; data flows the other way.
                    raise CycleError([*names[names.index(edge.node) :], edge.node])
                elif edge.node not in done:
                    path[edge.node] = iter(self._nodes[edge.node].inputs)
        return list(done.values())

    def validate(self) -> dict[tuple[str, str], Schema | None]:
        """Find what would keep the graph from running, before anything runs.

        Returns:
            The columns on each output, as `schemas` does.

        Raises:
            GraphError: For cycles, unknown nodes and ports, nodes without input or
                reader, policies that would lose what must not be lost, and columns
                that do not fit as far as they are known.
            InputError: If an input is missing or cannot be read.
        """
        if not self._nodes:
            msg = f"the graph `{self.name}` has no nodes; add a source and a sink"
            raise GraphError(msg)
        order = self.order()
        for node in order:
            check_ports(node, self._nodes)
        # A node that forgot its input is why another has no reader.
        for node in order:
            check_input(node)
        for node in order:
            check_readers(node, {edge.port for _, edge in self.consumers(node.name)})
        return self.schemas()

    def schemas(self) -> dict[tuple[str, str], Schema | None]:
        """Return the columns on each output, by (node, port); None where unknowable.

        Raises:
            SchemaError: If a node lacks a column, or the inputs of one differ.
            GraphError: If an edge conflates rows that must not be conflated.
        """
        known: dict[tuple[str, str], Schema | None] = {}
        for node in self.order():
            known.update(self.output_schemas(node, known))
        return known

    def output_schemas(
        self, node: Node, known: Mapping[tuple[str, str], Schema | None]
    ) -> dict[tuple[str, str], Schema | None]:
        """Return the columns on the outputs of one node, given those before it.

        Raises:
            SchemaError: If the node lacks a column, or its inputs differ.
            GraphError: If an edge conflates rows that must not be conflated.
        """
        component = node.component
        given: Mapping[str, Schema | None] = {}
        if is_transform(component):
            schema = self.input_schema(node, known)
            if schema is not None:
                with _named(node):
                    given = component.output_schemas(schema)
        elif is_join(component):
            _check_conflation(node, known)
            left, right = self.join_inputs(node, known)
            if left is not None and right is not None:
                with _named(node):
                    given = component.join_schemas(left, right)
        elif is_source(component):
            given = {"out": component.schema()}
        else:
            self.input_schema(node, known)
        return {(node.name, port): given.get(port) for port in node.outputs}

    @staticmethod
    def join_inputs(
        node: Node, known: Mapping[tuple[str, str], Schema | None]
    ) -> tuple[Schema | None, Schema | None]:
        """Return the columns of the first and second input of a join, None if unknown."""
        fed = {edge.into: known.get((edge.node, edge.port)) for edge in node.inputs}
        left, right = (fed.get(name) for name in node.input_names)
        return left, right

    def input_schema(
        self, node: Node, known: Mapping[tuple[str, str], Schema | None]
    ) -> Schema | None:
        """Return the columns that a node reads, None if unknown.

        Raises:
            SchemaError: If its inputs differ.
            GraphError: If an edge conflates rows that must not be conflated.
        """
        _check_conflation(node, known)
        schemas = [(edge, known.get((edge.node, edge.port))) for edge in node.inputs]
        first_edge, first = schemas[0]
        for edge, schema in schemas[1:]:
            if first is not None and schema is not None and schema != first:
                msg = (
                    f"node `{node.name}` reads `{first_edge.node}` ({_columns(first)}) and "
                    f"`{edge.node}` ({_columns(schema)}), which do not have the same columns; "
                    f"bring them to the same with `select`"
                )
                raise SchemaError(msg, node=node.name)
        return first if len(schemas) == 1 or all(s is not None for _, s in schemas) else None

    def required_columns(
        self, known: Mapping[tuple[str, str], Schema | None] | None = None
    ) -> dict[str, frozenset[str] | None]:
        """Return the columns somebody reads from each source, by its name; None for all.

        Args:
            known: The columns on each output, as `schemas` gives them, if they are known:
                some columns are only read where another is there.
        """
        known = known or {}
        wanted: dict[tuple[str, str], frozenset[str] | None] = {}
        for node in reversed(self.order()):
            if node.kind == "source":
                continue
            needs: frozenset[str] | None = None
            # A side output carries rows as they came in, with all their columns.
            sides = any((node.name, port) in wanted for port in node.side_outputs)
            if is_transform(node.component) and not sides:
                needs = node.component.required_columns(self._wanted_of(node, wanted))
                schema = self.input_schema(node, known)
                if needs is not None and schema is not None:
                    needs = _selected(node.component, needs, schema)
            of_input: dict[str, frozenset[str] | None] = {}
            if is_join(node.component) and not sides:
                both = node.component.required_inputs(self._wanted_of(node, wanted))
                of_input = dict(zip(node.component.inputs, both, strict=True))
            for edge in node.inputs:
                key = (edge.node, edge.port)
                own = of_input.get(edge.into, needs)
                wanted[key] = _both(wanted[key], own) if key in wanted else own
        return {
            node.name: wanted.get((node.name, "out"))
            for node in self._nodes.values()
            if node.kind == "source"
        }

    @staticmethod
    def _wanted_of(
        node: Node, wanted: Mapping[tuple[str, str], frozenset[str] | None]
    ) -> frozenset[str] | None:
        """Return the columns that somebody wants of the outputs."""
        total: frozenset[str] | None = frozenset()
        for port in node.outputs:
            if (node.name, port) in wanted:
                total = _both(total, wanted[node.name, port])
        return total


def _selected(component: Component, needs: frozenset[str], schema: Schema) -> frozenset[str]:
    if isinstance(component, SelectiveNode):
        return component.select_columns(needs, schema)
    return needs


@contextmanager
def _named(node: Node) -> Iterator[None]:
    """Say at which node columns are missing."""
    try:
        yield
    except SchemaError as err:
        msg = f"node `{node.name}`: {err}"
        raise SchemaError(msg, node=node.name) from err


def _check_conflation(node: Node, known: Mapping[tuple[str, str], Schema | None]) -> None:
    for edge in node.inputs:
        schema = known.get((edge.node, edge.port))
        if edge.policy == "conflate" and schema is not None and not schema.conflatable:
            msg = (
                f"the edge from `{edge.node}` to `{node.name}` conflates {schema.name} rows, "
                f"of which every row counts; use `block`, `drop_oldest` or `drop_newest`"
            )
            raise GraphError(msg, node=node.name)


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    return None if a is None or b is None else a | b


def _columns(schema: Schema) -> str:
    return ", ".join(str(field) for field in schema)
