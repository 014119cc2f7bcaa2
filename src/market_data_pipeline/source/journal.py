"""A journal in front of a feed that cannot be read twice: what is accepted can be replayed."""

from __future__ import annotations

__all__ = ("JournalSource",)

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import PositiveInt

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.component import component, type_name_of
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.messages import Status, Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceNode, SourceReader
from market_data_pipeline.errors import CheckpointError, ConfigError
from market_data_pipeline.records import FeedState, Schema
from market_data_pipeline.segment_log import SegmentLog
from market_data_pipeline.source.journal_records import Decoder, Encoder, Item, Step

_PORTS: Final = {"out", "rejected"}


@component("journal")
class JournalSource:
    """Write down what another source gives, before anybody else sees it.

    For feeds that cannot be read twice. What goes on is on the disk, so a run that is killed
    and goes on from a checkpoint gives the rows after it again, and then those that come
    fresh. A journal that is read from its beginning, as by a run without checkpoints, gives
    the same output as the feed did. Between the last row before a stop and the first row
    after it the feed is told to be `disconnected`; rows that came in between are lost.

    Backpressure: waits; the other source is not read while rows are being written.

    Delivery: every row that was accepted, at every restart from the checkpoint on.

    Attributes:
        of: The feed; in YAML a mapping `{source: ..., ...}`.
        path: A folder for the journal alone.
        segment_bytes: Bytes of a file of it.
        retain: `checkpoint` deletes what no checkpoint needs any more, `all` keeps it.
    """

    of: SourceNode
    path: Path
    segment_bytes: PositiveInt = 67_108_864
    retain: Literal["checkpoint", "all"] = "checkpoint"

    type_name: ClassVar[str]
    tuning: ClassVar[tuple[str, ...]] = ("segment_bytes", "retain")
    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    def __post_init__(self) -> None:
        """Refuse a source with outputs that would be lost.

        Raises:
            ConfigError: If it has one.
        """
        more = sorted({*self.of.outputs} - _PORTS)
        if more:
            ports = ", ".join(f"`{port}`" for port in more)
            msg = f"a source with the output {ports} cannot have a journal; it would be lost"
            raise ConfigError(msg, parameter="of")

    def schema(self) -> Schema | None:
        """Return the columns of the other source.

        Raises:
            InputError: If its input is missing or cannot be read.
        """
        return self.of.schema()

    async def open(self, context: NodeContext) -> _JournalReader:
        """Open the journal, then the other source.

        Raises:
            DamagedLogError: If what was accepted is damaged.
            OutputError: If the journal cannot be written, or another process writes it.
            CheckpointError: If it ends before the place where the run goes on.
            InputError: If the other source's input is missing or cannot be read.
        """
        log = await asyncio.to_thread(SegmentLog, self.path, segment_bytes=self.segment_bytes)
        try:
            first = self._first(log, context.position)
            # What it counts is written down with its rows, so it has an account of its own.
            # All columns are written: another pipeline may read others.
            account = Account(f"{context.node}, {type_name_of(self.of)}")
            own = replace(context, account=account, columns=None, position=None)
            reader = await self.of.open(own)
        except BaseException:
            log.close()
            raise
        return _JournalReader(self, log, first, reader, account, context)

    def _first(self, log: SegmentLog, position: Position | None) -> int:
        first = log.first if position is None else int(position["record"])
        if first > log.next:
            msg = (
                f"the journal ends with record {log.next}, and the checkpoint was taken at "
                f"{first}: it is not the journal of this job; bring that back, or begin anew "
                "with `--from-scratch`"
            )
            raise CheckpointError(msg, path=str(self.path))
        return first


