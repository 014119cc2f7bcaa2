"""Takes the checkpoints of a run: asks for barriers, gathers what comes of them, decides."""

from __future__ import annotations

__all__ = ("Coordinator", "Participants")

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.chain import Chain
from market_data_pipeline.dag.checkpoints.commits import Commits
from market_data_pipeline.dag.checkpoints.cuts import (
    Cut,
    cut_of_chain,
    cut_of_sink,
    cut_of_source,
    write,
)
from market_data_pipeline.dag.checkpoints.description import describe, hash_of
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.checkpoints.manifest import Manifest, SinkRecord
from market_data_pipeline.dag.checkpoints.retention import Retention
from market_data_pipeline.dag.checkpoints.store import Line, Store
from market_data_pipeline.dag.endpoints import RunningSink, RunningSource
from market_data_pipeline.dag.epochs import EpochWriter, FlushedWriter
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.messages import Barrier
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.errors import (
    CheckpointError,
    CheckpointsInUseError,
    LedgerError,
    NodeError,
    PipelineError,
)
from market_data_pipeline.failpoints import failpoint

_FAILURES_MAX: Final = 3
_UNCOMMITTED_MAX: Final = 2
_RETRY_S: Final = 0.1


@dataclass(slots=True)
class _Round:
    """One checkpoint under way."""

    epoch: int
    began: float
    waiting: set[str] = field(default_factory=set)
    cuts: dict[str, Cut] = field(default_factory=dict)
    staged: list[str] = field(default_factory=list)
    failure: Exception | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def fail(self, err: Exception) -> None:
        self.failure = self.failure or err

    def done(self, who: str) -> None:
        self.waiting.discard(who)
        if not self.waiting:
            self.over.set()


@dataclass(frozen=True, slots=True)
class Participants:
    """Who takes part.

    Attributes:
        sources: The sources.
        chains: The operators.
        sinks: The sinks.
        dropped: Gives the rows shed in front of a node before the barrier that its account
            does not have yet.
    """

    sources: Sequence[RunningSource]
    chains: Sequence[Chain]
    sinks: Sequence[RunningSink]
    dropped: Callable[[str], int]


