"""A feed that cannot be read twice, through a journal, in a run with checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, SourceReader
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.records import Schema
from market_data_pipeline.segment_log import LogReader
from market_data_pipeline.source.failover import FailoverSource
from market_data_pipeline.source.streamed import StreamedSource
from market_data_pipeline.testing import Pause, ScriptedSource
from market_data_pipeline.types import Quote
from support.epoch_sink import EpochSink
from support.manual_clock import ManualClock
from support.waiting import until

_SECOND = 10**9


def _row(second: int) -> dict[str, Any]:
    return {"ts_event": second * _SECOND, "symbol": "A", "price": 0, "size": 0}


_said: list[Any] = []


class _HeldClock(ManualClock):
    """A clock on which nobody wakes up before it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        """Wait until it goes on."""
        await self.go_on.wait()


@component("live")
class _Live:
    """A feed that says what it says once: nobody can ask for it again."""

    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def schema(self) -> Schema | None:
        return ScriptedSource([_row(1)]).schema()

    async def open(self, context: NodeContext) -> SourceReader:
        return await ScriptedSource([*_said]).open(context)


def _graph(folder: Path, feed: list[Any]) -> tuple[mdp.Dag, EpochSink]:
    """Return the graph over a feed that says something else each time it is connected."""
    dag, sink = mdp.Dag("live"), EpochSink(folder / "out.json")
    _said[:] = feed
    journal = mdp.JournalSource(_Live(), folder / "journal", segment_bytes=1)
    dag.source(journal, name="feed").dedupe(key=["symbol", "ts_event"], ttl="1h").sink(
        sink, name="store"
    )
    return dag, sink


def _seconds(sink: EpochSink) -> list[int]:
    return [int(row[0]) // _SECOND for row in sink.rows()]


def _checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint(str(folder / "kept"), interval=None)


def test_rows_after_the_last_checkpoint_come_from_the_journal(tmp_path: Path) -> None:
    """The feed does not say them again; what was accepted before the crash is not lost."""

    async def crash() -> None:
        clock = _HeldClock()
        feed = [_row(1), _row(2), Pause(1.0), _row(3), _row(4), Pause(float("inf"))]
        dag, _ = _graph(tmp_path, feed)
        run = Run(dag, clock=clock, checkpoint=_checkpoint(tmp_path))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.run())
            await until(lambda: run.phase == "running" and run.ledger()["feed"].rows_in == 2)
            await run.checkpoint()
            clock.go_on.set()
            await until(lambda: run.ledger()["feed"].rows_in == 4)
            task.cancel()

    asyncio.run(crash())
    dag, sink = _graph(tmp_path, [_row(9), _row(10)])
    assert _seconds(sink) == [1, 2]
    result = mdp.run(dag, checkpoint=_checkpoint(tmp_path))
    assert _seconds(sink) == [1, 2, 3, 4, 9, 10]
    assert result.ledger["feed"].rows_in == 6


class _Stream:
    """A feed that is one asynchronous generator: it is over once it was cancelled."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def stream(self) -> AsyncGenerator[Quote, None]:
        for second in (1, 2, 3, 4):
            if second == 3:
                await self.go_on.wait()
            yield Quote("A", datetime.fromtimestamp(second, UTC), Decimal(1), Decimal(1))


@pytest.mark.parametrize("kind", ["streamed", "failover"])
def test_a_checkpoint_does_not_end_a_feed_that_streams(kind: str, tmp_path: Path) -> None:
    """The read that a barrier breaks off is the feed's only one, and more rows come of it."""

    async def take_one() -> tuple[list[int], bool]:
        clock, feed = _HeldClock(), _Stream()
        _said[:] = [_row(1), _row(2), Pause(1.0), _row(3), _row(4)]
        streamed = StreamedSource(feed, as_ticks=True)
        live: Any = streamed if kind == "streamed" else FailoverSource((_Live(),))
        dag, sink = mdp.Dag("live"), EpochSink(tmp_path / "out.json")
        journal = mdp.JournalSource(live, tmp_path / "journal")
        dag.source(journal, name="feed").sink(sink, name="store")
        run = Run(dag, clock=clock, checkpoint=_checkpoint(tmp_path))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.run())
            await until(lambda: run.phase == "running" and run.ledger()["feed"].rows_in == 2)
            await run.checkpoint()
            was_over = task.done()
            clock.go_on.set()
            feed.go_on.set()
            await task
        return _seconds(sink), was_over

    assert asyncio.run(take_one()) == ([1, 2, 3, 4], False)


def test_the_journal_keeps_what_the_oldest_checkpoint_needs(tmp_path: Path) -> None:
    """Older segments go while the run goes on."""

    async def several() -> list[int]:
        items = [item for n in range(1, 41) for item in (_row(n), Pause(0.0))]
        dag, _ = _graph(tmp_path, [*items, Pause(float("inf"))])
        run = Run(dag, checkpoint=_checkpoint(tmp_path))
        left: list[int] = []
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.run())
            for rows in (5, 10, 15, 20, 25, 30):
                await until(
                    lambda rows=rows: (
                        run.phase == "running"  # type: ignore[misc]
                        and run.ledger()["feed"].rows_in >= rows
                    )
                )
                await run.checkpoint()
                left.append(LogReader(tmp_path / "journal").first)
            run.stop()
            await task
        return left

    left = asyncio.run(several())
    # Three checkpoints are kept: up to then the first is the oldest.
    assert left[0] >= 5
    assert left[0] == left[1] == left[2] < left[5]
