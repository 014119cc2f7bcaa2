"""A run with checkpoints: what it keeps, and that it goes on as if it had never stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.results import RunResult
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import NodeError, OutputError
from market_data_pipeline.sink.kept_epochs import KeptEpochs
from market_data_pipeline.testing import Pause, ScriptedSource
from support.crashes import HastyClock
from support.epoch_sink import EpochSink, Row
from support.waiting import until

_SECOND = 10**9


def ticks(count: int, *, pause_at: int | None = None, pause_s: float = float("inf")) -> list[Any]:
    """Return trades of two symbols, some twice and some late; others run between them."""
    items: list[Any] = []
    for i in range(count):
        if i == pause_at:
            items.append(Pause(pause_s))
        at = i * _SECOND // 3 - (2 * _SECOND if i % 11 == 5 else 0)
        row = {"ts_event": at, "symbol": "AB"[i % 2], "price": i % 7 + 1, "size": 1}
        items += [row, row, Pause(0.0)] if i % 5 == 0 else [row, Pause(0.0)]
    return items


def bars(items: list[Any], path: Path) -> tuple[mdp.Dag, EpochSink]:
    dag = mdp.Dag("job")
    sink = EpochSink(path)
    made = dag.source(ScriptedSource(items, out_of_order="1s"), name="ticks")
    made.dedupe(key=["symbol", "ts_event"], ttl="1min").bars("1s", lateness="2s").sink(
        sink, name="store"
    )
    return dag, sink


def straight(items: list[Any], path: Path) -> list[Row]:
    """Return the rows of a run that nothing interrupts."""
    dag, sink = bars(items, path / "straight.json")
    settings = Checkpoint(str(path / "straight"), interval=None)
    asyncio.run(Run(dag, checkpoint=settings, clock=HastyClock()).run())
    return sink.rows()


async def crash_after(run: Run, rows: int, *, checkpoint_at: int) -> None:
    """Run until the source has read so many rows, and drop everything."""

    def read(count: int) -> bool:
        return run.phase == "running" and run.ledger()["ticks"].rows_in >= count

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run())
        await until(lambda: read(checkpoint_at))
        await run.checkpoint()
        await until(lambda: read(rows))
        task.cancel()


def test_a_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """After a crash the next run gives exactly the rows that an uninterrupted one gives."""
    # However long the checkpoint takes, the first run waits before it comes to the end.
    items = ticks(90, pause_at=70, pause_s=600)
    expected = straight(items, tmp_path)
    settings = Checkpoint(str(tmp_path / "kept"), interval=None)
    dag, sink = bars(items, tmp_path / "out.json")
    asyncio.run(crash_after(Run(dag, checkpoint=settings), 60, checkpoint_at=20))
    assert 0 < len(sink.rows()) < len(expected)

    told: list[str] = []
    run = Run(dag, checkpoint=settings, notify=told.append, clock=HastyClock())
    result = asyncio.run(run.run())

    assert sorted(sink.rows()) == sorted(expected)
    assert told[0].startswith("resuming from checkpoint 1 of ")
    assert result.ledger["ticks"].rows_in == sum(isinstance(item, dict) for item in items)
    assert result.ledger.balanced


def test_checkpoints_are_taken_on_an_interval(tmp_path: Path) -> None:
    """A source that waits is woken for its barrier, and reads on afterwards."""
    dag, _ = bars(ticks(40, pause_at=30), tmp_path / "out.json")
    run = Run(dag, checkpoint=Checkpoint(str(tmp_path / "kept"), interval="20ms"))

    async def scenario() -> RunResult:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.run())
            await until(lambda: (told := run.checkpoints()) is not None and told.taken >= 3)
            run.stop()
        return task.result()

    result = asyncio.run(scenario())

    assert result.interrupted
    assert result.ledger["bars"].held > 0


def test_a_run_that_is_stopped_leaves_its_windows_open(tmp_path: Path) -> None:
    """What a stopped run held is in its last checkpoint, and the next run goes on with it."""
    items = ticks(60)
    expected = straight(items, tmp_path)
    settings = Checkpoint(str(tmp_path / "kept"), interval=None)
    dag, sink = bars(items, tmp_path / "out.json")
    run = Run(dag, checkpoint=settings)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run.run())
            await until(lambda: run.ledger()["ticks"].rows_in >= 48)
            run.stop()

    asyncio.run(scenario())
    assert len(sink.rows()) < len(expected)

    asyncio.run(Run(dag, checkpoint=settings).run())
    assert sorted(sink.rows()) == sorted(expected)


def test_a_job_that_has_ended_does_nothing(tmp_path: Path) -> None:
    """A second run over the same input says that it is complete, and writes nothing."""
    items = ticks(30)
    settings = Checkpoint(str(tmp_path / "kept"), interval=None)
    dag, sink = bars(items, tmp_path / "out.json")
    first = mdp.run(dag, checkpoint=settings)
    before = sink.rows()

    second = mdp.run(dag, checkpoint=settings)

    assert not first.was_complete
    assert second.was_complete
    assert sink.rows() == before
    assert second.ledger == first.ledger


@pytest.mark.parametrize(
    "sink_type", [mdp.CsvSink, mdp.JsonlSink, mdp.ParquetSink], ids=["csv", "jsonl", "parquet"]
)
def test_a_file_that_was_not_published_at_the_end_is_published_by_the_next_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sink_type: type[mdp.CsvSink | mdp.JsonlSink | mdp.ParquetSink],
) -> None:
    """The checkpoint of the end is decided before; the rows behind it must not stay hidden."""
    settings = Checkpoint(str(tmp_path / "kept"), interval=None)
    path = tmp_path / f"out.{sink_type.__name__.removesuffix('Sink').lower()}"
    sink = sink_type(path)
    dag = mdp.Dag("job")
    dag.source(ScriptedSource(ticks(30), out_of_order="1s")).bars("1s").sink(sink)
    with monkeypatch.context() as broken:
        broken.setattr(KeptEpochs, "finish", _full_disk)
        with pytest.raises(NodeError, match="disk is full"):
            mdp.run(dag, checkpoint=settings)
    assert not path.exists()

    assert mdp.run(dag, checkpoint=settings).was_complete
    published = path.read_bytes()
    assert sink.read().num_rows > 10

    path.unlink()
    assert mdp.run(dag, checkpoint=settings).was_complete
    assert path.read_bytes() == published

    written = path.stat()
    assert mdp.run(dag, checkpoint=settings).was_complete
    assert path.stat() == written


def _full_disk(_output: KeptEpochs) -> None:
    msg = "the disk is full"
    raise OutputError(msg)


@pytest.mark.parametrize("call", [1, 2])
def test_what_was_staged_for_a_failed_checkpoint_comes_with_the_next(
    tmp_path: Path, call: int
) -> None:
    """A stage that fails costs no row: the next checkpoint has them."""
    items = ticks(60)
    expected = straight(items, tmp_path)
    sink = EpochSink(tmp_path / "out.json", {"stage": (call,)})
    made = mdp.Dag("job")
    made.source(ScriptedSource(items, out_of_order="1s"), name="ticks").dedupe(
        key=["symbol", "ts_event"], ttl="1min"
    ).bars("1s", lateness="2s").sink(sink, name="store")
    result = mdp.run(made, checkpoint=Checkpoint(str(tmp_path / "kept"), interval=None))
    assert sorted(sink.rows()) == sorted(expected)
    assert result.checkpoints is not None
    assert result.checkpoints.failures == (1 if call == 1 else 0)
