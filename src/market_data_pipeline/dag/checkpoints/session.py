"""The checkpoints of one run: opened, gone on from, taken, closed."""

from __future__ import annotations

__all__ = ("Session",)

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NoReturn

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.chain import Chain
from market_data_pipeline.dag.checkpoints.commits import commit
from market_data_pipeline.dag.checkpoints.coordinator import Coordinator, Participants
from market_data_pipeline.dag.checkpoints.figures import CheckpointFigures
from market_data_pipeline.dag.checkpoints.manifest import Manifest, NodeRecord, SinkRecord
from market_data_pipeline.dag.checkpoints.recovery import (
    Start,
    States,
    choose,
    fit,
    load_states,
    settle_mark,
)
from market_data_pipeline.dag.checkpoints.settings import Checkpoint, Resume
from market_data_pipeline.dag.checkpoints.stores import store_at
from market_data_pipeline.dag.endpoints import RunningSink, RunningSource
from market_data_pipeline.dag.epochs import EpochMark, EpochWriter, Job, RewindableReader
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.graph import Dag, Node
from market_data_pipeline.dag.inlet import Inlet
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import SinkWriter, SourceReader
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.errors import CheckpointError, GraphError, LedgerError
from market_data_pipeline.failpoints import failpoint
from market_data_pipeline.symbols import SymbolTable

_CLAIM_S: Final = 1.0
_NO_RECORD = SinkRecord("exactly_once", 0, ())


