"""What runs a graph: one task per source, per run of operators, and per sink.

Operators that follow one another on `out` without a branch share a task, and a batch
goes through them by function calls; between tasks there is a channel. All tasks are in
one task group: when a node fails the others are cancelled, sinks leave nothing
half-written, and the failure is raised with the node's name. Outputs are published only
after every node has come to its end, so a failure never looks like a clean end.
"""

from __future__ import annotations

__all__ = ("Run", "run_dag")

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import Final, TypeAlias

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.boundary import boundary, first_cause
from market_data_pipeline.dag.chain import Chain, Step, step_of
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.checkpoints.session import Session
from market_data_pipeline.dag.checkpoints.settings import Checkpoint, Resume
from market_data_pipeline.dag.edges import Channel, ChannelStatistics
from market_data_pipeline.dag.endpoints import RunningSink, RunningSource
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.figures import (
    BacklogReader,
    NodeFigures,
    PacedReader,
    Phase,
    TokenReader,
)
from market_data_pipeline.dag.garbage import short_passes
from market_data_pipeline.dag.graph import Dag, Edge, Node, are_linked
from market_data_pipeline.dag.join_inlet import JoinInlet
from market_data_pipeline.dag.messages import (
    END,
    Barrier,
    End,
    Idle,
    Watermark,
)
from market_data_pipeline.dag.metrics import Account, Ledger
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.observing import Reading, figures_of
from market_data_pipeline.dag.pressure import (
    Pressure,
    PressurePublisher,
    PressureWriter,
    ThrottledReader,
)
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.roles import is_join, is_sink, is_source, is_transform
from market_data_pipeline.errors import CheckpointError, NodeError
from market_data_pipeline.records import Schema
from market_data_pipeline.symbols import SymbolTable

_SHARE_LOOP_EVERY_S: Final = 0.02
"""A source that never has to wait lets other tasks run at least this often."""

_REPORT_EVERY_S: Final = 0.1

_CHAIN_STEPS_MAX: Final = 64
"""Operators of a chain call one another, and Python's stack is finite."""

Port: TypeAlias = tuple[str, str]


