"""What a journal accepted is given again, once, and in order with what comes fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline import running
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import Position, RetainingReader
from market_data_pipeline.dag.messages import Idle, Status, Watermark
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import CheckpointError, ConfigError, DamagedLogError, OutputError
from market_data_pipeline.flow import Dag
from market_data_pipeline.segment_log import LogReader
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.chaos import ChaosSource
from market_data_pipeline.source.journal import JournalSource
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import ScriptedSource
from market_data_pipeline.testing.rows import rows_of
from support.operator_batches import random_batches

_SECOND = 1_000_000_000


def _row(second: int, symbol: str = "A") -> dict[str, Any]:
    return {"ts_event": second * _SECOND, "symbol": symbol, "price": second, "size": 1}


class _Given:
    """What came out of one opening of a journal."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.positions: list[Position] = []
        self.account = Account("feed")

    @property
    def seconds(self) -> list[int]:
        """The event times of the rows."""
        rows = [item for item in self.items if isinstance(item, Batch)]
        return [int(time) // _SECOND for batch in rows for time in batch.times]

    @property
    def told(self) -> list[Any]:
        """What came between the rows."""
        return [item for item in self.items if not isinstance(item, Batch)]

    @property
    def marks(self) -> list[int]:
        """The watermarks, in seconds."""
        found = [i.watermark if isinstance(i, Batch) else i.time for i in self.items if _marks(i)]
        return [mark // _SECOND for mark in found]


def _marks(item: object) -> bool:
    return isinstance(item, Batch | Watermark)


def _open(
    path: Path,
    items: Sequence[Any],
    *,
    position: Position | None = None,
    reads: int | None = None,
    impatient: bool = False,
    **settings: Any,
) -> _Given:
    """Open a journal over a feed that follows a script, and read it."""
    given = _Given()
    source = JournalSource(ScriptedSource(items, out_of_order="1s"), path, **settings)

    async def read() -> None:
        table = SymbolTable([f"code of run {len(items)}"])
        context = NodeContext("feed", table, given.account, position=position)
        reader = await source.open(context)
        assert isinstance(reader, RetainingReader)
        try:
            given.positions.append(reader.position())
            while reads is None or len(given.positions) <= reads:
                step = await (_hurried(reader.read) if impatient else reader.read())
                if step is None:
                    break
                given.items += [item for _, item in step]
                given.positions.append(reader.position())
        finally:
            await reader.close()

    asyncio.run(read())
    return given


async def _hurried(read: Any) -> Any:
    """Cancel reads that wait, as barriers do, until one is done."""
    while True:
        task = asyncio.ensure_future(read())  # noqa: TID251  one task, awaited here
        await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)


def test_rows_are_given_as_they_come_and_again(tmp_path: Path) -> None:
    """The second opening gives what the first had, then what is fresh."""
    first = _open(tmp_path, [_row(1), [_row(2), _row(3)], Status("halted", 3 * _SECOND), Idle()])
    assert first.seconds == [1, 2, 3]
    again = _open(tmp_path, [_row(8), _row(9)])
    assert again.seconds == [1, 2, 3, 8, 9]
    assert again.told[: len(first.told)] == first.told
    assert again.account.rows_in == 5


def test_the_silence_between_two_runs_is_told(tmp_path: Path) -> None:
    """From the last row before it to the first after it nobody listened."""
    _open(tmp_path, [_row(1), _row(4)])
    again = _open(tmp_path, [_row(9), _row(10)])
    silence = [Status("disconnected", 4 * _SECOND), Status("live", 9 * _SECOND)]
    assert again.told == silence
    third = _open(tmp_path, [])
    assert third.told == silence
    assert third.seconds == [1, 4, 9, 10]


def test_a_position_is_where_the_next_record_begins(tmp_path: Path) -> None:
    """Opened anywhere, the journal gives the rest, and what is fresh after it."""
    whole = _open(tmp_path / "a", [_row(n) for n in range(6)])
    for reads in range(7):
        path = tmp_path / f"from-{reads}"
        begun = _open(path, [_row(n) for n in range(6)], reads=reads)
        assert begun.seconds == whole.seconds[:reads]
        _open(path, [], position=begun.positions[0])
        rest = _open(path, [_row(20)], position=begun.positions[-1])
        assert rest.seconds == [20], "nothing more was accepted"
        again = _open(path, [], position=begun.positions[0])
        assert again.seconds == [*whole.seconds[:reads], 20]


def test_watermarks_go_on_from_before_the_restart(tmp_path: Path) -> None:
    """A feed that starts anew knows less than was known; watermarks never fall."""
    for place in (None, -1):
        path = tmp_path / str(place)
        begun = _open(path, [_row(10), _row(20)])
        position = None if place is None else begun.positions[place]
        rest = _open(path, [_row(15), Watermark(3 * _SECOND), _row(30)], position=position)
        assert rest.marks == sorted(rest.marks)
        assert rest.marks[-3:] == [19, 19, 29]
        assert rest.seconds[-2:] == [15, 30]


def test_a_read_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    """Neither while it writes nor while it reads what was written."""
    items = [_row(n) for n in range(30)]
    assert _open(tmp_path, items, impatient=True).seconds == list(range(30))
    assert _open(tmp_path, [], impatient=True).seconds == list(range(30))


def test_columns_of_any_kind_are_kept(tmp_path: Path) -> None:
    """As the other source gave them, with all columns whoever reads them."""
    batches = random_batches(5)
    expected = [row for batch in batches for row in rows_of(batch)]

    async def rows(source: MemorySource) -> list[Any]:
        journal = JournalSource(source, tmp_path)
        reader = await journal.open(NodeContext("feed", columns=frozenset({"price"})))
        found: list[Any] = []
        while (step := await reader.read()) is not None:
            found += [row for _, item in step if isinstance(item, Batch) for row in rows_of(item)]
        await reader.close()
        return found

    source = MemorySource(batches, out_of_order="15ns")
    assert [row[:-1] for row in asyncio.run(rows(source))] == [row[:-1] for row in expected]
    source = MemorySource([batches[0].slice(0, 0)])
    assert [row[:-1] for row in asyncio.run(rows(source))] == [row[:-1] for row in expected]


def test_rejected_rows_are_kept_and_counted(tmp_path: Path) -> None:
    """At each opening as at the first."""
    import pyarrow as pa

    prices = [1.0, float("nan"), 3.0]
    table = pa.table(
        {"ts_event": [1, 2, 3], "symbol": ["A"] * 3, "price": prices, "size": [1] * 3}
    )
    for opening in range(2):
        source = MemorySource(table if opening == 0 else table.slice(0, 0))
        dag = Dag("kept")
        feed = dag.source(JournalSource(source, tmp_path), name="feed")
        feed.sink(MemorySink(), name="rows")
        result = running.run(dag)
        assert result.ledger["feed"].rows_in == 3
        assert result.ledger["feed"].reasons == {"rejected": 1}
        assert result.ledger.balanced
        assert result.to_arrow("rows").num_rows == 2


def test_what_no_checkpoint_needs_is_deleted(tmp_path: Path) -> None:
    """Unless all is to be kept."""
    items = [_row(n) for n in range(20)]
    for retain, left in (("checkpoint", 2), ("all", 20)):
        path = tmp_path / retain
        given = _open(path, items, segment_bytes=1)
        assert len(LogReader(path).segments()) == 20
        source = JournalSource(ScriptedSource([]), path, segment_bytes=1, retain=retain)  # type: ignore[arg-type]

        async def release(source: JournalSource, position: Position) -> None:
            reader = await source.open(NodeContext("feed", position=position))
            await reader.release(position)
            await reader.close()

        asyncio.run(release(source, given.positions[18]))
        assert len(LogReader(path).segments()) == left
        assert _open(path, [], position=given.positions[18]).seconds == [18, 19]


def test_the_journal_of_another_job_is_refused(tmp_path: Path) -> None:
    """It ends before the place where the run goes on."""
    begun = _open(tmp_path / "ours", [_row(1), _row(2)])
    with pytest.raises(CheckpointError, match="the journal ends with record 0"):
        _open(tmp_path / "theirs", [], position=begun.positions[-1])


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    """Two runs over one folder would mix their feeds."""

    async def both() -> None:
        source = JournalSource(ScriptedSource([]), tmp_path)
        reader = await source.open(NodeContext("feed"))
        try:
            with pytest.raises(OutputError, match="another process writes this log"):
                await source.open(NodeContext("feed"))
        finally:
            await reader.close()

    asyncio.run(both())


def test_records_of_something_else_are_refused(tmp_path: Path) -> None:
    """A log of another kind in the same folder."""
    from market_data_pipeline.segment_log import SegmentLog

    log = SegmentLog(tmp_path)
    log.append([b"\x05\x00\x00\x00hello"])
    log.close()
    with pytest.raises(DamagedLogError, match="record 0 is none of a journal"):
        _open(tmp_path, [])


def test_a_source_whose_outputs_would_be_lost_is_refused(tmp_path: Path) -> None:
    """The truth of a disturbed source has no place in a journal."""
    with pytest.raises(ConfigError, match="output `truth` cannot have a journal"):
        JournalSource(ChaosSource(of=ScriptedSource([])), tmp_path)