class Session:
    """The checkpoints of one run.

    Args:
        dag: The graph.
        settings: Where they go, and how often.
        resume: Which one to go on from.
        clock: Time outside the data.
        notify: Is told, in words, what the user should know of.
    """

    def __init__(
        self,
        dag: Dag,
        settings: Checkpoint,
        resume: Resume,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._dag = dag
        self._settings = settings
        self._resume = resume
        self._clock = clock
        self._notify = notify
        self.store = store_at(settings.path, clock, retain=settings.retain)
        self._start: Start | None = None
        self._kept: frozenset[str] = frozenset()
        self._states = States()
        self._coordinator: Coordinator | None = None

    # Going on

    async def open(self, symbols: SymbolTable) -> None:
        """Lock the folder, choose what to go on from, and read it.

        Raises:
            CheckpointError: If it cannot be used, or the graph does not fit.
        """
        await self._claim()
        start = await in_thread(partial(choose, self.store, self._dag.name, self._resume))
        failpoint("recovery.chosen")
        self._start = start
        for problem in start.damaged:
            self._notify(problem)
        manifest = start.manifest
        if manifest is None:
            if self._resume.drop_state:
                msg = "there is no checkpoint to go on from, so there is no state to drop"
                raise CheckpointError(msg, path=str(self.store))
            return
        self._kept = fit(manifest, self._dag, self._resume)
        load = partial(load_states, self.store, manifest, self._kept, symbols)
        self._states = await in_thread(load)
        if not manifest.complete:
            taken = datetime.fromtimestamp(manifest.taken_ns / 1e9, UTC)
            at = taken.isoformat(" ", "seconds").removesuffix("+00:00")
            self._notify(
                f"resuming from checkpoint {manifest.epoch} of {self.store}, taken {at} UTC"
            )

    async def _claim(self) -> None:
        """Have the checkpoints to ourselves."""
        told = None
        while (holder := await in_thread(self.store.open)) is not None:
            if told is None:
                self._notify(f"{self.store}: waiting until {holder} is known to be gone")
            told = holder
            await self._clock.sleep(_CLAIM_S)

    @property
    def start(self) -> Start:
        """Where the run begins; known once it is open."""
        assert self._start is not None  # noqa: S101 - asked before `open`
        return self._start

    @property
    def manifest(self) -> Manifest | None:
        """The checkpoint the run goes on from, None at the beginning."""
        return self.start.manifest

    @property
    def is_complete(self) -> bool:
        """True if the job had come to its end."""
        return self.manifest is not None and self.manifest.complete

    @property
    def job(self) -> Job:
        """Whose rows they are."""
        line = self.start.line
        return Job(line.job, line.lineage, line.ancestors)

    @property
    def coordinator(self) -> Coordinator:
        """What takes the checkpoints; there is one once the nodes are restored."""
        assert self._coordinator is not None  # noqa: S101 - asked before `settle`
        return self._coordinator

    def stop(self) -> None:
        """Take one more checkpoint, and end; if the nodes are open."""
        if self._coordinator is not None:
            self._coordinator.stop()

    def figures(self) -> CheckpointFigures | None:
        """Return how it goes, None before all nodes are where they should be."""
        return None if self._coordinator is None else self._coordinator.figures()

    def refuse_more(self, source: str) -> NoReturn:
        """Say why a job that has come to its end does not go on with rows that came later.

        Raises:
            CheckpointError: Always.
        """
        manifest = self.manifest
        gave = {} if manifest is None else manifest.gave_at_end
        listed = ", ".join(f"`{node}` {rows:,}" for node, rows in gave.items())
        why = f", and its operators gave what they held ({listed} rows)" if listed else ""
        msg = (
            f"the job came to its end at checkpoint {manifest.epoch if manifest else 0}{why}; "
            f"`{source}` has more rows now. To read all of it again use `--from-scratch`; "
            f"a job that is to go on must be stopped (Ctrl-C) rather than end"
        )
        raise CheckpointError(msg, path=str(self.store))

    def is_known(self, sink: str) -> bool:
        """Tell whether a sink has been part of this line of life before."""
        return self.manifest is not None and sink in self.manifest.sinks

    def record(self, node: str) -> NodeRecord | None:
        """Return what is kept of a node, None if it begins anew."""
        if self.manifest is None or node not in self._kept:
            return None
        return self.manifest.nodes[node]

    def account(self, node: Node) -> Account:
        """Return the account that a node goes on with."""
        before = None if self.manifest is None else self.manifest.nodes.get(node.name)
        if before is None or (node.kind == "source" and node.name not in self._kept):
            return Account(node.name)
        told = before.account
        account = replace(told, held=0, reasons=dict(told.reasons), marks=dict(told.marks))
        if node.name not in self._kept:
            account.add("dropped", told.held)
        return account

    def check_reader(self, node: Node, reader: SourceReader) -> None:
        """Do nothing if a source can be opened again where it stood.

        Raises:
            GraphError: If it cannot.
        """
        if not isinstance(reader, RewindableReader):
            msg = (
                f"`{node.name}` cannot be read again from where it stood, so a run with "
                f"checkpoints would lose what it gave before a crash; put a journal behind it, "
                f"which keeps what came in, or run without `checkpoint`"
            )
            raise GraphError(msg, node=node.name)

    def check_writer(self, node: Node, writer: SinkWriter) -> None:
        """Do nothing if what was written before a checkpoint is there after a crash.

        Raises:
            GraphError: If it is not: the next run would not write it again.
        """
        if getattr(writer, "shows_at_end", False) and not isinstance(writer, EpochWriter):
            msg = (
                f"`{node.name}` shows its rows at the end of a run only, so a crash would lose "
                f"what came before the last checkpoint; use a sink that commits epochs, as "
                f"`postgres`, or run without `checkpoint`"
            )
            raise GraphError(msg, node=node.name)

    def restore(
        self,
        sources: Sequence[RunningSource],
        chains: Sequence[Chain],
        sinks: Sequence[RunningSink],
    ) -> None:
        """Put sources and operators where the checkpoint has them.

        Raises:
            SnapshotError: If a state is not one of its operator.
            LedgerError: If an operator does not hold the rows it held.
        """
        for source in sources:
            record = self.record(source.node.name)
            if record is not None:
                source.ended = record.ended
                source.watermark = record.progress["watermark"]
        for chain in chains:
            self._restore_chain(chain)
        for sink in sinks:
            self._restore_inlet(sink.node.name, sink.inlet)
        # The operators have them; a second copy would stay for the life of the run.
        self._states = States()
        failpoint("recovery.restored")

    def _restore_chain(self, chain: Chain) -> None:
        records = {step.node.name: self.record(step.node.name) for step in chain.steps}
        known = {name: record for name, record in records.items() if record is not None}
        for step in chain.steps:
            record, name = records[step.node.name], step.node.name
            if record is None:
                continue
            with boundary(step.node):
                snapshot = self._states.snapshots.get(name)
                if snapshot is not None:
                    step.operator.restore(snapshot)
            if step.account.held != record.account.held:
                msg = (
                    f"`{name}` held {record.account.held} rows at checkpoint "
                    f"{self.manifest.epoch if self.manifest else 0}, and holds "
                    f"{step.account.held} now that its state is restored"
                )
                raise LedgerError(msg)
        chain.restore_progress({name: record.progress for name, record in known.items()})
        chain.ended = bool(known) and all(record.ended for record in known.values())
        self._restore_inlet(chain.steps[0].node.name, chain.inlet)

    def _restore_inlet(self, node: str, inlet: object) -> None:
        record = self.record(node)
        told = None if record is None else record.progress.get("inlet")
        if told is None or not isinstance(inlet, Inlet):
            return
        if ("sides" in told) == isinstance(inlet, FanIn):
            return  # it has become another kind of node, and no rows were held
        inlet.restore_progress(told)
        if isinstance(inlet, FanIn):
            inlet.restore_held(told, self._states.held.get(node, {}))

    async def settle(
        self,
        sources: Sequence[RunningSource],
        chains: Sequence[Chain],
        sinks: Sequence[RunningSink],
        dropped: Callable[[str], int],
    ) -> None:
        """Bring the sinks to where the checkpoint is, and delete what is left of later ones.

        Raises:
            CheckpointError: If a sink is somewhere else.
            OutputError: If a sink cannot commit.
        """
        start, manifest = self.start, self.manifest
        coordinator = Coordinator(
            self._dag,
            self.store,
            start.line,
            self._settings.interval_s,
            self._clock,
            None if manifest is None else manifest.epoch,
        )
        highest = max([0, *await in_thread(self.store.epochs)])
        last: dict[str, int] = {}
        others: list[str] = []
        for sink in sinks:
            if isinstance(sink.writer, EpochWriter):
                with boundary(sink.node):
                    mark = await sink.writer.committed()
                name = sink.node.name
                if mark is not None:
                    highest = max(highest, mark.epoch)
                    others.append(mark.lineage)
                has = await self._settle(sink, name, mark)
                # A line that branches off begins to count anew.
                branched = manifest is not None and manifest.lineage != start.line.lineage
                last[name] = 0 if branched else has
        failpoint("recovery.committed")
        if start.is_new:
            known = {*start.line.ancestors, start.line.lineage}
            ancestors = (
                *start.line.ancestors,
                *(o for o in dict.fromkeys(others) if o not in known),
            )
            line = replace(start.line, ancestors=ancestors)
            await in_thread(partial(self.store.write_line, line))
        await in_thread(self._clean)
        failpoint("recovery.cleaned")
        coordinator.commits.begin(start.line.lineage, last)
        coordinator.begin(Participants(sources, chains, sinks, dropped), highest + 1)
        self._coordinator = coordinator

    async def _settle(self, sink: RunningSink, name: str, mark: EpochMark | None) -> int:
        """Commit what a sink lacks; return the last epoch it has."""
        writer, start, manifest = sink.writer, self.start, self.manifest
        assert isinstance(writer, EpochWriter)  # noqa: S101 - looked at before
        if manifest is None:
            known = {*start.line.ancestors, start.line.lineage}
            # What it has of this line was decided, and the checkpoint is not there any more.
            is_lost = mark is not None and mark.lineage == start.line.lineage and mark.epoch > 0
            is_other = mark is not None and mark.lineage not in known
            if mark is not None and (is_lost or (is_other and not self._resume.from_scratch)):
                msg = (
                    f"`{name}` has rows of this job (up to epoch {mark.epoch}), and there is no "
                    f"checkpoint to go on from; name the folder with the checkpoints, or write "
                    f"all rows again with `--from-scratch`"
                )
                raise CheckpointError(msg, path=str(self.store))
            return 0
        record = manifest.sinks.get(name, _NO_RECORD) if name in self._kept else _NO_RECORD
        has = settle_mark(name, record, mark, start, rewind=self._resume.rewind)
        for staged in record.staged:
            if staged.epoch <= has:
                continue
            problems = await in_thread(partial(self.store.staged_problems, staged))
            if problems:
                msg = (
                    f"`{name}` lacks epoch {staged.epoch}, and what it staged is damaged: "
                    f"{problems[0]}; go back with `--from-checkpoint`, or begin again with "
                    f"`--from-scratch`"
                )
                raise CheckpointError(msg, path=str(self.store))
            failpoint("recovery.commit")
            with boundary(sink.node):
                await commit(writer, staged, self.store, start.line.lineage, self._clock)
            has = staged.epoch
        return has

    def _clean(self) -> None:
        """Delete what epochs left behind that never were decided."""
        decided = set(self.store.decided())
        for epoch in self.store.epochs():
            if epoch not in decided:
                self.store.drop_epoch(epoch)

    async def close(self) -> None:
        """Let others have the folder."""
        await in_thread(self.store.close)
