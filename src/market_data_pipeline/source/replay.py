"""Recorded files, replayed: merged by event time, at full speed or as it happened."""

from __future__ import annotations

__all__ = ("ReplaySource",)

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import date
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from market_data_pipeline import pacing as token_bucket
from market_data_pipeline.batch import TIME_MAX, TIME_MIN, Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import CheckpointError, ConfigError
from market_data_pipeline.pacing import Budget, budget_of
from market_data_pipeline.records import Schema
from market_data_pipeline.source.feed import Feed, Given
from market_data_pipeline.source.file_set import FileSet
from market_data_pipeline.source.formats import Format
from market_data_pipeline.source.pacing import Pacer, check_provider
from market_data_pipeline.source.paths import find_files
from market_data_pipeline.source.progress import OnOutage
from market_data_pipeline.source.quote_stream import QuoteStream, also_spelled
from market_data_pipeline.source.read_ahead import ReadAhead
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.source.recorded_states import read_states
from market_data_pipeline.source.rewinding import (
    Standing,
    check_columns,
    check_files,
    describe_files,
)
from market_data_pipeline.source.time_range import moment_ns

_BATCHES_AHEAD: Final = 8
"""So many that the reader goes on while the engine waits for a core, and the other way round."""
_JOINTS: Final = 10
"""How many bounds of disorder a recording that is cut may have in common with its next part."""


def _as_texts(value: Any) -> Any:
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, list | tuple):
        return tuple(fspath(item) if isinstance(item, PathLike) else item for item in value)
    return value


def _as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


if TYPE_CHECKING:
    Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
    Moment: TypeAlias = str | date | None
else:
    Paths = Annotated[str | tuple[str, ...], BeforeValidator(_as_texts)]
    Moment = Annotated[str | None, BeforeValidator(_as_text)]


