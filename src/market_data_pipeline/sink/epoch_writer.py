"""The running half of a sink in a run with checkpoints: rows are staged, then committed."""

from __future__ import annotations

__all__ = ("EpochOutput", "EpochedWriter")

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, final

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.epochs import EpochMark
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.errors import OutputError
from market_data_pipeline.sink.writer import PENDING_ROWS_MAX, RowQueue, in_thread


class EpochOutput(Protocol):
    """An output that is written by epochs with blocking calls.

    `write`, `stage` and `discard` come from one thread, `commit`, `committed` and `close`
    from another; the two do not wait for each other.
    """

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            OutputError: If they cannot be taken.
        """
        ...

    def stage(self, epoch: int, folder: Path) -> None:
        """Make the rows since the last call durable, as in `EpochWriter`.

        Raises:
            OutputError: If it cannot be done; the rows are kept for the next call.
        """
        ...

    def commit(self, epoch: int, folder: Path) -> None:
        """Show what is in a folder, once, as in `EpochWriter`.

        Raises:
            OutputError: If it is not known to be done.
        """
        ...

    def committed(self) -> EpochMark | None:
        """Return what the job last committed, None if never.

        Raises:
            OutputError: If it cannot be known.
        """
        ...

    def finish(self) -> None:
        """Take the end: all that was written is committed.

        Raises:
            OutputError: If what belongs to the end cannot be done.
        """
        ...

    def discard(self) -> None:
        """Forget what is not staged. May be called twice."""
        ...

    def close(self) -> None:
        """Free what is held, however the run ended. May be called twice."""
        ...

    def interrupt(self) -> None:
        """Make a commit that runs end soon. Called from a third thread."""
        ...


@final
class EpochedWriter:
    """Hands batches to an `EpochOutput` in one thread, and commits epochs in another.

    It is an `EpochWriter` and tells its pressure: rows that wait for the thread, and how
    long the last commit took.
    """

    def __init__(self, output: EpochOutput, context: NodeContext) -> None:
        self._output = output
        self._account = context.account
        self._job = context.job
        self._clock: Clock = context.clock
        self._rows = RowQueue(output.write, context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mdp-{context.node}-commit")
        self._interrupting = ThreadPoolExecutor(1, thread_name_prefix=f"mdp-{context.node}-stop")
        self._taken = self._account.rows_out
        self._highest = 0
        self._commit_s: float | None = None
        self._ended = False

    async def begin(self, work: Callable[[], None]) -> None:
        """Do what must be done before anything else, in the thread that commits.

        Raises:
            OutputError: If it cannot be done; the writer is closed then.
        """
        try:
            await in_thread(self._thread, work, interrupt=self._interrupt)
        except BaseException:
            await self._end()
            raise

    async def write(self, batch: Batch) -> None:
        """Take rows; wait while too many rows wait."""
        await self._rows.put(batch)

    async def stage(self, epoch: int, folder: Path) -> None:
        """Make the rows written since the last call durable, and show none of them.

        Raises:
            OutputError: If it cannot be done, or the epoch is not higher than those before.
        """
        if epoch <= self._highest:
            msg = f"epoch {epoch} cannot be staged: the sink has epoch {self._highest} already"
            raise OutputError(msg)
        await self._rows.drain()
        await in_thread(self._rows.thread, self._output.stage, epoch, folder)
        self._highest = epoch
        self._taken = self._account.rows_out

    async def commit(self, epoch: int, folder: Path) -> None:
        """Show what was staged in `folder`, and record the mark in the same atomic unit.

        Raises:
            OutputError: If it is not known to be done.
        """
        began = self._clock.monotonic()
        await in_thread(
            self._thread, self._output.commit, epoch, folder, interrupt=self._interrupt
        )
        self._commit_s = self._clock.monotonic() - began
        self._highest = max(self._highest, epoch)

    async def committed(self) -> EpochMark | None:
        """Return what this job last committed to this sink, None if never.

        Raises:
            OutputError: If it cannot be known.
        """
        mark = await in_thread(self._thread, self._output.committed, interrupt=self._interrupt)
        if mark is not None and self._job is not None and mark.lineage == self._job.lineage:
            self._highest = max(self._highest, mark.epoch)
        return mark

    def pressure(self) -> Pressure:
        """Return how many rows wait, and how long the last commit took."""
        return Pressure(self._rows.waiting_rows, PENDING_ROWS_MAX, self._commit_s)

    async def finish(self) -> None:
        """Free what is held.

        Raises:
            OutputError: If rows were written after the last epoch, or what belongs to the
                end cannot be done.
        """
        await self._rows.drain()
        late = self._account.rows_out - self._taken
        if late:
            msg = f"{late} rows were written after the last epoch was staged"
            raise OutputError(msg)
        await in_thread(self._thread, self._output.finish, interrupt=self._interrupt)
        await self._end()

    async def abort(self) -> None:
        """Let what runs end, and forget rows that are not staged; they are `held`."""
        if self._ended:
            return
        await self._rows.give_up()
        self._account.held += self._account.rows_out - self._taken
        self._account.rows_out = self._taken
        await in_thread(self._rows.thread, self._output.discard)
        await self._end()

    async def _end(self) -> None:
        self._ended = True
        await in_thread(self._thread, self._output.close, interrupt=self._interrupt)
        for thread in (self._rows.thread, self._thread, self._interrupting):
            thread.shutdown(wait=False)

    async def _interrupt(self) -> None:
        await in_thread(self._interrupting, self._output.interrupt)
