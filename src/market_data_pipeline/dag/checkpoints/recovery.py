"""Which checkpoint a run goes on from, and whether its graph still fits."""

from __future__ import annotations

__all__ = ("States", "Start", "choose", "fit", "load_states", "settle_mark")

from collections.abc import Mapping
from dataclasses import dataclass, field

from market_data_pipeline.dag.checkpoints.arrow_files import read_arrow
from market_data_pipeline.dag.checkpoints.description import NodeDescription, describe
from market_data_pipeline.dag.checkpoints.held import Held, read_held
from market_data_pipeline.dag.checkpoints.manifest import Manifest, SinkRecord
from market_data_pipeline.dag.checkpoints.settings import Resume
from market_data_pipeline.dag.checkpoints.snapshots import read_snapshot
from market_data_pipeline.dag.checkpoints.store import Line, Store
from market_data_pipeline.dag.epochs import EpochMark
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.errors import CheckpointError, CheckpointsUnreachableError, nearest
from market_data_pipeline.symbols import SymbolTable


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins.

    Attributes:
        line: The line of life it belongs to.
        manifest: The checkpoint it goes on from; None at the beginning.
        damaged: What was found wrong with later checkpoints.
        is_new: True if the line was not begun before.
    """

    line: Line
    manifest: Manifest | None
    damaged: tuple[str, ...] = ()
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class States:
    """What is to be restored, by node."""

    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)


def choose(store: Store, job: str, resume: Resume) -> Start:
    """Return where a run begins: the newest checkpoint of its line that is sound.

    Raises:
        CheckpointError: If none can be trusted, or they are of another job.
    """
    if resume.from_scratch:
        return Start(Line.begin(job), None, is_new=True)
    if resume.from_checkpoint is not None:
        return _chosen(store, job, resume.from_checkpoint)
    line = store.line()
    if line is None:
        if store.decided():
            msg = (
                "it has checkpoints, and `JOB.json`, which says whose, is missing; say which to "
                "go on from with `--from-checkpoint`, or begin again with `--from-scratch`"
            )
            raise CheckpointError(msg, path=str(store))
        return Start(Line.begin(job), None, is_new=True)
    _check_job(store, line.job, job)
    damaged: list[str] = []
    for epoch in reversed(store.decided()):
        try:
            manifest = store.load(epoch)
            _check_files(store, manifest)
        except CheckpointsUnreachableError:
            raise  # nothing says that it is damaged
        except CheckpointError as err:
            damaged.append(str(err))
            continue
        if manifest.lineage == line.lineage:
            return Start(line, manifest, tuple(damaged))
    if line.parent_epoch is not None:
        manifest = store.load(line.parent_epoch)
        _check_files(store, manifest)
        return Start(line, manifest, tuple(damaged))
    if damaged:
        listed = "; ".join(damaged)
        msg = f"no checkpoint can be trusted ({listed}); begin again with `--from-scratch`"
        raise CheckpointError(msg, path=str(store))
    return Start(line, None)


def _chosen(store: Store, job: str, epoch: int) -> Start:
    manifest = store.load(epoch)
    _check_files(store, manifest)
    _check_job(store, manifest.job, job)
    if epoch == max(store.decided()):
        return Start(Line(job, manifest.lineage, manifest.ancestors), manifest, is_new=True)
    return Start(Line.branch(manifest), manifest, is_new=True)


def _check_job(store: Store, theirs: str, ours: str) -> None:
    if theirs != ours:
        msg = (
            f"the checkpoints are of `{theirs}`, and this is `{ours}`; give it a `path` of its own"
        )
        raise CheckpointError(msg, path=str(store))


def _check_files(store: Store, manifest: Manifest) -> None:
    problems = store.problems(manifest)
    if problems:
        msg = f"checkpoint {manifest.epoch} is damaged: {problems[0]}"
        raise CheckpointError(msg, path=str(store))


# The graph


def fit(manifest: Manifest, dag: Dag, resume: Resume) -> frozenset[str]:
    """Return the nodes whose state is restored.

    Raises:
        CheckpointError: If a state would be lost that nobody said may be.
    """
    before = {node.name: node for node in manifest.graph}
    now = {node.name: node for node in describe(dag)}
    for name in resume.drop_state:
        if name not in before:
            msg = (
                f"there is no node `{name}` in checkpoint {manifest.epoch}{nearest(name, before)}"
            )
            raise CheckpointError(msg)
    kept = set()
    for name, node in before.items():
        if name in resume.drop_state:
            continue
        why = _misfit(node, now.get(name))
        if why is None:
            kept.add(name)
        elif _loses(manifest, node):
            msg = (
                f"checkpoint {manifest.epoch} has the state of `{name}`, which {why}; put it "
                f"back, or give the state up with `--drop-state {name}`, or begin again with "
                f"`--from-scratch`"
            )
            raise CheckpointError(msg)
    for name in kept:
        lost = [edge for edge in before[name].inputs if edge not in now[name].inputs]
        if lost and manifest.nodes[name].held is not None:
            msg = (
                f"`{name}` does not read `{lost[0]}` any more, and checkpoint {manifest.epoch} "
                f"holds rows of it; give them up with `--drop-state {name}`"
            )
            raise CheckpointError(msg)
    if manifest.complete:
        _refuse_changes(manifest.epoch, before, now)
    return frozenset(kept)


def _refuse_changes(
    epoch: int, before: Mapping[str, NodeDescription], now: Mapping[str, NodeDescription]
) -> None:
    """Refuse what a job that has come to its end would not do any more."""
    for name, node in now.items():
        old = before.get(name)
        why = "is new" if old is None else _misfit(old, node)
        if old is not None and why is None and old.inputs != node.inputs:
            why = "reads something else now"
        if why is not None:
            msg = (
                f"the job came to its end at checkpoint {epoch}, and nothing is read again for "
                f"`{name}`, which {why}; put the graph back, or read all of it again with "
                f"`--from-scratch`"
            )
            raise CheckpointError(msg)


def _misfit(before: NodeDescription, now: NodeDescription | None) -> str | None:
    """Return why a state does not fit a node, None if it does."""
    if now is None:
        return "is not in the graph any more"
    if (before.kind, before.type) != (now.kind, now.type):
        return f"was a `{before.type}` and is a `{now.type}`"
    if before.kind == "sink":
        return None  # whether it has its rows, it is asked
    names = sorted({*before.settings, *now.settings})
    changed = [n for n in names if before.settings.get(n) != now.settings.get(n)]
    if changed:
        listed = ", ".join(f"`{name}`" for name in changed)
        return f"has another setting of {listed} now"
    return None


def _loses(manifest: Manifest, node: NodeDescription) -> bool:
    """Tell whether something is lost if a node begins anew."""
    record = manifest.nodes[node.name]
    if node.kind == "sink":
        return bool(manifest.sinks[node.name].staged) or record.held is not None
    return node.kind == "source" or record.state is not None or record.held is not None


def load_states(
    store: Store, manifest: Manifest, kept: frozenset[str], symbols: SymbolTable
) -> States:
    """Return the states of some nodes.

    Raises:
        CheckpointError: If a file is not what it should be.
    """
    folder = store.folder(manifest.epoch)
    snapshots, held = {}, {}
    for name in kept:
        record = manifest.nodes[name]
        if record.state is not None:
            snapshots[name] = read_snapshot(read_arrow(folder / record.state))
        if record.held is not None:
            held[name] = read_held(read_arrow(folder / record.held), symbols)
    return States(snapshots, held)


# The sinks


def settle_mark(
    sink: str, record: SinkRecord, mark: EpochMark | None, start: Start, *, rewind: bool
) -> int:
    """Return the last epoch of the checkpoint's line that a sink has, 0 for none.

    Args:
        sink: Its name.
        record: What the checkpoint says of it.
        mark: What it says itself.
        start: The checkpoint.
        rewind: Whether it may have more than the checkpoint.

    Raises:
        CheckpointError: If it has less than it must have, or more than it may.
    """
    manifest = start.manifest
    assert manifest is not None  # noqa: S101 - there is nothing to settle without one
    # Where a line branches off, its sinks may have got what the line before it staged.
    known = mark is not None and mark.lineage in {manifest.lineage, start.line.lineage}
    has = mark.epoch if mark is not None and known else 0
    if mark is not None and not known and mark.lineage not in manifest.ancestors and not rewind:
        msg = (
            f"`{sink}` has rows of another line of life of the job (epoch {mark.epoch} of "
            f"{mark.lineage}), written after checkpoint {manifest.epoch} was taken; go on all "
            f"the same with `--rewind`, or begin again with `--from-scratch`"
        )
        raise CheckpointError(msg)
    if has > manifest.epoch and not rewind:
        why = f" ({'; '.join(start.damaged)})" if start.damaged else ""
        msg = (
            f"`{sink}` has the rows up to epoch {has}, and checkpoint {manifest.epoch} would "
            f"write those after {manifest.epoch} again{why}; go on from a later checkpoint, or "
            f"have them written again with `--rewind`"
        )
        raise CheckpointError(msg)
    if has < record.committed and not rewind:
        found = f"epoch {has}" if has else "none of this job"
        msg = (
            f"`{sink}` had the rows up to epoch {record.committed} when checkpoint "
            f"{manifest.epoch} was taken, and has {found}; it is another output, or one put back "
            f"from a copy. Name the one it wrote to, or begin again with `--from-scratch`"
        )
        raise CheckpointError(msg)
    return has