class Coordinator:
    """Takes checkpoints while a graph runs.

    Args:
        dag: The graph.
        store: Where they go.
        line: The line of life they belong to.
        interval_s: Seconds between two, None for none but those that are asked for.
        clock: Time outside the data.
        resumed_from: The epoch the run went on from, None at the beginning.
    """

    def __init__(
        self,
        dag: Dag,
        store: Store,
        line: Line,
        interval_s: float | None,
        clock: Clock,
        resumed_from: int | None,
    ) -> None:
        self.commits = Commits(store, clock)
        self._store = store
        self._line = line
        self._interval_s = interval_s
        self._clock = clock
        self._graph = describe(dag)
        self._resumed_from = resumed_from
        self._next_epoch = 1
        self._who = Participants((), (), (), lambda _: 0)
        self._round: _Round | None = None
        self._unlisted: list[tuple[str, int]] = []
        self._retention = Retention()
        self._asked = asyncio.Event()
        self._asking: list[asyncio.Future[int]] = []
        self._is_stopping = False
        self._is_finished = False
        self._is_complete = False
        self._failures = self._failed = self._taken = 0
        self._began = self._last_at = clock.monotonic()
        self._last: tuple[Manifest, float] | None = None

    # Outside

    def begin(self, who: Participants, next_epoch: int) -> None:
        """Take the nodes of the run, which are open and stand where they should."""
        self._who = who
        self._next_epoch = next_epoch
        for chain in who.chains:
            chain.on_barrier = self._cut_chain
            chain.on_end = self._end_chain

    def figures(self) -> CheckpointFigures:
        """Return how it goes."""
        told = CheckpointFigures(
            str(self._store),
            self._resumed_from,
            age_s=self._clock.monotonic() - self._last_at,
            taken=self._taken,
            failures=self._failed,
            uncommitted=self.commits.uncommitted,
            delivery={sink.node.name: sink.delivery for sink in self._who.sinks},
        )
        if self._last is None:
            return told
        manifest, seconds = self._last
        return replace(
            told,
            last_epoch=manifest.epoch,
            last_seconds=seconds,
            last_taken_ns=manifest.taken_ns,
            last_bytes=manifest.size,
        )

    async def checkpoint(self) -> int:
        """Take a checkpoint now; return its epoch once it is decided.

        Raises:
            CheckpointError: If it does not come about.
        """
        if self._is_complete:
            msg = "the run has ended, and its last checkpoint is taken"
            raise CheckpointError(msg, path=str(self._store))
        future = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        self._asked.set()
        return int(await future)

    @property
    def came_to_end(self) -> bool:
        """True if the last checkpoint is that of the end of all input."""
        return self._last is not None and self._last[0].complete

    def stop(self) -> None:
        """Take one more checkpoint, and end."""
        self._is_stopping = True
        self._asked.set()

    def finish(self) -> None:
        """Take the last checkpoint: all nodes have come to their end."""
        self._is_finished = True
        self._asked.set()

    async def run(self) -> None:
        """Take checkpoints until the last one is committed.

        Raises:
            CheckpointError: If several in a row did not come about.
        """
        try:
            while not self._is_complete:
                await self._due()
                await self.commits.room(_UNCOMMITTED_MAX - 1)
                is_last = self._is_stopping
                if await self._take() and is_last:
                    break
            self._is_complete = True
            await self.commits.room(0)
            failpoint("final.done")
        finally:
            self._is_complete = True
            self._answer(CheckpointError("the run has ended", path=str(self._store)))

    async def _due(self) -> None:
        """Wait until a checkpoint is to be taken."""
        if self._is_stopping or self._is_finished:
            return
        timer = None
        if self._interval_s is not None:
            waited_s = self._clock.monotonic() - self._last_at
            delay_s = max(0.0, self._interval_s - waited_s)
            timer = asyncio.get_running_loop().call_later(delay_s, self._asked.set)
        try:
            await self._asked.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._asked.clear()

    # One checkpoint

    async def _take(self) -> bool:
        """Take a checkpoint, and tell whether it came about."""
        self._last_at = self._clock.monotonic()
        # Whoever asks while it is taken asks for the next; if it ends the run, all are told.
        asking = tuple(self._asking)
        current = _Round(self._next_epoch, self._last_at)
        self._next_epoch += 1
        manifest = None
        try:
            await self._gather(current)
            await self._list_staged()
            if current.failure is None:
                sinks = {sink.node.name: self._record_of(sink) for sink in self._who.sinks}
                manifest = await in_thread(partial(self._write, current, sinks))
        except (PipelineError, OSError) as err:
            is_over = isinstance(err, NodeError | LedgerError | CheckpointsInUseError)
            if is_over or await self._is_published(current):
                raise
            current.fail(err)
        if manifest is None:
            await self._abort(current, asking)
            self._forget(asking)
            return False
        self._failures, self._taken = 0, self._taken + 1
        self._last = manifest, self._clock.monotonic() - current.began
        self._is_complete = manifest.complete
        self.commits.decide(current.epoch)
        if not self.commits.uncommitted:
            needed = self.commits.needed()
            await in_thread(partial(self._store.prune, needed))
        kept = await in_thread(self._store.decided)
        await self._retention.release(kept[0])
        for future in asking:
            if not future.done():
                future.set_result(current.epoch)
        self._forget(asking)
        return True

    def _forget(self, asking: Sequence[asyncio.Future[int]]) -> None:
        self._asking = [future for future in self._asking if future not in asking]

    async def _is_published(self, current: _Round) -> bool:
        """Tell whether a checkpoint that could not be written may be there all the same."""
        return current.epoch in await in_thread(self._store.decided)

    async def _abort(self, current: _Round, asking: Sequence[asyncio.Future[int]]) -> None:
        """Go on without; what was staged is committed with the next one."""
        self._failures, self._failed = self._failures + 1, self._failed + 1
        await in_thread(partial(self._store.drop_states, current.epoch))
        msg = f"checkpoint {current.epoch} did not come about: {current.failure}"
        err = CheckpointError(msg, path=str(self._store))
        err.__cause__ = current.failure
        if self._failures >= _FAILURES_MAX:
            msg = f"{self._failures} checkpoints in a row did not come about: {current.failure}"
            raise CheckpointError(msg, path=str(self._store)) from current.failure
        for future in asking:
            if not future.done():
                future.set_exception(err)
        if self._is_stopping or self._is_finished:
            await self._clock.sleep(_RETRY_S)

    def _answer(self, err: CheckpointError) -> None:
        for future in self._asking:
            if not future.done():
                future.set_exception(err)

    async def _gather(self, current: _Round) -> None:
        """Send barriers from all sources, and wait until they have come to all sinks."""
        epoch, who = current.epoch, self._who
        epoch_sinks = [s.node.name for s in who.sinks if isinstance(s.writer, EpochWriter)]
        await in_thread(partial(self._make_folders, epoch, epoch_sinks))
        names = [
            *(source.node.name for source in who.sources),
            *(chain.steps[0].node.name for chain in who.chains),
            *(sink.node.name for sink in who.sinks),
        ]
        current.waiting = set(names)
        self._round = current
        ended = [sink for sink in who.sinks if sink.ended]
        for source in who.sources:
            if source.ended:
                self.cut_source(source)
            else:
                source.barrier = Barrier(epoch)
                source.asked.set()
                source.wake()
        for chain in who.chains:
            if chain.ended:
                self._end_chain(chain)
        for sink in ended:
            with boundary(sink.node):
                await self.cut_sink(sink)
        await current.over.wait()
        self._round = None
        self._unlisted += [(sink, epoch) for sink in current.staged]

    def _make_folders(self, epoch: int, sinks: Sequence[str]) -> None:
        self._store.begin(epoch)
        for sink in sinks:
            self._store.outbox(epoch, sink)

    def cut_source(self, source: RunningSource) -> None:
        """Take where a source stands: it is at the barrier, or has ended."""
        current = self._round
        if current is None or source.node.name not in current.waiting:
            return
        source.barrier = None
        source.asked.clear()
        if current.failure is None:
            current.cuts[source.node.name] = cut_of_source(source)
            self._retention.note(current.epoch, [source])
        failpoint("source.cut")
        current.done(source.node.name)

    def _cut_chain(self, chain: Chain, barrier: Barrier) -> None:  # noqa: ARG002
        current = self._round
        if current is None:
            return
        if current.failure is None:
            dropped = {
                step.node.name: self._who.dropped(step.node.name) for step in chain.steps[:1]
            }
            try:
                current.cuts.update(cut_of_chain(chain, dropped))
            except LedgerError:
                raise
            except PipelineError as err:
                current.fail(err)
        failpoint("operator.snapshot")
        current.done(chain.steps[0].node.name)

    def _end_chain(self, chain: Chain) -> None:
        current = self._round
        if current is not None and chain.steps[0].node.name in current.waiting:
            self._cut_chain(chain, Barrier(current.epoch))

    async def cut_sink(self, sink: RunningSink) -> None:
        """Let a sink stage its rows: it is at the barrier, or has ended."""
        current, name = self._round, sink.node.name
        if current is None or name not in current.waiting:
            return
        if current.failure is None:
            try:
                await self._stage(sink, current)
                current.cuts[name] = cut_of_sink(sink, self._who.dropped(name))
            except (LedgerError, NodeError):
                raise
            except (PipelineError, OSError) as err:
                current.fail(err)
        current.done(name)

    async def _stage(self, sink: RunningSink, current: _Round) -> None:
        name, writer = sink.node.name, sink.writer
        failpoint("sink.staging")
        if isinstance(writer, EpochWriter):
            await writer.stage(current.epoch, self._store.outbox_path(current.epoch, name))
            current.staged.append(name)
        elif isinstance(writer, FlushedWriter):
            await writer.flush()
        failpoint("sink.staged")

    async def _list_staged(self) -> None:
        """Look up what was staged, now and in epochs that did not come about."""
        while self._unlisted:
            sink, epoch = self._unlisted[0]
            staged = await in_thread(partial(self._store.staged, epoch, sink))
            del self._unlisted[0]
            if staged is not None:
                self.commits.stage(sink, staged)
        failpoint("outbox.listed")

    def _record_of(self, sink: RunningSink) -> SinkRecord:
        name = sink.node.name
        if sink.delivery == "at_least_once":
            return SinkRecord(sink.delivery, 0, ())
        return SinkRecord(sink.delivery, self.commits.last(name), self.commits.staged(name))

    def _write(self, current: _Round, sinks: Mapping[str, SinkRecord]) -> Manifest:
        """Write all of a checkpoint, the manifest last."""
        written = write(self._store, current.epoch, current.cuts.items())
        gave: dict[str, int] = {}
        for chain in self._who.chains:
            gave.update({node: rows for node, rows in chain.gave_at_end.items() if rows})
        manifest = Manifest(
            self._line.job,
            self._line.lineage,
            self._line.ancestors,
            current.epoch,
            self._clock.now_ns(),
            all(cut.record.ended for cut in current.cuts.values()),
            gave,
            self._graph,
            hash_of(self._graph),
            written.nodes,
            sinks,
            written.files,
        )
        self._store.publish(manifest)
        return manifest
