"""The running half of a sink that blocks: its work is done in a thread of its own."""

from __future__ import annotations

__all__ = ("BlockingOutput", "RowQueue", "ThreadedWriter", "in_thread")

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, Protocol, TypeVar, final

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext

PENDING_ROWS_MAX: Final = 262_144
"""Rows that may wait for the thread; four batches as sources make them."""

T = TypeVar("T")


class BlockingOutput(Protocol):
    """An output that is written with blocking calls, all from one thread at a time."""

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            OutputError: If they cannot be written.
        """
        ...

    def complete(self) -> None:
        """Make everything durable, but not visible, or raise and leave nothing behind.

        Raises:
            OutputError: If that cannot be done.
        """
        ...

    def publish(self) -> None:
        """Make visible what is complete, or raise and leave nothing behind.

        Raises:
            OutputError: If that cannot be done.
        """
        ...

    def discard(self) -> None:
        """Leave nothing behind. May be called twice, and after `publish` failed."""
        ...


async def in_thread(
    executor: Executor,
    work: Callable[..., T],
    *args: object,
    interrupt: Callable[[], Awaitable[None]] | None = None,
) -> T:
    """Do blocking work in a thread and return what it gives.

    Who is cancelled meanwhile waits for the end of the work all the same, since a thread
    cannot be left to itself with a file or a connection.

    Args:
        executor: Where.
        work: What.
        *args: Given to `work`.
        interrupt: Makes the work end soon; called if the caller is cancelled.
    """
    job = asyncio.get_running_loop().run_in_executor(executor, work, *args)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        if interrupt is not None and not job.done():
            await interrupt()
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # the caller is cancelled, whatever became of the work
        raise


@final
class RowQueue:
    """Hands batches to one function in a thread, in order.

    Batches that come while the thread is busy wait and are handed over together; once
    `PENDING_ROWS_MAX` rows wait, so does the caller. What fails in the thread is raised
    by the next call. Rows are `held` in the account until the thread has taken them.

    Attributes:
        thread: The thread. Work of other kinds that goes there does not overlap.
    """

    def __init__(self, take: Callable[[Sequence[Batch]], None], context: NodeContext) -> None:
        self._take = take
        self._account = context.account
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=f"mdp-{context.node}")
        self._pending: list[Batch] = []
        self._pending_rows = 0
        self._job: asyncio.Future[None] | None = None
        self._job_rows = 0

    @property
    def waiting_rows(self) -> int:
        """Rows that the thread has not taken yet, those it is at included."""
        return self._pending_rows + self._job_rows

    async def put(self, batch: Batch) -> None:
        """Take rows; wait while too many rows wait."""
        self._account.held += len(batch)
        self._pending.append(batch)
        self._pending_rows += len(batch)
        if self._job is None:
            self._start()
        elif self._job.done():
            await self._turn()
        while self._pending_rows >= PENDING_ROWS_MAX:
            await self._turn()

    async def drain(self) -> None:
        """Return once the thread has taken all rows."""
        while self._job is not None:
            await self._turn()

    async def _turn(self) -> None:
        """Wait for the job that runs to end, or raise what it failed of."""
        job = self._job
        if job is not None:
            # A caller that is cancelled must not cancel the job: its rows are taken.
            await asyncio.wait([job])
            if job is self._job:
                job.result()

    def _start(self) -> None:
        batches, self._job_rows = self._pending, self._pending_rows
        self._pending, self._pending_rows = [], 0
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self.thread, self._take, batches)
        # Rows that wait must not wait for others to come: a feed may be quiet, or paused.
        self._job.add_done_callback(self._ended)

    def _ended(self, job: asyncio.Future[None]) -> None:
        if job is not self._job or job.cancelled() or job.exception() is not None:
            return  # given up, or a failure that the next call raises
        self._account.held -= self._job_rows
        self._account.rows_out += self._job_rows
        self._job, self._job_rows = None, 0
        if self._pending:
            self._start()

    async def give_up(self) -> None:
        """Let the running job end; its rows stay `held`, as do those that wait."""
        job, self._job, self._job_rows = self._job, None, 0
        if job is not None:
            await asyncio.wait([job])
            job.exception()  # the failure that led here is raised elsewhere


@final
class ThreadedWriter:
    """Hands batches to a `BlockingOutput` in one worker thread, in order, as `RowQueue` does.

    Attributes:
        shows_at_end: True: after a crash nothing of what was written is there.
    """

    shows_at_end = True

    def __init__(self, output: BlockingOutput, context: NodeContext) -> None:
        self._output = output
        self._account = context.account
        self._rows = RowQueue(output.write, context)
        self._ended = False

    async def write(self, batch: Batch) -> None:
        """Take rows; wait while too many rows wait."""
        await self._rows.put(batch)

    async def finish(self) -> None:
        """Write all that waits, make the output visible, end the thread."""
        await self._rows.drain()
        loop = asyncio.get_running_loop()
        # Apart, so that whoever cancels while much is flushed to the disk gets no output.
        await loop.run_in_executor(self._rows.thread, self._output.complete)
        await loop.run_in_executor(self._rows.thread, self._output.publish)
        self._ended = True
        self._rows.thread.shutdown(wait=False)

    async def abort(self) -> None:
        """Let the running job end, then delete the output unless it is published.

        Its rows are `held` again in the account: they are not in any output.
        """
        if self._ended:
            return
        self._ended = True
        await self._rows.give_up()
        self._account.held += self._account.rows_out
        self._account.rows_out = 0
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._rows.thread, self._output.discard)
        self._rows.thread.shutdown(wait=False)
