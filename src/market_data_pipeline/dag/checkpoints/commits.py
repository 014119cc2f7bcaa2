"""Commits what is staged: for each sink in the order of epochs, while the run goes on."""

from __future__ import annotations

__all__ = ("Commits", "commit")

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.boundary import boundary
from market_data_pipeline.dag.checkpoints.manifest import Staged
from market_data_pipeline.dag.checkpoints.store import Store
from market_data_pipeline.dag.endpoints import RunningSink
from market_data_pipeline.dag.epochs import EpochMark, EpochWriter
from market_data_pipeline.dag.threads import in_thread
from market_data_pipeline.errors import PipelineError
from market_data_pipeline.failpoints import failpoint

_ATTEMPTS: Final = 5
_FIRST_DELAY_S: Final = 0.1


async def commit(
    writer: EpochWriter, staged: Staged, store: Store, lineage: str, clock: Clock
) -> None:
    """Commit an epoch, and where that is not known to be done, ask and try again.

    Raises:
        OutputError: If it cannot be done.
    """
    folder, delay_s = store.root / staged.folder, _FIRST_DELAY_S
    for left in reversed(range(_ATTEMPTS)):
        try:
            await writer.commit(staged.epoch, folder)
        except (PipelineError, OSError):
            # It may be done all the same, so what is staged is kept whatever happens.
            if not left:
                raise
            await clock.sleep(delay_s)
            delay_s *= 2
            if _has(await _asked(writer), staged.epoch, lineage):
                return
        else:
            return


async def _asked(writer: EpochWriter) -> EpochMark | None:
    try:
        return await writer.committed()
    except (PipelineError, OSError):
        return None  # whatever ails it, the next attempt will tell


def _has(mark: EpochMark | None, epoch: int, lineage: str) -> bool:
    return mark is not None and mark.lineage == lineage and mark.epoch >= epoch


class Commits:
    """What the sinks have staged and not committed.

    Args:
        store: Where it is.
        clock: What passes between two attempts.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lineage = ""
        self._staged: dict[str, list[Staged]] = {}
        self._last: dict[str, int] = {}
        self._queues: dict[str, asyncio.Queue[Staged]] = {}
        self._queued: dict[str, int] = {}
        self._open: dict[int, set[tuple[str, int]]] = {}
        self._changed = asyncio.Event()

    def begin(self, lineage: str, last: Mapping[str, int]) -> None:
        """Take over what each sink has; all that was staged before is committed."""
        self._lineage = lineage
        self._last = dict(last)
        self._staged = {sink: [] for sink in last}
        self._queues = {sink: asyncio.Queue() for sink in last}

    @property
    def uncommitted(self) -> int:
        """Epochs that are decided and that not all sinks have."""
        return len(self._open)

    def last(self, sink: str) -> int:
        """Return the last epoch that a sink is known to have, 0 for none."""
        return self._last[sink]

    def staged(self, sink: str) -> tuple[Staged, ...]:
        """Return what a sink has staged and is not known to have committed."""
        return tuple(self._staged[sink])

    def needed(self) -> set[int]:
        """Return the epochs whose folders hold what is not committed."""
        return {staged.epoch for parts in self._staged.values() for staged in parts}

    def stage(self, sink: str, staged: Staged) -> None:
        """Take what a sink has staged, to be committed with the next checkpoint."""
        self._staged[sink].append(staged)

    def decide(self, epoch: int) -> None:
        """Let the sinks commit all that is staged: its checkpoint is decided."""
        waiting = set()
        for sink, parts in self._staged.items():
            for staged in parts:
                if staged.epoch > self._queued.get(sink, 0):
                    self._queued[sink] = staged.epoch
                    self._queues[sink].put_nowait(staged)
                    waiting.add((sink, staged.epoch))
        if waiting:
            self._open[epoch] = waiting

    async def room(self, most: int) -> None:
        """Wait until at most so many epochs are not committed by all."""
        while len(self._open) > most:
            self._changed.clear()
            await self._changed.wait()

    async def run(self, sink: RunningSink) -> None:
        """Commit for one sink, until cancelled."""
        name = sink.node.name
        with boundary(sink.node):
            assert isinstance(sink.writer, EpochWriter)  # noqa: S101 - others have no queue
            while True:
                staged = await self._queues[name].get()
                failpoint("commit.begun")
                await commit(sink.writer, staged, self._store, self._lineage, self._clock)
                failpoint("commit.done")
                self._last[name] = staged.epoch
                self._staged[name].remove(staged)
                await in_thread(partial(self._store.drop_staged, staged))
                await self._settled(name, staged)

    async def _settled(self, sink: str, staged: Staged) -> None:
        for epoch, waiting in list(self._open.items()):
            waiting.discard((sink, staged.epoch))
            if not waiting:
                await in_thread(partial(self._store.prune, self.needed()))
                self._open.pop(epoch, None)
        self._changed.set()
