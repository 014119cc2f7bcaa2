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
from typing import Final

from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.assembly import Assembly, Port
from market_data_pipeline.dag.boundary import boundary, first_cause
from market_data_pipeline.dag.channel_statistics import ChannelStatistics
from market_data_pipeline.dag.checkpoints.coordinator import Coordinator
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.checkpoints.session import Session
from market_data_pipeline.dag.checkpoints.settings import Checkpoint, Resume
from market_data_pipeline.dag.epochs import EpochWriter
from market_data_pipeline.dag.figures import NodeFigures, Phase
from market_data_pipeline.dag.garbage import short_passes
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.metrics import Ledger
from market_data_pipeline.dag.observing import figures_of, ledger_of, readings_of
from market_data_pipeline.dag.pressure import (
    Pressure,
    PressurePublisher,
    PressureWriter,
    ThrottledReader,
)
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.roles import is_sink
from market_data_pipeline.dag.sink_task import run_sink
from market_data_pipeline.dag.source_task import run_source
from market_data_pipeline.errors import CheckpointError, LedgerError, NodeError
from market_data_pipeline.symbols import SymbolTable

_REPORT_EVERY_S: Final = 0.1


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
        self._phase: Phase = "starting"
        self._failure: NodeError | None = None
        self._began: float | None = None
        self._ended: float | None = None
        settings = checkpoint or dag.checkpoint
        self._session: Session | None = None
        if settings is not None:
            told = notify or (lambda _: None)
            self._session = Session(dag, settings, resume or Resume(), self._clock, told)
        self._parts = Assembly(dag, self._clock, self._session)

    # What can be seen from outside while it runs

    def ledger(self) -> Ledger:
        """Return the accounts as they are now, rows waiting in front of a node included."""
        return ledger_of(self._parts)

    def fraction(self) -> float | None:
        """Return how much of the sources is read, 0 to 1; None if one does not know."""
        known = [source.reader.fraction() for source in self._parts.sources]
        parts = [part for part in known if part is not None]
        return sum(parts) / len(parts) if parts and len(parts) == len(known) else None

    def watermark(self) -> int | None:
        """Return how far event time has come in the operators; None if nowhere yet."""
        marks = [chain.watermark for chain in self._parts.chains]
        low = min(marks, default=TIME_MIN)
        return None if low == TIME_MIN else low

    def covered(self) -> int | None:
        """Return up to which event time the sources were read; None if one gave nothing.

        Once the run is over this is what its outputs cover: sources that were left before
        their end count with their last watermark, the others not at all.
        """
        left = [source.watermark for source in self._parts.sources if not source.ended]
        low = min(left, default=TIME_MAX)
        return None if low == TIME_MIN else low

    def edges(self) -> dict[tuple[str, Port], ChannelStatistics]:
        """Return the statistics of the channels, by reading node and port read from."""
        return {key: channel.statistics() for key, channel in list(self._parts.channels.items())}

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
            for sink in self._parts.sinks
            if isinstance(sink.writer, PressureWriter)
        }

    def publishers(self) -> dict[str, PressurePublisher]:
        """Return the sinks that say themselves when their pressure changes."""
        return {
            sink.node.name: sink.writer
            for sink in self._parts.sinks
            if isinstance(sink.writer, PressurePublisher)
        }

    def throttled(self) -> dict[str, ThrottledReader]:
        """Return the sources whose providers can be slowed down."""
        return {
            source.node.name: source.reader
            for source in self._parts.sources
            if isinstance(source.reader, ThrottledReader)
        }

    def nodes(self) -> dict[str, NodeFigures]:
        """Return what is known of the nodes now, in the order of the graph.

        May be called from any thread. Before the sources are open nothing is counted.
        """
        return figures_of(
            self.dag,
            readings_of(self._parts),
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
        for source in self._parts.sources:
            source.stopped = True
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
        columns = self.dag.required_columns(self.dag.validate())
        try:
            await self._begin(columns)
            self._phase = "running"
            if self._session is None or not self._session.is_complete:
                with short_passes():
                    await self._flow(progress)
                self._check_flow()
                for sink in self._parts.sinks:
                    with boundary(sink.node):
                        await sink.writer.finish()
                    sink.published = sink.meter.ended = True
            else:
                await self._stay(self._session)
        except BaseException as err:
            self._phase = "failed"
            if isinstance(err, NodeError):
                self._failure = err
            await self._parts.abort(err)
            await self._parts.close(err)
            raise
        finally:
            self._ended = self._clock.monotonic()
            if self._session is not None:
                await self._session.close()
        try:
            await self._parts.close(None)
            ledger = self.ledger()
            ledger.check(may_hold=self._goes_on)
        except (NodeError, LedgerError) as err:
            self._phase = "failed"
            self._failure = err if isinstance(err, NodeError) else None
            raise
        self._phase = "ended"
        self._ended = self._clock.monotonic()
        seconds = self._ended - began
        complete = self._session is not None and self._session.is_complete
        return RunResult(
            self.dag,
            ledger,
            seconds,
            self.interrupted and not self._came_to_end,
            self.edges(),
            checkpoints=self.checkpoints(),
            was_complete=complete,
        )

    @property
    def _goes_on(self) -> bool:
        """True if what is held is in a checkpoint that the next run goes on from."""
        return self.interrupted and self._session is not None

    @property
    def _came_to_end(self) -> bool:
        """True if a stop came too late to cut anything short."""
        if self._session is None:
            return all(source.ended for source in self._parts.sources)
        return self._session.coordinator.came_to_end

    async def _begin(self, columns: Mapping[str, frozenset[str] | None]) -> None:
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
        await self._parts.open(self._symbols, columns)
        if self._session is not None:
            for source in self._parts.sources:
                self._session.check_reader(source.node, source.reader)
            for sink in self._parts.sinks:
                self._session.check_writer(sink.node, sink.writer)
            parts = self._parts
            self._session.restore(parts.sources, parts.chains, parts.sinks)
            await self._session.settle(
                parts.sources, parts.chains, parts.sinks, parts.dropped_before
            )
        if self.interrupted:
            self.stop()

    async def _stay(self, session: Session) -> None:
        """Read nothing for a job that has come to its end, unless its input went on.

        Raises:
            CheckpointError: If a source has more rows than when the job ended.
            NodeError: If a sink cannot do what belongs to the end.
        """
        for source in self._parts.sources:
            with boundary(source.node):
                given = await source.reader.read()
            while given is not None and not any(isinstance(i, Batch) and len(i) for _, i in given):
                with boundary(source.node):
                    given = await source.reader.read()
            if given is not None:
                session.refuse_more(source.node.name)
        for sink in self._parts.sinks:
            with boundary(sink.node):
                if isinstance(sink.writer, EpochWriter):
                    # The run that came to the end may have died before it had published.
                    await sink.writer.finish()
                else:
                    # It has no rows, so nothing may be put in the place of what is there.
                    await sink.writer.abort()
            sink.published = sink.meter.ended = True

    def _check_flow(self) -> None:
        """Publish nothing of a run that lost rows; sinks are checked once they are done."""
        sinks = {sink.node.name for sink in self._parts.sinks}
        ledger = Ledger(tuple(a for a in self.ledger().accounts if a.node not in sinks))
        ledger.check(may_hold=self._goes_on)

    async def _flow(self, progress: Callable[[Run], None] | None) -> None:
        coordinator = None if self._session is None else self._session.coordinator
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    *(
                        group.create_task(run_sink(sink, coordinator))
                        for sink in self._parts.sinks
                    ),
                    *(group.create_task(chain.run()) for chain in self._parts.chains),
                ]
                for source in self._parts.sources:
                    source.task = group.create_task(run_source(source, self._clock, coordinator))
                    workers.append(source.task)
                helpers = []
                if progress is not None:
                    helpers.append(group.create_task(self._report(progress)))
                if coordinator is not None:
                    helpers += [
                        group.create_task(coordinator.commits.run(sink))
                        for sink in self._parts.sinks
                        if sink.delivery == "exactly_once"
                    ]
                    helpers.append(group.create_task(self._watch(coordinator, workers)))
                    await coordinator.run()
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
    async def _watch(coordinator: Coordinator, workers: Sequence[asyncio.Task[None]]) -> None:
        for worker in workers:
            await asyncio.wait([worker])
        coordinator.finish()

    async def _report(self, progress: Callable[[Run], None]) -> None:
        while True:
            progress(self)
            await self._clock.sleep(_REPORT_EVERY_S)


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
