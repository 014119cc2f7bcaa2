"""Every source, through the check that users run on theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.dag.epochs import Position, RewindableReader
from market_data_pipeline.dag.messages import END, Idle, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext, SourceNode
from market_data_pipeline.errors import CheckpointError
from market_data_pipeline.sink.dead_letters import DeadLetterSink
from market_data_pipeline.source.chaos import ChaosSource
from market_data_pipeline.source.dead_letters import DeadLetterSource
from market_data_pipeline.source.memory import MemorySource
from market_data_pipeline.source.replay import ReplaySource
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.testing import Crash, Pause, ScriptedSource, check_source
from support.operator_batches import random_batches

_SECOND = 1_000_000_000
_HEADER = "ts_event,symbol,price,size\n"


def _row(time: int, price: object = 1) -> dict[str, object]:
    return {"ts_event": time * _SECOND, "symbol": "A", "price": price, "size": 1}


def _csv(path: Path, first: int, rows: int, *, bad: int = 0) -> Path:
    """Write rows a second apart, each hundredth a second back, some that cannot be taken."""
    lines = [
        f"{(first + n - (n % 100 == 7)) * _SECOND},S{n % 3},"
        f"{'x' if bad and n % bad == bad - 1 else 100 + n},1\n"
        for n in range(rows)
    ]
    path.write_text(_HEADER + "".join(lines))
    return path


def test_synthetic_markets() -> None:
    """With copies, disorder and late rows, at full speed and as time passes."""
    check_source(lambda: SyntheticSource(rows=5_000, symbols=3, batch_rows=700))
    check_source(lambda: SyntheticSource(rows=300, symbols=3, batch_rows=70, speed=2.0))


def test_dead_letters(tmp_path: Path) -> None:
    """Rows that were kept, with disorder."""

    async def keep() -> None:
        context = NodeContext("late")
        writer = await DeadLetterSink(tmp_path / "dlq").open(context, None)
        for batch in random_batches():
            await writer.write(batch)
        await writer.finish()

    asyncio.run(keep())
    check_source(lambda: DeadLetterSource(tmp_path / "dlq", out_of_order="3s"))


@pytest.mark.parametrize("speed", ["max", 50.0])
@pytest.mark.parametrize("order", ["merge", "sequence"])
def test_replayed_files(tmp_path: Path, order: Any, speed: Any) -> None:
    """Several that overlap, with rejected rows, a range of time, and states between rows."""
    paths = [
        str(_csv(tmp_path / f"{name}.csv", first, 400, bad=bad))
        for name, first, bad in (("a", 0, 37), ("b", 150, 0), ("c", 390, 50))
    ]
    states = tmp_path / "states.csv"
    states.write_text("ts_event,state\n100000000000,halted\n300000000000,live\n")

    def make() -> SourceNode:
        return ReplaySource(
            paths,
            order=order,
            speed=speed,
            batch_rows=64,
            states=states,
            start="1970-01-01T00:00:20Z",
            end="1970-01-01T00:12:00Z",
            symbol="S1",
            out_of_order="5s",
        )

    check_source(make)


def test_rows_in_memory() -> None:
    """Batches as they are, and cut."""
    batches = random_batches(4)
    check_source(lambda: MemorySource(batches))
    check_source(lambda: MemorySource(batches, batch_rows=7, out_of_order="1s"))


def test_tables_in_memory() -> None:
    """With rows that cannot be taken."""
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{**_row(n), "price": float("nan") if n % 5 == 0 else n / 4} for n in range(200)]
    table = pyarrow.Table.from_pylist(rows)
    check_source(lambda: MemorySource(table, batch_rows=33))


def test_scripts() -> None:
    """Rows, states, silence; a failure that has happened does not happen again."""
    crash = Crash()
    crash.strike()
    items = [
        _row(1),
        [_row(2), _row(3)],
        Pause(3),
        Status("halted", 4 * _SECOND),
        crash,
        Idle(),
        Watermark(6 * _SECOND),
        _row(7),
    ]
    check_source(lambda: ScriptedSource(items, out_of_order="1s"))


async def _read(source: SourceNode, position: Position | None, reads: int) -> Position:
    """Open a source at a position, read so many times, and return where it then stands."""
    reader = await source.open(NodeContext("read", position=position))
    try:
        for _ in range(reads):
            await reader.read()
        assert isinstance(reader, RewindableReader)
        return reader.position()
    finally:
        await reader.close()


def test_a_script_goes_on_after_its_end() -> None:
    """What was written after an `END` comes when the job is run again."""
    source = ScriptedSource([_row(1), END, _row(3)])

    async def rest() -> list[object]:
        position = await _read(source, None, 2)
        reader = await source.open(NodeContext("again", position=position))
        return [await reader.read(), await reader.read()]

    given, end = asyncio.run(rest())
    assert isinstance(given, list)
    assert given[0][1].times.tolist() == [3 * _SECOND]
    assert end is None


@pytest.mark.parametrize("batch_rows", [50, 333])
def test_disturbed_sources(batch_rows: int) -> None:
    """Rows that are held back are held back again."""

    def make() -> SourceNode:
        return ChaosSource(
            of=SyntheticSource(rows=2_000, symbols=3, batch_rows=batch_rows),
            seed=3,
            drop=0.05,
            duplicate=0.05,
            reorder=0.1,
            delay=0.05,
            skew=0.02,
            disconnect=0.002,
            outage="100ms",
        )

    check_source(make)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """Nobody knows which of its rows are in the output."""
    path = _csv(tmp_path / "a.csv", 0, 50)
    opened = 0

    def make() -> SourceNode:
        nonlocal opened
        opened += 1
        if opened == 3:
            path.write_text(path.read_text().replace("100", "101", 1))
        return ReplaySource(str(path), batch_rows=10)

    with pytest.raises(AssertionError, match=r"a\.csv: the file has changed since") as told:
        check_source(make)
    assert isinstance(told.value.__cause__, CheckpointError)


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("a.csv", 0, r"b\.csv: the file was number 1 of the input .*a\.csv` is in its place"),
        ("c.csv", 0, r"c\.csv: the file is new since .* begins before the rows"),
    ],
)
def test_a_file_that_came_before_is_refused(
    tmp_path: Path, name: str, first: int, message: str
) -> None:
    """Its rows would have come among those that were read."""
    _csv(tmp_path / "b.csv", 100, 50)
    source = ReplaySource(str(tmp_path / "*.csv"), batch_rows=10)
    position = asyncio.run(_read(source, None, 2))
    _csv(tmp_path / name, first, 50)
    with pytest.raises(CheckpointError, match=message):
        asyncio.run(_read(source, position, 0))


def test_a_file_that_goes_on_is_read(tmp_path: Path) -> None:
    """The next day's file is there when the job goes on."""
    _csv(tmp_path / "b.csv", 100, 50)
    source = ReplaySource(str(tmp_path / "*.csv"), batch_rows=10)
    position = asyncio.run(_read(source, None, 6))
    _csv(tmp_path / "c.csv", 200, 30)
    assert asyncio.run(_read(source, position, 3))["rows"] == 80