class Run:
    """A graph while it runs.

    Args:
        dag: The graph.
        clock: Time outside the data; the machine's by default.
        checkpoint: Where checkpoints go; None for what the graph says.
        resume: Which checkpoint to go on from; by default from the newest, if there is one.
        notify: Is told, in words, what the user should know of, as that it goes on from a
            checkpoint.

    Attributes:
        dag: The graph.
        interrupted: True once `stop` was called.
    """

    def __init__(
        self,
        dag: Dag,
        *,
        clock: Clock | None = None,
        checkpoint: Checkpoint | None = None,
        resume: Resume | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.dag = dag
        self.interrupted = False
        self._clock = clock or SystemClock()
        self._symbols = SymbolTable()
        self._accounts = {node.name: Account(node.name) for node in dag.order()}
        self._channels: dict[tuple[str, Port], Channel] = {}
        self._fan_ins: dict[str, FanIn] = {}
        self._sources: list[RunningSource] = []
        self._sinks: list[RunningSink] = []
        self._chains: list[Chain] = []
        self._columns: dict[str, frozenset[str] | None] = {}
        self._phase: Phase = "starting"
        self._failure: NodeError | None = None
        self._began: float | None = None
        self._ended: float | None = None
        settings = checkpoint or dag.checkpoint
        self._session: Session | None = None
        if settings is not None:
            told = notify or (lambda _: None)
            self._session = Session(dag, settings, resume or Resume(), self._clock, told)

    # What can be seen from outside while it runs

    def ledger(self) -> Ledger:
        """Return the accounts as they are now, rows waiting in front of a node included."""
        dropped: dict[str, int] = {}
        # A list is made in one go; threads may ask while the nodes are being opened.
        for (reader, _), channel in list(self._channels.items()):
            dropped[reader] = dropped.get(reader, 0) + channel.statistics().rows_dropped
        return Ledger(
            tuple(
                self._shown(account, dropped.get(name, 0))
                for name, account in self._accounts.items()
            )
        )

    def _shown(self, account: Account, dropped: int) -> Account:
        """Return an account with what happened in front of the node.

        A copy, as threads that look on may ask at the same time.
        """
        fan_in = self._fan_ins.get(account.node)
        shown = replace(
            account,
            rows_in=account.rows_in + dropped,
            queued=0 if fan_in is None else fan_in.held,
            reasons=dict(account.reasons),
            marks=dict(account.marks),
        )
        shown.add("dropped", dropped)
        return shown

    def fraction(self) -> float | None:
        """Return how much of the sources is read, 0 to 1; None if one does not know."""
        known = [source.reader.fraction() for source in self._sources]
        parts = [part for part in known if part is not None]
        return sum(parts) / len(parts) if parts and len(parts) == len(known) else None

    def watermark(self) -> int | None:
        """Return how far event time has come in the operators; None if nowhere yet."""
        marks = [chain.watermark for chain in self._chains]
        low = min(marks, default=TIME_MIN)
        return None if low == TIME_MIN else low

    def covered(self) -> int | None:
        """Return up to which event time the sources were read; None if one gave nothing.

        Once the run is over this is what its outputs cover: sources that were left before
        their end count with their last watermark, the others not at all.
        """
        left = [source.watermark for source in self._sources if not source.ended]
        low = min(left, default=TIME_MAX)
        return None if low == TIME_MIN else low

    def edges(self) -> dict[tuple[str, Port], ChannelStatistics]:
        """Return the statistics of the channels, by reading node and port read from."""
        return {key: channel.statistics() for key, channel in list(self._channels.items())}

    @property
    def phase(self) -> Phase:
        """Where the run is: starting, running, ended or failed."""
        return self._phase

    def seconds(self) -> float:
        """Return how long it has run, until its end where it is over."""
        if self._began is None:
            return 0.0
        until = self._clock.monotonic() if self._ended is None else self._ended
        return until - self._began

    def pressures(self) -> dict[str, Pressure]:
        """Return how full the sinks are, of those that tell it."""
        return {
            sink.node.name: sink.writer.pressure()
            for sink in self._sinks
            if isinstance(sink.writer, PressureWriter)
        }

    def publishers(self) -> dict[str, PressurePublisher]:
        """Return the sinks that say themselves when their pressure changes."""
        return {
            sink.node.name: sink.writer
            for sink in self._sinks
            if isinstance(sink.writer, PressurePublisher)
        }

    def throttled(self) -> dict[str, ThrottledReader]:
        """Return the sources whose providers can be slowed down."""
        return {
            source.node.name: source.reader
            for source in self._sources
            if isinstance(source.reader, ThrottledReader)
        }

    def nodes(self) -> dict[str, NodeFigures]:
        """Return what is known of the nodes now, in the order of the graph.

        May be called from any thread. Before the sources are open nothing is counted.
        """
        readings: dict[str, Reading] = {}
        for source in self._sources:
            reader, mark = source.reader, source.watermark
            readings[source.node.name] = Reading(
                source.meter,
                mark,
                mark,
                reader.backlog() if isinstance(reader, BacklogReader) else None,
                reader.budget_scale if isinstance(reader, PacedReader) else None,
                reader.pacing_waits if isinstance(reader, TokenReader) else None,
            )
        for chain in self._chains:
            mark = chain.watermark
            for step in chain.steps:
                readings[step.node.name] = Reading(step.meter, mark, step.watermark)
                mark = step.watermark
        for sink in self._sinks:
            readings[sink.node.name] = Reading(sink.meter, sink.meter.watermark)
        return figures_of(
            self.dag,
            readings,
            self.ledger(),
            self.edges(),
            phase=self._phase,
            failure=self._failure,
            now_ns=self._clock.now_ns(),
        )

    def checkpoints(self) -> CheckpointFigures | None:
        """Return how the checkpoints are doing, None in a run without."""
        return None if self._session is None else self._session.figures()

    async def checkpoint(self) -> int:
        """Take a checkpoint now; return its epoch once it is decided.

        Raises:
            CheckpointError: If it does not come about, or the run has none.
        """
        if self._session is None or self._session.figures() is None:
            msg = "a checkpoint needs a run with checkpoints that is under way"
            raise CheckpointError(msg)
        return await self._session.coordinator.checkpoint()

    def stop(self) -> None:
        """Stop reading the sources.

        What was read goes through to the sinks; with checkpoints it is kept, open windows
        stay open, and the next run goes on from there.
        """
        self.interrupted = True
        for source in self._sources:
            source.asked.set()
            source.wake()
        if self._session is not None:
            self._session.stop()

    # Running

    async def run(self, progress: Callable[[Run], None] | None = None) -> RunResult:
        """Run the graph to its end.

        Raises:
            GraphError: If the graph cannot run.
            NodeError: If a node failed; the first one where several did.
            LedgerError: If rows are missing at the end.
        """
        self._began = began = self._clock.monotonic()
        self._columns = self.dag.required_columns(self.dag.validate())
        try:
            await self._begin()
            self._phase = "running"
            if self._session is None or not self._session.is_complete:
                with short_passes():
                    await self._flow(progress)
                self._check_flow()
                for sink in self._sinks:
                    with boundary(sink.node):
                        await sink.writer.finish()
                    sink.published = sink.meter.ended = True
            else:
                await self._stay(self._session)
        except BaseException as err:
            self._phase = "failed"
            if isinstance(err, NodeError):
                self._failure = err
            await self._abort(err)
            await self._close(err)
            raise
        finally:
            self._ended = self._clock.monotonic()
            if self._session is not None:
                await self._session.close()
        await self._close(None)
        self._phase = "ended"
        self._ended = self._clock.monotonic()
        seconds = self._ended - began
        ledger = self.ledger()
        ledger.check(may_hold=self._goes_on)
        complete = self._session is not None and self._session.is_complete
        return RunResult(
            self.dag,
            ledger,
            seconds,
            self.interrupted,
            self.edges(),
            checkpoints=self.checkpoints(),
            was_complete=complete,
        )

    @property
    def _goes_on(self) -> bool:
        """True if what is held is in a checkpoint that the next run goes on from."""
        return self.interrupted and self._session is not None

    async def _begin(self) -> None:
        """Open all nodes; with checkpoints, put them where they stood."""
        if self._session is not None:
            await self._session.open(self._symbols)
        for node in self.dag.order():
            known = self._session is not None and self._session.is_known(node.name)
            if is_sink(node.component) and not known:
                try:
                    node.component.check()
                except Exception as err:
                    # It is raised as it is: nothing ran. The figures are to name the node.
                    self._failure = NodeError(node.name, err)
                    self._failure.__cause__ = err
                    raise
        await self._open()
        if self._session is not None:
            for source in self._sources:
                self._session.check_reader(source.node, source.reader)
            for sink in self._sinks:
                self._session.check_writer(sink.node, sink.writer)
            self._session.restore(self._sources, self._chains, self._sinks)
            await self._session.settle(self._sources, self._chains, self._sinks, self._dropped)
        if self.interrupted:
            self.stop()

    def _dropped(self, node: str) -> int:
        """Return the rows shed in front of a node before the barrier it has come to."""
        channels = [channel for (reader, _), channel in self._channels.items() if reader == node]
        return sum(channel.dropped_before for channel in channels)

    async def _stay(self, session: Session) -> None:
        """Do nothing more for a job that has come to its end, unless its input went on.

        Raises:
            CheckpointError: If a source has more rows than when the job ended.
        """
        for source in self._sources:
            with boundary(source.node):
                given = await source.reader.read()
            while given is not None and not any(isinstance(i, Batch) and len(i) for _, i in given):
                with boundary(source.node):
                    given = await source.reader.read()
            if given is not None:
                session.refuse_more(source.node.name)
        for sink in self._sinks:
            with boundary(sink.node):
                # Nothing is to be published, so nothing may be put in the place of what is.
                await sink.writer.abort()
            sink.published = sink.meter.ended = True

    def _check_flow(self) -> None:
        """Publish nothing of a run that lost rows; sinks are checked once they are done."""
        sinks = {sink.node.name for sink in self._sinks}
        ledger = Ledger(tuple(a for a in self.ledger().accounts if a.node not in sinks))
        ledger.check(may_hold=self._goes_on)

    async def _abort(self, err: BaseException) -> None:
        for sink in self._sinks:
            if not sink.published:
                try:
                    with boundary(sink.node):
                        await sink.writer.abort()
                except NodeError as second:
                    err.add_note(f"cleaning up `{sink.node.name}` failed too: {second}")

    async def _close(self, err: BaseException | None) -> None:
        """Close every source, whatever closing another one may raise."""
        failed: NodeError | None = None
        for source in self._sources:
            try:
                with boundary(source.node):
                    await source.reader.close()
            except NodeError as second:
                failed = failed or second
                if err is not None:
                    err.add_note(f"closing `{source.node.name}` failed too: {second}")
        if err is None and failed is not None:
            raise failed

    async def _flow(self, progress: Callable[[Run], None] | None) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    *(group.create_task(self._run_sink(sink)) for sink in self._sinks),
                    *(group.create_task(chain.run()) for chain in self._chains),
                ]
                for source in self._sources:
                    source.task = group.create_task(self._run_source(source))
                    workers.append(source.task)
                helpers = []
                if progress is not None:
                    helpers.append(group.create_task(self._report(progress)))
                if self._session is not None:
                    commits = self._session.coordinator.commits
                    helpers += [
                        group.create_task(commits.run(sink))
                        for sink in self._sinks
                        if sink.delivery == "exactly_once"
                    ]
                    helpers.append(group.create_task(self._watch(self._session, workers)))
                    await self._session.coordinator.run()
                    for worker in workers:
                        worker.cancel()  # those of a run that was stopped wait for more
                elif helpers:
                    for worker in workers:
                        await asyncio.wait([worker])
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as errors:
            first = first_cause(errors)
            raise first from first.__cause__
        if progress is not None:
            progress(self)

    @staticmethod
    async def _watch(session: Session, workers: Sequence[asyncio.Task[None]]) -> None:
        for worker in workers:
            await asyncio.wait([worker])
        session.coordinator.finish()

    async def _report(self, progress: Callable[[Run], None]) -> None:
        while True:
            progress(self)
            await self._clock.sleep(_REPORT_EVERY_S)

    async def _run_source(self, source: RunningSource) -> None:
        with boundary(source.node):
            if not source.ended:
                await self._read(source)
            if self._session is not None:
                self._session.coordinator.cut_source(source)
            for channels in source.outlets.values():
                for channel in channels:
                    await channel.send(END)
            source.meter.ended = True

    async def _cut(self, source: RunningSource) -> None:
        """Send the barrier that was asked for; where the run is stopped, wait for one."""
        coordinator = self._session.coordinator if self._session is not None else None
        while coordinator is not None:
            barrier = source.barrier
            if barrier is not None:
                coordinator.cut_source(source)
                for channels in source.outlets.values():
                    for channel in channels:
                        await channel.send(barrier)
            if not self.interrupted:
                return
            if source.barrier is None:
                source.asked.clear()
                await source.asked.wait()

    async def _read(self, source: RunningSource) -> None:
        """Read a source until its end, or until the run is stopped."""
        main = [port for port in source.node.outputs if port not in source.node.side_outputs]
        account, read, monotonic = source.account, source.reader.read, self._clock.monotonic
        meter = source.meter
        shared = monotonic()
        while True:
            if source.barrier is not None or self.interrupted:
                await self._cut(source)
                if self.interrupted:
                    break
            try:
                source.reading = True
                given = await read()
            except asyncio.CancelledError:
                if not source.was_woken():
                    raise
                continue
            finally:
                source.reading = False
            if given is None:
                source.ended = True
                break
            for port, item in given:
                if isinstance(item, Batch) and port in main:
                    account.rows_out += len(item)
                    source.watermark = max(source.watermark, item.watermark)
                    meter.progress = item.progress
                    meter.idle = False
                elif isinstance(item, Watermark) and port in main:
                    source.watermark = max(source.watermark, item.time)
                elif isinstance(item, Idle):
                    meter.idle = True
                for channel in source.outlets.get(port, ()):
                    if not channel.send_nowait(item):
                        meter.block()
                        await channel.send(item)
                        meter.unblock()
            if monotonic() - shared > _SHARE_LOOP_EVERY_S:
                await asyncio.sleep(0)
                shared = monotonic()

    async def _run_sink(self, sink: RunningSink) -> None:
        with boundary(sink.node):
            account, receive, write = sink.account, sink.inlet.receive, sink.writer.write
            meter = sink.meter
            while True:
                message = await receive()
                if isinstance(message, Batch):
                    account.rows_in += len(message)
                    meter.busy_since = began = perf_counter_ns()
                    await write(message)
                    meter.busy_since = 0
                    # As `Meter.took`, without the call: a batch may be one row.
                    spent = perf_counter_ns() - began
                    meter.busy_ns += spent
                    meter.buckets[spent.bit_length()] += 1
                    meter.progress = message.progress
                    meter.idle = False
                elif isinstance(message, Idle):
                    meter.idle = True
                elif isinstance(message, Barrier):
                    if self._session is not None:
                        await self._session.coordinator.cut_sink(sink)
                elif isinstance(message, End):
                    sink.ended = True
                    if self._session is not None:
                        await self._session.coordinator.cut_sink(sink)
                    return

    # Building

    async def _open(self) -> None:
        order = self.dag.order()
        known: dict[Port, Schema | None] = {}
        inlets: dict[str, Channel | FanIn | JoinInlet] = {}
        steps: dict[str, Step] = {}
        session = self._session
        for node in order:
            component = node.component
            record = None if session is None else session.record(node.name)
            if session is not None:
                self._accounts[node.name] = session.account(node)
            context = NodeContext(
                node.name,
                self._symbols,
                self._accounts[node.name],
                self._clock,
                self._columns.get(node.name),
                self.dag.join_inputs(node, known) if node.input_names else (None, None),
                frozenset(p for p in node.outputs if self.dag.consumers(node.name, p)),
                None if record is None else record.position,
                None if session is None else session.job,
            )
            with boundary(node):
                if is_transform(component) or is_join(component):
                    known.update(self.dag.output_schemas(node, known))
                    steps[node.name] = step_of(node, component, context)
                elif is_source(component):
                    reader = await component.open(context)
                    source = RunningSource(node, reader, context.account)
                    self._sources.append(source)
                    known.update(dict.fromkeys((node.name, port) for port in node.outputs))
                    known[node.name, "out"] = reader.schema
                elif is_sink(component):
                    schema = self.dag.input_schema(node, known)
                    writer = await component.open(context, schema)
                    inlets[node.name] = self._inlet(node)
                    self._sinks.append(
                        RunningSink(
                            node,
                            writer,
                            context.account,
                            inlets[node.name],
                        )
                    )
        self._make_chains(order, steps)
        self._connect(steps)

    def _inlet(self, node: Node) -> Channel | FanIn | JoinInlet:
        channels: dict[str, Channel] = {}
        names = node.input_names
        edges = sorted(node.inputs, key=lambda e: names.index(e.into)) if names else node.inputs
        for edge in edges:
            channel = Channel(rows_max=edge.rows, bytes_max=edge.bytes, policy=edge.policy)
            self._channels[node.name, (edge.node, edge.port)] = channel
            channels[f"{edge.node}.{edge.port}"] = channel
        if len(channels) == 1:
            return next(iter(channels.values()))
        bounded = not are_linked(self.dag, node)
        if names:
            return JoinInlet(list(channels.values()), bounded=bounded)
        fan_in = FanIn(list(channels.values()), bounded=bounded, names=list(channels))
        self._fan_ins[node.name] = fan_in
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
                and len(self.dag.consumers(edge.node, "out")) == 1
                and before.steps[-1].node.name == edge.node
                and not step.is_async
                and not before.steps[-1].is_async
                and len(before.steps) < _CHAIN_STEPS_MAX
            ):
                before.steps.append(step)
                chain_of[node.name] = before
                continue
            chain = Chain(self._inlet(node), [step])
            chain_of[node.name] = chain
            self._chains.append(chain)

    def _connect(self, steps: Mapping[str, Step]) -> None:
        sinks = {sink.node.name for sink in self._sinks}
        outlets: dict[str, dict[str, list[Channel]]] = {}
        for (reader, (giver, port)), channel in self._channels.items():
            outlets.setdefault(giver, {}).setdefault(port, []).append(channel)
            # A sink has no use for progress without rows.
            channel.wants_progress = reader not in sinks or reader in self._fan_ins
        for source in self._sources:
            source.outlets = outlets.get(source.node.name, {})
        for name, step in steps.items():
            step.outlets = outlets.get(name, {})
            step.told = dict.fromkeys(step.outlets, TIME_MIN)


async def run_dag(
    dag: Dag,
    *,
    clock: Clock | None = None,
    progress: Callable[[Run], None] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: Resume | None = None,
) -> RunResult:
    """Run a graph to its end, inside a running event loop.

    Args:
        dag: The graph.
        clock: Time outside the data; the machine's by default.
        progress: Called about ten times a second with the run, for display.
        checkpoint: Where checkpoints go; None for what the graph says.
        resume: Which checkpoint to go on from; by default from the newest, if there is one.

    Raises:
        GraphError: If the graph cannot run.
        NodeError: If a node failed.
        LedgerError: If rows are missing at the end.
    """
    return await Run(dag, clock=clock, checkpoint=checkpoint, resume=resume).run(progress)
