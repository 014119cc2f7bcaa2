"""Rows that could not be taken, kept where they are not lost."""

from __future__ import annotations

__all__ = ("DeadLetterFolder", "DeadLetterSink")

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, final

import pyarrow as pa
from pydantic import PositiveInt

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery, EpochMark, Job
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import OutputError
from market_data_pipeline.letters import Letter, encode, is_log, letters_of, mark_of, read_letters
from market_data_pipeline.records import Schema
from market_data_pipeline.segment_log import SegmentLog
from market_data_pipeline.sink.bar_objects import bar_json
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.outbox import Spool, read_outbox
from market_data_pipeline.sink.publish import OutputPath, check_parent
from market_data_pipeline.sink.write_queue import DeadBatch
from market_data_pipeline.sink.writer import ThreadedWriter
from market_data_pipeline.symbols import SymbolTable

_SEGMENT_BYTES: Final = 16_777_216


@component("dead_letters")
class DeadLetterSink:
    """Keep rows that could not be taken, with the reason, until somebody looks at them.

    For outputs such as `rejected` and `late`. `mdp dlq list`, `show` and `replay` read the
    folder, and the source `dead_letters` gives the rows to a pipeline again. Rows are on the
    disk when they are counted, each write with a checksum; what a process that is killed
    leaves half written is cut off, and damage to what was safe is refused.

    Delivery: exactly once in a run with checkpoints, whose epochs are appended whole; else
    at least once. What is there stays there, also when a run fails.

    Attributes:
        path: A folder for the letters of this node alone; it is made, and those above it, if it
            is not there.
        reason: One word for why, where the rows have no column `reason`; by default the
            name of the node.
        segment_bytes: Bytes of a file of it.
    """

    path: OutputPath
    reason: str | None = None
    segment_bytes: PositiveInt = _SEGMENT_BYTES

    delivery: ClassVar[Delivery] = "exactly_once"

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputError: If it cannot be written.
        """
        folder = Path(self.path)
        if folder.exists() and not folder.is_dir():
            msg = "cannot be written: it is a file; give the name of a folder"
            raise OutputError(msg, path=str(self.path))
        while not folder.parent.exists():
            folder = folder.parent  # they are made with it
        check_parent(str(folder))

    async def open(
        self,
        context: NodeContext,
        schema: Schema | None,  # noqa: ARG002
    ) -> ThreadedWriter | EpochedWriter:
        """Open the folder.

        Args:
            context: The node's context.
            schema: The columns to come; any are taken.

        Raises:
            OutputError: If it cannot be written, or another process writes it.
            DamagedLogError: If letters are damaged that were safe before.
        """
        self.check()
        log = await asyncio.to_thread(
            SegmentLog, Path(self.path), segment_bytes=self.segment_bytes
        )
        reason = self.reason or context.node
        if context.job is None:
            return ThreadedWriter(_Appended(log, context, reason), context)
        return EpochedWriter(_Epochs(log, context, reason, context.job), context)

    def read(self) -> pa.Table:
        """Return what is kept: a row for each letter, without its body."""
        folder = Path(self.path)
        letters = list(read_letters(folder)) if is_log(folder) else []
        columns = ("node", "reason", "place", "detail")
        times = [letter.time_ns for letter in letters]
        return pa.table(
            {
                "letter": pa.array([letter.name for letter in letters], pa.string()),
                "time": pa.array(times, pa.timestamp("ns", "UTC")),
                **{c: pa.array([getattr(x, c) for x in letters], pa.string()) for c in columns},
                "rows": pa.array([letter.rows for letter in letters], pa.int64()),
            }
        )


@final
class _Appended:
    """Letters that are on the disk once `write` returns."""

    def __init__(self, log: SegmentLog, context: NodeContext, reason: str) -> None:
        self._log = log
        self._context = context
        self._reason = reason

    def write(self, batches: Sequence[Batch]) -> None:
        now = self._context.clock.now_ns()
        letters = [
            letter
            for batch in batches
            for letter in letters_of(batch, self._context.node, self._reason, now)
        ]
        if letters:
            self._log.append([encode(letters)])

    def complete(self) -> None:
        """Do nothing: what was written is on the disk."""

    def publish(self) -> None:
        self._log.close()

    def discard(self) -> None:
        """Keep what is there: nothing is safer than a dead letter."""
        self._log.close()


@final
class _Epochs:
    """Letters by epochs, each one record of the log: whole, or not there."""

    def __init__(self, log: SegmentLog, context: NodeContext, reason: str, job: Job) -> None:
        self._log = log
        self._context = context
        self._reason = reason
        self._job = job
        self._spool = Spool()
        self._mark: EpochMark | None = None
        self._is_known = False

    def write(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._spool.write([batch])

    def stage(self, epoch: int, folder: Path) -> None:  # noqa: ARG002 - the folder says it
        self._spool.stage(folder)

    def commit(self, epoch: int, folder: Path) -> None:
        last = self.committed()
        if last is not None and last.lineage == self._job.lineage and last.epoch >= epoch:
            return
        now = self._context.clock.now_ns()
        letters = [
            letter
            for batch in read_outbox(folder, SymbolTable())
            for letter in letters_of(batch, self._context.node, self._reason, now)
        ]
        mark = {"job": self._job.name, "lineage": self._job.lineage, "epoch": epoch}
        self._log.append([encode(letters, mark)])
        self._mark = EpochMark(self._job.lineage, epoch)

    def committed(self) -> EpochMark | None:
        if not self._is_known:
            for number, record in self._log.read(self._log.first):
                mark = mark_of(number, record, str(self._log.folder))
                if mark is not None and mark["job"] == self._job.name:
                    self._mark = EpochMark(mark["lineage"], mark["epoch"])
            self._is_known = True
        return self._mark

    def finish(self) -> None:
        """Do nothing: all is committed."""

    def discard(self) -> None:
        self._spool.discard()

    def close(self) -> None:
        self._log.close()

    def interrupt(self) -> None:
        """Do nothing: to append takes no longer than the disk does."""


@final
class DeadLetterFolder:
    """A dead-letter hook of `StoreSink`, `DatabaseSink` and `KafkaSink`.

    `DatabaseSink(..., dead_letters=DeadLetterFolder("dlq/"))` keeps batches that could not
    be written; `mdp dlq` reads the folder.
    """

    def __init__(self, path: str | Path, *, clock: Clock | None = None) -> None:
        """Settle where to.

        Args:
            path: A folder for the letters of this sink alone.
            clock: Time; None for the machine's.
        """
        self._path = Path(path)
        self._clock = clock or SystemClock()
        self._writing = asyncio.Lock()

    async def __call__(self, dead: DeadBatch) -> None:
        """Keep a batch; it is on the disk when this returns.

        Raises:
            OutputError: If it cannot be kept.
        """
        async with self._writing:
            writing = asyncio.get_running_loop().run_in_executor(None, self._keep, dead)
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                with suppress(Exception):
                    await asyncio.wait([writing])
                raise

    def _keep(self, dead: DeadBatch) -> None:
        lines: list[Any] = [bar_json(bar) for bar in dead.items]
        letter = Letter(
            node=dead.sink,
            reason=type(dead.error).__name__,
            time_ns=self._clock.now_ns(),
            rows=len(lines),
            body=b"\n".join(lines),
            form="json",
            detail=str(dead.error)[:2000],
        )
        log = SegmentLog(self._path, segment_bytes=_SEGMENT_BYTES)
        try:
            log.append([encode([letter])])
        finally:
            log.close()
