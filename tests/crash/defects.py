"""Deliberate bugs, put into a child process: `MDP_DEFECT=NAME python -m crash.defects run FILE`.

Each is one that a tired engineer could write. None is in the package, nor can it be asked of
it: this module replaces functions of the package after importing it.
"""

from __future__ import annotations

__all__ = ("DEFECTS", "MODULE")

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from market_data_pipeline.cli.main import main
from market_data_pipeline.dag import chain, endpoints, fanin, inlet, join_inlet
from market_data_pipeline.dag.checkpoints import (
    commits,
    coordinator,
    cuts,
    lock,
    recovery,
    session,
    store,
)
from market_data_pipeline.dag.checkpoints.manifest import NodeRecord, SinkRecord, Staged
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.operator.dedupe import DedupeOperator
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.sql_ledger import SqlLedger

MODULE: Final = "crash.defects"
ENVIRONMENT_VARIABLE: Final = "MDP_DEFECT"


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def acknowledged_before_durable() -> None:
    """A sink shows an epoch as soon as it is staged; the checkpoint may never come about."""

    def make(stage: Any) -> Any:
        async def eager(self: EpochedWriter, epoch: int, folder: Path) -> None:
            await stage(self, epoch, folder)
            if await in_thread(lambda: any(folder.iterdir())):
                await self.commit(epoch, folder)

        return eager

    _replace(EpochedWriter, "stage", make)


def manifest_before_outbox() -> None:
    """The manifest is written without what the sinks have staged."""

    def make(_: Any) -> Any:
        def record(self: coordinator.Coordinator, sink: endpoints.RunningSink) -> SinkRecord:
            return SinkRecord(sink.delivery, self.commits.last(sink.node.name), ())

        return record

    _replace(coordinator.Coordinator, "_record_of", make)


def staged_output_forgotten() -> None:
    """A run that goes on does not commit what the one before it has staged."""

    async def nothing(*_: Any) -> None:
        pass

    _replace(session, "commit", lambda _: nothing)


def ledger_not_checked() -> None:
    """What a sink says of itself counts for nothing: what is staged is put in once more."""

    def make(_: Any) -> Any:
        def settle(sink: str, record: SinkRecord, *_: Any, **__: Any) -> int:
            return record.committed

        return settle

    _replace(session, "settle_mark", make)
    _replace(SqlLedger, "has", lambda _: lambda *_: False)


def epoch_reused() -> None:
    """Each run begins to count at 1."""

    def make(begin: Any) -> Any:
        def at_one(self: coordinator.Coordinator, who: Any, _: int) -> None:
            begin(self, who, 1)

        return at_one

    _replace(coordinator.Coordinator, "begin", make)


def watermark_not_restored() -> None:
    """What nodes and their inputs knew of progress is not given back."""
    for owner in (chain.Chain, fanin.FanIn, inlet.Inlet, join_inlet.JoinInlet):
        _replace(owner, "restore_progress", lambda _: lambda *_: None)


def state_not_restored() -> None:
    """Operators begin anew in the middle of the input."""
    _replace(session, "load_states", lambda _: lambda *_: recovery.States())


def keys_not_saved() -> None:
    """An operator leaves its memory of keys out of its snapshot."""
    nothing = Snapshot(np.empty(0, np.int16), {}, {})
    _replace(DedupeOperator, "snapshot", lambda _: lambda _self: nothing)


def position_of_the_checkpoint_before() -> None:
    """The position of a source is written down one checkpoint late."""
    before: dict[str, NodeRecord] = {}

    def make(cut: Any) -> Any:
        def late(source: endpoints.RunningSource) -> cuts.Cut:
            fresh: cuts.Cut = cut(source)
            name = source.node.name
            old, before[name] = before.get(name, fresh.record), fresh.record
            return cuts.Cut(old)

        return late

    _replace(coordinator, "cut_of_source", make)


def position_beyond_what_was_sent() -> None:
    """A source tells where it has read to, though a row it read waits to be sent."""

    def make(cut: Any) -> Any:
        def early(source: endpoints.RunningSource) -> cuts.Cut:
            record: NodeRecord = cut(source).record
            position = dict(record.position or {})
            position["rows"] += bool(position["rows"])
            return cuts.Cut(replace(record, position=position))

        return early

    _replace(coordinator, "cut_of_source", make)


def staged_deleted_before_commit() -> None:
    """What is staged goes before the sink has it."""

    def make(commit: Any) -> Any:
        async def hasty(writer: Any, staged: Staged, kept: store.Store, *more: Any) -> None:
            kept.drop_staged(staged)
            await commit(writer, staged, kept, *more)

        return hasty

    _replace(commits, "commit", make)


def two_runs_at_once() -> None:
    """The lock on the folder is not taken."""
    _replace(lock, "_take", lambda _: lambda _handle: None)


def aborted_rows_lost() -> None:
    """What was staged for a checkpoint that did not come about is forgotten."""

    def make(abort: Any) -> Any:
        async def forgetful(
            self: coordinator.Coordinator, current: Any, asking: Sequence[Any]
        ) -> None:
            self._unlisted.clear()
            for parts in self.commits._staged.values():
                parts[:] = [part for part in parts if part.epoch != current.epoch]
            await abort(self, current, asking)

        return forgetful

    _replace(coordinator.Coordinator, "_abort", make)


def newest_manifest_is_trusted_last() -> None:
    """A run goes on from the oldest checkpoint that is kept."""

    def make(decided: Any) -> Any:
        def oldest(self: store.Store) -> list[int]:
            return list(reversed(decided(self)))

        return oldest

    def choose(real: Any) -> Any:
        def with_oldest(*arguments: Any) -> Any:
            kept = store.Store.decided
            _replace(store.Store, "decided", make)
            try:
                return real(*arguments)
            finally:
                store.Store.decided = kept  # type: ignore[method-assign]

        return with_oldest

    _replace(session, "choose", choose)


DEFECTS: Final[dict[str, Callable[[], None]]] = {
    defect.__name__: defect
    for defect in (
        acknowledged_before_durable,
        manifest_before_outbox,
        staged_output_forgotten,
        ledger_not_checked,
        epoch_reused,
        watermark_not_restored,
        state_not_restored,
        keys_not_saved,
        position_of_the_checkpoint_before,
        position_beyond_what_was_sent,
        staged_deleted_before_commit,
        two_runs_at_once,
        aborted_rows_lost,
        newest_manifest_is_trusted_last,
    )
}

if __name__ == "__main__":
    DEFECTS[os.environ[ENVIRONMENT_VARIABLE]]()
    main()
