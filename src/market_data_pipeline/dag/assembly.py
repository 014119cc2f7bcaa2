"""The building of a run: nodes opened, operators put in chains, channels between them."""

from __future__ import annotations

__all__ = ("Assembly", "Port")

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from market_data_pipeline.batch import TIME_MIN
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.chain import Chain, Step, step_of
from market_data_pipeline.dag.checkpoints.session import Session
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.endpoints import RunningSink, RunningSource
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.graph import Dag, Edge, Node
from market_data_pipeline.dag.join_inlet import JoinInlet
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SeveralOperator
from market_data_pipeline.dag.roles import is_join, is_sink, is_source, is_transform
from market_data_pipeline.dag.wiring import are_linked
from market_data_pipeline.errors import NodeError
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

_CHAIN_STEPS_MAX: Final = 64
"""Operators of a chain call one another, and Python's stack is finite."""

Port: TypeAlias = tuple[str, str]


class Assembly:
    """The parts of a graph that runs. There are more of them the more nodes are open.

    Threads that show a run may look at it at any time.

    Args:
        dag: The graph.
        clock: Time outside the data.
        session: The checkpoints of the run, None without.

    Attributes:
        accounts: The account of each node, in the order of the graph.
        channels: The channels, by reading node and port read from.
        fan_ins: What reads several channels as one, by node.
        sources: The sources.
        sinks: The sinks.
        chains: The operators, by task.
    """

    def __init__(self, dag: Dag, clock: Clock, session: Session | None) -> None:
        self.accounts = {node.name: Account(node.name) for node in dag.order()}
        self.channels: dict[tuple[str, Port], Channel] = {}
        self.fan_ins: dict[str, FanIn] = {}
        self.sources: list[RunningSource] = []
        self.sinks: list[RunningSink] = []
        self.chains: list[Chain] = []
        self._dag = dag
        self._clock = clock
        self._session = session

    async def open(
        self, symbols: SymbolTable, columns: Mapping[str, frozenset[str] | None]
    ) -> None:
        """Open every node, and put channels between them.

        Args:
            symbols: The symbol table of the run.
            columns: What somebody reads of each source, None for all.

        Raises:
            NodeError: If a node cannot be opened; those before it stay open.
        """
        order = self._dag.order()
        known: dict[Port, Schema | None] = {}
        steps: dict[str, Step] = {}
        session = self._session
        for node in order:
            component = node.component
            record = None if session is None else session.record(node.name)
            if session is not None:
                self.accounts[node.name] = session.account(node)
            context = NodeContext(
                node.name,
                symbols,
                self.accounts[node.name],
                self._clock,
                columns.get(node.name),
                self._dag.join_inputs(node, known) if node.input_names else (None, None),
                frozenset(p for p in node.outputs if self._dag.consumers(node.name, p)),
                None if record is None else record.position,
                None if session is None else session.job,
            )
            with boundary(node):
                if is_transform(component) or is_join(component):
                    known.update(self._dag.output_schemas(node, known))
                    steps[node.name] = step_of(node, component, context)
                elif is_source(component):
                    reader = await component.open(context)
                    source = RunningSource(node, reader, context.account)
                    self.sources.append(source)
                    known.update(dict.fromkeys((node.name, port) for port in node.outputs))
                    known[node.name, "out"] = reader.schema
                elif is_sink(component):
                    schema = self._dag.input_schema(node, known)
                    writer = await component.open(context, schema)
                    inlet = self._inlet(node)
                    self.sinks.append(RunningSink(node, writer, context.account, inlet))
        self._make_chains(order, steps)
        self._connect(steps)

    def dropped_before(self, node: str) -> int:
        """Return the rows shed in front of a node before the barrier it has come to."""
        channels = [channel for (reader, _), channel in self.channels.items() if reader == node]
        return sum(channel.dropped_before for channel in channels)

    async def abort(self, err: BaseException) -> None:
        """Leave nothing half-written of a run that failed; what fails besides is noted."""
        for sink in self.sinks:
            if not sink.published:
                try:
                    with boundary(sink.node):
                        await sink.writer.abort()
                except NodeError as second:
                    err.add_note(f"cleaning up `{sink.node.name}` failed too: {second}")

    async def close(self, err: BaseException | None) -> None:
        """Close every source, whatever closing another one may raise.

        Args:
            err: What the run failed of, which takes note of what fails here; or None.

        Raises:
            NodeError: If a source cannot be closed, and the run has not failed.
        """
        failed: NodeError | None = None
        for source in self.sources:
            try:
                with boundary(source.node):
                    await source.reader.close()
            except NodeError as second:
                failed = failed or second
                if err is not None:
                    err.add_note(f"closing `{source.node.name}` failed too: {second}")
        if err is None and failed is not None:
            raise failed

    def _inlet(self, node: Node) -> Channel | FanIn | JoinInlet:
        channels: dict[str, Channel] = {}
        names = node.input_names
        edges = sorted(node.inputs, key=lambda e: names.index(e.into)) if names else node.inputs
        for edge in edges:
            channel = Channel(rows_max=edge.rows, bytes_max=edge.bytes, policy=edge.policy)
            self.channels[node.name, (edge.node, edge.port)] = channel
            channels[f"{edge.node}.{edge.port}"] = channel
        if len(channels) == 1:
            return next(iter(channels.values()))
        bounded = not are_linked(self._dag, node)
        if names:
            return JoinInlet(list(channels.values()), bounded=bounded)
        fan_in = FanIn(list(channels.values()), bounded=bounded, names=list(channels))
        self.fan_ins[node.name] = fan_in
        return fan_in

    def _make_chains(self, order: Sequence[Node], steps: Mapping[str, Step]) -> None:
        chain_of: dict[str, Chain] = {}
        for node in order:
            if node.name not in steps:
                continue
            step = steps[node.name]
            edge = node.inputs[0]
            before = chain_of.get(edge.node)
            if (
                before is not None
                and len(node.inputs) == 1
                and edge == Edge(edge.node)
                and len(self._dag.consumers(edge.node, "out")) == 1
                and before.steps[-1].node.name == edge.node
                and not step.is_async
                and not before.steps[-1].is_async
                and not isinstance(step.operator, SeveralOperator)
                and len(before.steps) < _CHAIN_STEPS_MAX
            ):
                before.steps.append(step)
                chain_of[node.name] = before
                continue
            chain = Chain(self._inlet(node), [step])
            chain_of[node.name] = chain
            self.chains.append(chain)

    def _connect(self, steps: Mapping[str, Step]) -> None:
        sinks = {sink.node.name for sink in self.sinks}
        outlets: dict[str, dict[str, list[Channel]]] = {}
        for (reader, (giver, port)), channel in self.channels.items():
            outlets.setdefault(giver, {}).setdefault(port, []).append(channel)
            # A sink has no use for progress without rows.
            channel.wants_progress = reader not in sinks or reader in self.fan_ins
        for source in self.sources:
            source.outlets = outlets.get(source.node.name, {})
        for name, step in steps.items():
            step.outlets = outlets.get(name, {})
            step.told = dict.fromkeys(step.outlets, TIME_MIN)