class _JournalReader:
    def __init__(
        self,
        settings: JournalSource,
        log: SegmentLog,
        first: int,
        reader: SourceReader,
        theirs: Account,
        context: NodeContext,
    ) -> None:
        self.schema = reader.schema
        self._settings = settings
        self._log = log
        self._reader = reader
        self._theirs = theirs
        self._account = context.account
        self._encoder = Encoder()
        self._decoder = Decoder(context.symbols, str(settings.path))
        self._next = first
        self._recorded: Iterator[tuple[int, bytes]] | None = log.read(first)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._pending: Future[Step | None] | None = None
        self._reading: asyncio.Task[Sequence[Item] | None] | None = None
        position = context.position or {}
        self._watermark = int(position.get("watermark", TIME_MIN))
        self._highest = int(position.get("highest", TIME_MIN))
        self._gap_from: int | None = None

    async def read(self) -> Sequence[Item] | None:
        """Return what was written down, then what comes, once it is written down.

        Raises:
            DamagedLogError: If what was accepted is damaged.
            OutputError: If the journal cannot be written.
            InputError: If the other source fails.
        """
        if self._recorded is not None:
            recorded = self._recorded
            step = await self._done(lambda: self._replayed(recorded))
            if step is not None:
                return self._counted(step)
            self._recorded = None
            if self._highest > TIME_MIN:
                self._gap_from = self._highest
        if self._pending is not None:
            step = await self._done(None)
        else:
            given = await self._heard()
            if given is None:
                return None
            fresh = self._stepped(given)
            if not fresh.items and not fresh.reasons:
                return ()
            step = await self._done(lambda: self._written(fresh))
        assert step is not None  # noqa: S101 - what is written comes back
        return self._counted(step)

    async def _heard(self) -> Sequence[Item] | None:
        """Return what the other source gives next.

        A read that is cancelled for a barrier leaves this to the next one, too: of a source
        that streams a cancelled read is the end, and it cannot be opened again.
        """
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(_read(self._reader))
        if not self._reading.done():
            await asyncio.wait([self._reading])
        heard, self._reading = self._reading, None
        return heard.result()

    async def _done(self, work: Callable[[], Step | None] | None) -> Step | None:
        """Return what the journal's thread makes of some work.

        A read that is cancelled for a barrier leaves it to the next one.
        """
        if self._pending is None and work is not None:
            self._pending = self._thread.submit(work)
        assert self._pending is not None  # noqa: S101 - there is work, or some under way
        if not self._pending.done():
            await asyncio.shield(asyncio.wrap_future(self._pending))
        done, self._pending = self._pending, None
        return done.result()

    def _written(self, step: Step) -> Step:
        self._log.append([self._encoder.encode(step)])
        return step

    def position(self) -> Position:
        """Return the record that comes next."""
        return {"record": self._next, "watermark": self._watermark, "highest": self._highest}

    async def release(self, position: Position) -> None:
        """Delete what no run will ask for any more."""
        if self._settings.retain == "checkpoint":
            await asyncio.to_thread(self._log.release, int(position["record"]))

    def fraction(self) -> float | None:
        """Return how much the other source has read."""
        return self._reader.fraction()

    async def close(self) -> None:
        """Close the other source and the journal."""
        try:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
                if not self._reading.cancelled():
                    self._reading.exception()  # nobody waits for it any more
            await self._reader.close()
        finally:
            await asyncio.to_thread(self._thread.shutdown)
            self._log.close()

    def _replayed(self, recorded: Iterator[tuple[int, bytes]]) -> Step | None:
        found = next(recorded, None)
        return None if found is None else self._decoder.decode(*found)

    def _stepped(self, given: Sequence[Item]) -> Step:
        """Return what the other source gave, its watermarks going on from before a restart."""
        items: list[Item] = []
        for port, item in given:
            if port != "out":
                items.append((port, item))
            elif isinstance(item, Batch) and len(item):
                if self._gap_from is not None:
                    items += self._gap(int(item.times[0]))
                items.append((port, self._going_on(item)))
            elif isinstance(item, Watermark):
                items.append((port, Watermark(max(item.time, self._watermark))))
            elif not isinstance(item, Batch):
                items.append((port, item))
        reasons = {r: n for r, n in self._theirs.reasons.items() if r != "rejected"}
        self._theirs.reasons.clear()
        return Step(items, reasons)

    def _gap(self, until: int) -> list[Item]:
        """Return what tells that nobody listened for a while."""
        began, self._gap_from = self._gap_from, None
        if began is None or until <= began:
            return []
        lost, back = FeedState.DISCONNECTED, FeedState.LIVE
        return [("out", Status(lost, began)), ("out", Status(back, until))]

    def _going_on(self, batch: Batch) -> Batch:
        progress = batch.progress
        if progress is None or progress.before >= self._watermark:
            return batch
        marks = progress.watermarks(batch.times).clip(min=self._watermark)
        end = max(progress.end, self._watermark)
        return batch.with_progress(Progress(self._watermark, 0, end, marks))

    def _counted(self, step: Step) -> Sequence[Item]:
        self._next += 1
        account = self._account
        for reason, rows in step.reasons.items():
            account.rows_in += rows
            account.add(reason, rows)
        for port, item in step.items:
            if isinstance(item, Batch):
                account.rows_in += len(item)
                if port == "rejected":
                    account.add("rejected", len(item))
                else:
                    self._watermark = max(self._watermark, item.watermark)
                    self._highest = max(self._highest, int(item.times.max()))
            elif isinstance(item, Watermark):
                self._watermark = max(self._watermark, item.time)
        return step.items


async def _read(reader: SourceReader) -> Sequence[Item] | None:
    return await reader.read()
