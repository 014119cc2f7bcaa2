"""What a node gives at a barrier, and the files and records made of it."""

from __future__ import annotations

__all__ = ("Cut", "Written", "account_at", "cut_of_chain", "cut_of_sink", "cut_of_source", "write")

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from market_data_pipeline.dag.chain import Chain, Step
from market_data_pipeline.dag.checkpoints.files import FileRecord
from market_data_pipeline.dag.checkpoints.held import Held, write_held
from market_data_pipeline.dag.checkpoints.manifest import NodeRecord
from market_data_pipeline.dag.checkpoints.snapshots import copied, write_snapshot
from market_data_pipeline.dag.checkpoints.store import Store
from market_data_pipeline.dag.edges import Channel
from market_data_pipeline.dag.endpoints import RunningSink, RunningSource
from market_data_pipeline.dag.epochs import RewindableReader
from market_data_pipeline.dag.fanin import FanIn
from market_data_pipeline.dag.inlet import Inlet
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Cut:
    """What is kept of a node, before it is written."""

    record: NodeRecord
    snapshot: Snapshot | None = None
    held: Held = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """The records of nodes, and the files they name."""

    nodes: Mapping[str, NodeRecord]
    files: Mapping[str, FileRecord]


def account_at(account: Account, dropped: int) -> Account:
    """Return an account as it is at a barrier.

    Args:
        account: The account.
        dropped: Rows shed in front of the node before the barrier, not counted in it yet.
    """
    copy = replace(account, reasons=dict(account.reasons), marks=dict(account.marks), queued=0)
    copy.rows_in += dropped
    copy.add("dropped", dropped)
    if copy.unaccounted:
        msg = f"the ledger does not balance at a checkpoint: `{copy.node}` by {copy.unaccounted}"
        raise LedgerError(msg)
    return copy


def cut_of_source(source: RunningSource) -> Cut:
    """Return where a source stands."""
    assert isinstance(source.reader, RewindableReader)  # noqa: S101 - others were refused
    account = account_at(source.account, 0)
    position = source.reader.position()
    progress = {"watermark": source.watermark}
    return Cut(NodeRecord(source.ended, account, progress, position))


def cut_of_chain(chain: Chain, dropped: Mapping[str, int]) -> dict[str, Cut]:
    """Return the state of each operator of a chain.

    Args:
        chain: The chain.
        dropped: Rows shed in front of each node and not counted yet.
    """
    return {
        step.node.name: _cut_of_step(chain, at, step, dropped.get(step.node.name, 0))
        for at, step in enumerate(chain.steps)
    }


def _cut_of_step(chain: Chain, at: int, step: Step, dropped: int) -> Cut:
    progress = chain.progress_of(at)
    held: Held = {}
    if not at:
        more, held = _of_inlet(chain.inlet)
        progress.update(more)
    snapshot = None if chain.ended else copied(step.operator.snapshot())
    if snapshot is not None and not (snapshot.keyed or snapshot.scalars):
        snapshot = None
    account = account_at(step.account, dropped)  # taking a snapshot may have settled it
    return Cut(NodeRecord(chain.ended, account, progress), snapshot, held)


def cut_of_sink(sink: RunningSink, dropped: int) -> Cut:
    """Return what the engine knows of a sink."""
    progress, held = _of_inlet(sink.inlet)
    return Cut(NodeRecord(sink.ended, account_at(sink.account, dropped), progress), None, held)


def _of_inlet(inlet: Channel | Inlet[Any]) -> tuple[dict[str, Any], Held]:
    if not isinstance(inlet, Inlet):
        return {}, {}
    held = inlet.held_rows() if isinstance(inlet, FanIn) else {}
    return {"inlet": inlet.progress()}, {name: parts for name, parts in held.items() if parts}


def write(store: Store, epoch: int, cuts: Iterable[tuple[str, Cut]]) -> Written:
    """Write the states of nodes.

    Raises:
        SnapshotError: If a state cannot be written down.
        OSError: If the disk does not take it.
    """
    nodes, files = {}, {}
    for name, cut in cuts:
        record = cut.record
        if cut.snapshot is not None:
            writer = partial(write_snapshot, snapshot=cut.snapshot)
            file, written = store.write_state(epoch, name, "", writer)
            record, files[file] = replace(record, state=file), written
        if cut.held:
            file, written = store.write_state(
                epoch, name, ".held", partial(write_held, held=cut.held)
            )
            record, files[file] = replace(record, held=file), written
        nodes[name] = record
    return Written(nodes, files)