def _translated(
    args: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the settings for the arguments of version 0.8."""
    if len(args) > 1 and not isinstance(args[1], str):
        names = (
            *("path", "symbols", "start_time", "end_time"),
            *("replay_speed", "pacing_budget", "ctx"),
        )
        if len(args) > len(names) or settings.keys() & set(names[: len(args)]):
            msg = f"`ReplaySource` takes {', '.join(names)}, each once"
            raise TypeError(msg)
        settings |= dict(zip(names, args, strict=False))
        args = ()
    before = {"file_path": "path", "start_time": "start", "end_time": "end"}
    before["replay_speed"] = "speed"
    is_before = bool(settings.keys() & {*before, "ctx", "pacing_budget"})
    for name, ours in before.items():
        if name in settings:
            if ours in settings:
                msg = f"`{name}` and `{ours}` are one setting; give one of them"
                raise TypeError(msg)
            settings[ours] = settings.pop(name)
    if is_before:
        # Recordings were played as they happened, and 0 was as fast as can be.
        settings["speed"] = settings.get("speed", 1.0) or "max"
        settings["symbols"] = tuple(settings.get("symbols") or ())
    if settings.get("symbols", ()) is None:
        del settings["symbols"]
    budget = settings.get("pacing_budget")
    if isinstance(budget, Budget):
        settings["pacing_budget"] = (budget.max_msgs_per_sec, budget.burst)
    return args, settings


@also_spelled(_translated)
@component("replay")
class ReplaySource(QuoteStream):
    """Read recorded trades or quotes from files.

    Arguments of version 0.8, `ReplaySource(file_path="ticks.csv", replay_speed=2.0)`, are
    taken too; as then, the speed is 1 where they do not say another.

    Backpressure: waits; reads at most a few batches ahead.

    Delivery: every row once, each time the source is opened.

    Attributes:
        path: File or pattern, or a list of them; files of one pattern go by name.
        format: Format of the files; `auto` tells it from content and path.
        kind: What a row is, where the files do not say.
        symbol: Symbol of the rows of files without symbols; for others the only one to
            keep, the rest being counted as `filtered`.
        columns: Our column names to the files' own, where they differ.
        timezone: Zone of times that name none, in the files and in `start` and `end`.
        out_of_order: The watermark is the highest event time seen minus this.
        max_future_skew: How far a row may lie in the future: of its own `ts_recv`, else of
            what two rows in a row of its file have come to. A row beyond is rejected as
            `future` and moves no watermark. None to believe any time.
        states: A CSV file of what the feed said of itself: `ts_event` and `state` (`live`,
            `quiet`, `closed`, `halted` or `disconnected`), and if wanted `symbol` and
            `until`. Each comes before the first row that lies after it.
        on_outage: While the feed is `disconnected`, `hold` lets others wait for its
            watermark; `close` lets them go on as if it were idle.
        start: Event time of the first row to take, ISO 8601.
        end: Event time before which the last row to take lies, ISO 8601.
        speed: `max`, or how many seconds of event time pass in a second.
        provider: The provider it stands for: the stores that it feeds can slow it down, as
            they would the provider. Needs a finite `speed`.
        order: `merge` reads several files as one stream by event time; files that go on
            where the ones before them end are read after those, so it does not matter
            into how many files a recording is cut. `sequence` reads the files one after
            the other as they are listed, whatever their times.
        batch_rows: Most rows in one batch; the result does not depend on it.
        strict: Fail on the first row that cannot be taken, instead of rejecting it.
        negative_prices: Take prices below zero, as of spreads and power; they are rejected
            otherwise.
        symbols: The only symbols to keep, the rest being counted as `filtered`; none for
            all. Not with `symbol`.
        pacing_budget: Rate and burst of a token bucket that rows pass before they come out;
            null for none.
    """

    path: Paths
    format: Literal["auto"] | Format = "auto"
    kind: Literal["trades", "quotes"] | None = None
    symbol: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    timezone: str = "UTC"
    out_of_order: Duration = "1s"
    max_future_skew: Duration | None = None
    states: Path | None = None
    on_outage: OnOutage = "hold"
    start: Moment = None
    end: Moment = None
    speed: float | Literal["max"] = "max"
    provider: str | None = None
    order: Literal["merge", "sequence"] = "merge"
    batch_rows: int = Field(default=65_536, ge=1)
    strict: bool = False
    negative_prices: bool = False
    symbols: tuple[str, ...] = ()
    pacing_budget: tuple[float, float] | None = None

    type_name: ClassVar[str]
    tuning: ClassVar[tuple[str, ...]] = ("speed", "provider", "batch_rows", "pacing_budget")
    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)

    def __post_init__(self) -> None:
        if self.speed != "max" and not 0 < self.speed < float("inf"):
            msg = f"`speed` must be `max` or a number above 0, was {self.speed}"
            raise ConfigError(msg, parameter="speed")
        if self.pacing_budget is not None:
            budget_of(self.pacing_budget)
        else:
            check_provider(self.provider, self.speed)
        if self.symbol is not None and self.symbols:
            msg = "`symbol` and `symbols` are not to be given both"
            raise ConfigError(msg, parameter="symbols")
        start, end = self._range()
        if start >= end:
            msg = f"`end` must be after `start` ({self.start}), was {self.end}"
            raise ConfigError(msg, parameter="end")

    def _range(self) -> tuple[int, int]:
        start, end = self.start, self.end
        return (
            TIME_MIN if start is None else moment_ns(str(start), self.timezone, "start"),
            TIME_MAX if end is None else moment_ns(str(end), self.timezone, "end"),
        )

    def _files(self) -> list[Path]:
        path = self.path
        paths = [path] if isinstance(path, str | PathLike) else path
        return find_files(fspath(one) for one in paths)

    def _file_set(self, files: list[Path], wanted: frozenset[str] | None) -> FileSet:
        skew = self.max_future_skew
        options = ReadOptions(
            kind=self.kind,
            symbol=self.symbol,
            columns=self.columns,
            timezone=self.timezone,
            batch_rows=self.batch_rows,
            strict=self.strict,
            wanted=wanted,
            max_future_skew=None if skew is None else duration_ns(skew),
            negative_prices=self.negative_prices,
        )
        return FileSet(files, self.format, options)

    def schema(self) -> Schema:
        """Return the columns of the first file.

        Raises:
            InputError: If there is no file, or it cannot be read.
        """
        return self._file_set(self._files()[:1], None).schema()

    async def open(self, context: NodeContext) -> _ReplayReader:
        """Look at all files and start reading.

        Raises:
            InputError: If there is no file, one cannot be read, or their columns differ.
        """
        wanted = context.columns
        kept = self.symbols if self.symbol is None else (self.symbol,)
        if wanted is not None and kept:
            wanted |= {"symbol"}
        if wanted is not None and self.max_future_skew is not None:
            wanted |= {"ts_recv"}
        paths = self._files()
        known = await asyncio.to_thread(describe_files, paths)
        columns = None if wanted is None else sorted(wanted)
        if context.position is not None:
            check_files(known, context.position["files"])
            check_columns(columns, context.position["columns"])
            later = paths[len(context.position["files"]) :]
            await asyncio.to_thread(self._check_later, later, context.position["watermark"])
        files = self._file_set(paths, wanted)
        bound = duration_ns(self.out_of_order)
        states = []
        if self.states is not None:
            states = await asyncio.to_thread(read_states, self.states, self.timezone)
        reader = await asyncio.to_thread(files.open, context.symbols, self.order, _JOINTS * bound)
        start, end = self._range()
        feed = Feed(
            reader,
            bound=bound,
            start=start,
            end=end,
            symbols=kept,
            states=states,
            on_outage=self.on_outage,
        )
        pacer = None if self.speed == "max" else Pacer(context.clock, self.speed)
        given = {"files": known, "columns": columns}
        if self.pacing_budget is None:
            reading = _ReplayReader(feed, pacer, context, given)
        else:
            bucket = token_bucket.Pacer(self.pacing_budget, clock=context.clock)
            reading = _BudgetedReader(feed, pacer, context, given, bucket)
        if self.provider is not None:
            reading.provider = self.provider
        return reading

    def _check_later(self, paths: Sequence[Path], watermark: int) -> None:
        """Make sure that files which came since a checkpoint go on where it was taken."""
        reached = watermark + duration_ns(self.out_of_order)
        for path in paths if self.order == "merge" else ():
            first = self._file_set([path], None).starts()
            if first < reached:
                msg = (
                    "the file is new since the checkpoint was taken and begins before the rows "
                    "that were read by then; name it after them with `order: sequence`, or "
                    "begin anew with `--from-scratch`"
                )
                raise CheckpointError(msg, path=str(path))


class _ReplayReader:
    provider: str  # where there is one; without it no store can slow it down

    def __init__(
        self, feed: Feed, pacer: Pacer | None, context: NodeContext, input_: dict[str, Any]
    ) -> None:
        self.schema = feed.schema
        self._feed = feed
        self._pacer = pacer
        self._holds = pacer is not None
        self._account = context.account
        self._fraction = 0.0
        self._held: deque[SourceItem] = deque()
        self._input = input_
        self._given = Standing.at(context.position)
        self._dropping = Standing.at(context.position)
        self._watermark = TIME_MIN if context.position is None else context.position["watermark"]
        self._ahead: ReadAhead[Given] = ReadAhead(self._next, _BATCHES_AHEAD)

    def _next(self) -> Given | None:
        """Return the next step that is not all of it given already; called in a thread."""
        while (step := self._feed.next()) is not None:
            left = self._dropping.without(step)
            if left is step or left.items or left.rejected is not None or left.filtered:
                return left
        if not self._dropping.is_none:
            msg = (
                f"the input ends {self._dropping.rows:,} rows before the place where the "
                "checkpoint was taken; begin anew with `--from-scratch`"
            )
            raise CheckpointError(msg)
        return None

    def throttle(self, scale: float) -> None:
        """Let event time pass at this share of `speed`."""
        if self._pacer is not None:
            self._pacer.time.throttle(scale)

    @property
    def budget_scale(self) -> float:
        """The share of `speed` at which event time passes."""
        return 1.0 if self._pacer is None else self._pacer.time.scale

    def position(self) -> Position:
        """Return what was given, and of which files."""
        return {**self._input, **self._given.position(), "watermark": self._watermark}

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        given: list[tuple[str, SourceItem]] = []
        while not given:
            if self._held:
                item = self._held[0]
                if isinstance(item, Batch):
                    return [("out", await self._due(item))]
                self._given.told += 1
                return [("out", self._held.popleft())]
            step = await self._ahead.get()
            if step is None:
                self._fraction = 1.0
                return None
            given = self._taken(step)
        return given

    def _taken(self, step: Given) -> list[tuple[str, SourceItem]]:
        account = self._account
        account.rows_in += step.filtered + step.rejected_rows
        account.add("filtered", step.filtered)
        account.add("rejected", step.rejected_rows)
        self._given.filtered += step.filtered
        self._given.rejected += step.rejected_rows
        self._fraction = step.fraction
        given: list[tuple[str, SourceItem]] = []
        if step.rejected is not None:
            given.append(("rejected", step.rejected))
        if self._holds:
            self._held.extend(step.items)
            return given
        for item in step.items:
            if isinstance(item, Batch):
                self._count(item)
            else:
                self._given.told += 1
            given.append(("out", item))
        return given

    async def _rows_due(self, batch: Batch) -> int:
        return len(batch) if self._pacer is None else await self._pacer.wait(batch)

    async def _due(self, batch: Batch) -> Batch:
        rows = await self._rows_due(batch)
        if rows == len(batch):
            self._held.popleft()
        else:
            self._held[0] = batch.slice(rows, len(batch))
        due = batch if rows == len(batch) else batch.slice(0, rows)
        self._count(due)
        return due

    def _count(self, batch: Batch) -> None:
        self._account.rows_in += len(batch)
        self._given.rows += len(batch)
        self._watermark = max(self._watermark, batch.watermark)

    def fraction(self) -> float | None:
        return self._fraction

    async def close(self) -> None:
        await self._ahead.close()
        self._feed.close()


class _BudgetedReader(_ReplayReader):
    """Lets rows out as a token bucket allows too, whose rate can be scaled."""

    def __init__(
        self,
        feed: Feed,
        pacer: Pacer | None,
        context: NodeContext,
        input_: dict[str, Any],
        bucket: token_bucket.Pacer,
    ) -> None:
        super().__init__(feed, pacer, context, input_)
        self._bucket = bucket
        self._holds = True

    def throttle(self, scale: float) -> None:
        super().throttle(scale)
        self._bucket.scale = scale

    @property
    def budget_scale(self) -> float:
        """The share of the budget that it may draw on."""
        return self._bucket.scale

    @property
    def pacing_waits(self) -> int:
        """How often it had to wait for a token."""
        return self._bucket.waits

    async def _rows_due(self, batch: Batch) -> int:
        rows = await super()._rows_due(batch)
        rows = max(1, min(rows, int(self._bucket.budget.burst * self._bucket.scale)))
        await self._bucket.allow(rows)
        return rows
