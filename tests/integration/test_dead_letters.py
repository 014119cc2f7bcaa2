"""Rows that could not be taken: kept, told, and given back, also after a crash or damage."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.cli.main import cli
from market_data_pipeline.dag.epochs import EpochMark, EpochWriter, Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import DamagedLogError, InputError, NodeError, OutputError
from market_data_pipeline.letters import read_letters
from market_data_pipeline.segment_log import SegmentLog
from market_data_pipeline.sink.dead_letters import DeadLetterFolder, DeadLetterSink
from market_data_pipeline.sink.store import StoreSink
from market_data_pipeline.source.dead_letters import DeadLetterSource
from market_data_pipeline.testing import ManualClock
from market_data_pipeline.types import Bar
from support.in_loop import in_loop
from support.nodes import trades

NOW = 1_700_000_000_000_000_000
CSV = """ts_event,symbol,price,size
2024-01-02T12:00:00Z,A,1.5,1
2024-01-02T12:00:01Z,A,many,1
2024-01-02T12:00:09Z,A,1.25,2
2024-01-02T12:00:02Z,A,1.125,3
2024-01-02T12:00:10Z,A,1,-1
"""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder of two nodes' letters' worth: rejected rows of a file, and late trades."""
    (tmp_path / "ticks.csv").write_text(CSV)
    dag = mdp.Dag("kept")
    ticks = dag.source(mdp.ReplaySource(str(tmp_path / "ticks.csv")), name="ticks")
    bars = ticks.bars("1s", name="bars")
    bars.sink(mdp.MemorySink(), name="out")
    ticks.rejected.sink(DeadLetterSink(tmp_path / "bad"), name="bad")
    bars.late.sink(DeadLetterSink(tmp_path / "late"), name="late")
    result = mdp.run(dag)
    assert result.ledger["bad"].rows_out == 2
    assert result.ledger["late"].rows_out == 1
    return tmp_path


def mdp_(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def test_rejected_rows_are_kept_with_reason_and_place(kept: Path) -> None:
    """A letter for each reason."""
    letters = list(read_letters(kept / "bad"))
    assert [(x.node, x.rows) for x in letters] == [("bad", 1), ("bad", 1)]
    assert len({x.reason for x in letters}) == 2
    assert all(x.place.endswith("ticks.csv") for x in letters)
    table = DeadLetterSink(kept / "bad").read()
    assert table["rows"].to_pylist() == [1, 1]
    assert table["letter"].to_pylist() == ["0", "0.1"]


def test_late_rows_come_back_to_a_pipeline_as_they_were(kept: Path) -> None:
    """With the reason that the sink was given, or its own name."""
    dag = mdp.Dag("again")
    out = mdp.MemorySink(prices="decimal")
    dag.source(DeadLetterSource(kept / "late", reason="late")).sink(out)
    mdp.run(dag)
    [row] = out.read().select(["symbol", "price", "size"]).to_pylist()
    assert row == {"symbol": "A", "price": Decimal("1.125"), "size": Decimal(3)}


def test_rows_without_event_time_are_for_a_file(kept: Path) -> None:
    """A pipeline could not order them."""
    with pytest.raises(InputError, match="mdp dlq replay"):
        DeadLetterSource(kept / "bad").schema()
    with pytest.raises(InputError, match="there are no such letters"):
        DeadLetterSource(kept / "late", reason="nothing").schema()
    with pytest.raises(InputError, match="there are no dead letters here"):
        DeadLetterSource(kept / "nowhere").schema()


def test_dlq_list_counts_by_node_and_reason(kept: Path) -> None:
    """As a table, and as JSON."""
    shown = mdp_("dlq", "list", str(kept / "late"))
    assert shown.exit_code == 0
    assert shown.output.splitlines()[2].split()[:4] == ["late", "late", "1", "1"]
    told = json.loads(mdp_("dlq", "list", str(kept / "bad"), "--json").output)
    assert told["rows"] == 2
    assert [group["rows"] for group in told["groups"]] == [1, 1]


def test_dlq_show_prints_the_rows(kept: Path) -> None:
    """Exactly, with place and detail."""
    shown = mdp_("dlq", "show", str(kept / "late")).output
    assert '"price": 1.125' in shown
    assert "late" in shown
    [first, second] = mdp_("dlq", "show", str(kept / "bad"), "--json").output.splitlines()
    assert json.loads(first)["body"][0]["row"] == 2
    assert json.loads(first)["body"][0]["raw"] == "2024-01-02T12:00:01Z,A,many,1"
    assert json.loads(second)["letter"] == "0.1"
    one = mdp_("dlq", "show", str(kept / "bad"), "--letter", "0.1", "--json").output
    assert json.loads(one) == json.loads(second)


def test_dlq_show_limits_rows_not_letters(tmp_path: Path) -> None:
    """A letter may hold any number of rows; what is left out is said."""
    (tmp_path / "ticks.csv").write_text(CSV + "2024-01-02T12:00:11Z,A,1,-1\n" * 30)
    dag = mdp.Dag("many")
    ticks = dag.source(mdp.ReplaySource(str(tmp_path / "ticks.csv")), name="ticks")
    ticks.sink(mdp.MemorySink(), name="out")
    ticks.rejected.sink(DeadLetterSink(tmp_path / "bad"), name="bad")
    mdp.run(dag)
    shown = mdp_("dlq", "show", str(tmp_path / "bad"), "--limit", "5")
    assert shown.stdout.count('"raw"') == 5
    assert "27 rows more; show them with `--limit`" in shown.stderr
    assert mdp_("dlq", "show", str(tmp_path / "bad"), "--limit", "32").stderr == ""
    whole = mdp_("dlq", "show", str(tmp_path / "bad"), "--limit", "3", "--json").stdout
    assert sum(len(json.loads(line)["body"]) for line in whole.splitlines()) == 3


@pytest.mark.parametrize("folder", ["late", "bad"])
def test_dlq_replay_writes_a_file(kept: Path, folder: str) -> None:
    """Of rows with and without an event time."""
    output = kept / "again.parquet"
    done = mdp_("dlq", "replay", str(kept / folder), "-o", str(output))
    assert done.exit_code == 0, done.output
    assert parquet.read_table(output).num_rows == (1 if folder == "late" else 2)
    assert done.output.endswith("1 row of 1 letter\n" if folder == "late" else "2 letters\n")
    refused = mdp_("dlq", "replay", str(kept / folder), "-o", str(output))
    assert refused.exit_code == 2
    assert "`mdp dlq`" in refused.output
    again = mdp_("dlq", "replay", str(kept / folder), "-o", str(output), "--overwrite")
    assert again.exit_code == 0


def test_letters_can_be_named_in_yaml(tmp_path: Path) -> None:
    """As sink and as source."""
    (tmp_path / "ticks.csv").write_text(CSV)
    text = f"""
name: kept
nodes:
  ticks: {{source: replay, path: {tmp_path}/ticks.csv}}
  out: {{sink: memory, from: ticks}}
  bad: {{sink: dead_letters, from: ticks.rejected, path: {tmp_path}/dlq/}}
"""
    (tmp_path / "kept.yaml").write_text(text)
    mdp.run(mdp.load(tmp_path / "kept.yaml"))
    assert sum(x.rows for x in read_letters(tmp_path / "dlq")) == 2


def test_second_run_goes_on_after_the_first(kept: Path) -> None:
    """Letters are appended, never replaced."""
    before = list(read_letters(kept / "late"))

    async def write() -> None:
        context = NodeContext("late", clock=ManualClock(NOW))
        writer = await DeadLetterSink(kept / "late").open(context, None)
        await writer.write(trades([1, 2], context.symbols))
        await writer.finish()

    asyncio.run(write())
    after = list(read_letters(kept / "late"))
    assert after[:-1] == before
    assert (after[-1].time_ns, after[-1].rows) == (NOW, 2)


def test_rows_of_a_run_that_fails_stay(tmp_path: Path) -> None:
    """Nothing is safer than a dead letter."""

    async def write() -> None:
        context = NodeContext("late")
        writer = await DeadLetterSink(tmp_path / "dlq").open(context, None)
        await writer.write(trades([1], context.symbols))
        await writer.abort()

    asyncio.run(write())
    assert [letter.rows for letter in read_letters(tmp_path / "dlq")] == [1]


def test_torn_tail_is_cut_off(kept: Path) -> None:
    """At any byte: a process was killed while it wrote, nobody was told that it is safe."""
    [segment] = (kept / "late").glob("*.log")
    whole = segment.read_bytes()
    for cut in range(1, len(whole), 37):
        segment.write_bytes(whole + whole[:cut])
        assert len(list(read_letters(kept / "late"))) == 1
    log = SegmentLog(kept / "late")
    assert log.torn_bytes
    log.close()
    assert segment.read_bytes() == whole


def test_damage_to_what_was_safe_is_refused(kept: Path) -> None:
    """Never skipped, whichever byte it is, where letters follow."""

    async def more() -> None:
        context = NodeContext("late")
        writer = await DeadLetterSink(kept / "late").open(context, None)
        await writer.write(trades([1], context.symbols))
        await writer.finish()

    first = len(next((kept / "late").glob("*.log")).read_bytes())
    asyncio.run(more())
    [segment] = (kept / "late").glob("*.log")
    whole = segment.read_bytes()
    for at in range(0, first, 29):
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedLogError, match="damaged"):
            list(read_letters(kept / "late"))
    assert mdp_("dlq", "list", str(kept / "late")).exit_code == 1


def test_log_of_something_else_is_refused(tmp_path: Path) -> None:
    """It is no record of letters, though it is whole."""
    log = SegmentLog(tmp_path / "log")
    log.append([b"\x02\0\0\0{}", b"x", b"\xff\xff\xff\xff"])
    log.close()
    with pytest.raises(DamagedLogError, match="holds no dead letters"):
        list(read_letters(tmp_path / "log"))


def test_file_is_no_folder(tmp_path: Path) -> None:
    """It is said before anything runs."""
    (tmp_path / "dlq").write_text("")
    with pytest.raises(OutputError, match="it is a file; give the name of a folder"):
        DeadLetterSink(tmp_path / "dlq").check()
    with pytest.raises(OutputError, match="is not a folder"):
        DeadLetterSink(tmp_path / "dlq" / "late").check()
    DeadLetterSink(tmp_path / "folders" / "made" / "with it").check()


# Epochs


@contextmanager
def folders(tmp_path: Path) -> Iterator[Any]:
    def make(epoch: int) -> Path:
        folder = tmp_path / f"epoch-{epoch}"
        folder.mkdir()
        return folder

    yield make


async def epochs(path: Path, lineage: str = "l") -> tuple[EpochWriter, NodeContext]:
    account = Account("late")
    context = NodeContext("late", account=account, job=Job("job", lineage))
    writer = await DeadLetterSink(path).open(context, None)
    assert isinstance(writer, EpochWriter)
    return writer, context


async def written(writer: EpochWriter, context: NodeContext, *times: int) -> None:
    batch: Batch = trades(times, context.symbols)
    context.account.rows_in += len(batch)
    await writer.write(batch)


@in_loop
async def test_epochs_are_kept_once(tmp_path: Path) -> None:
    """Committed again, also by another process, they do nothing."""
    path = tmp_path / "dlq"
    with folders(tmp_path) as folder:
        writer, context = await epochs(path)
        assert await writer.committed() is None
        await written(writer, context, 1, 2)
        first = folder(1)
        await writer.stage(1, first)
        assert not list(read_letters(path))
        await writer.commit(1, first)
        await writer.commit(1, first)
        await written(writer, context, 3)
        second = folder(2)
        await writer.stage(2, second)
        await writer.abort()
        assert context.account.rows_out == 3

        writer, context = await epochs(path)
        assert await writer.committed() == EpochMark("l", 1)
        await writer.commit(1, first)
        await writer.commit(2, second)
        await writer.finish()
    assert [letter.rows for letter in read_letters(path)] == [2, 1]


@in_loop
async def test_epoch_of_another_line_of_life_is_another_epoch(tmp_path: Path) -> None:
    """Numbers of two lineages have nothing to do with each other."""
    path = tmp_path / "dlq"
    for lineage in ("a", "b"):
        writer, context = await epochs(path, lineage)
        await written(writer, context, 1)
        folder = tmp_path / lineage
        folder.mkdir()
        await writer.stage(1, folder)
        await writer.commit(1, folder)
        await writer.finish()
    writer, _ = await epochs(path, "c")
    assert await writer.committed() == EpochMark("b", 1)
    await writer.abort()
    assert len(list(read_letters(path))) == 2


# Batches that a store refused


class Refusing:
    def upsert_bars(self, rows: list[Any]) -> None:
        msg = "no such table"
        raise LookupError(msg)


def test_batch_that_a_store_refused_is_kept(tmp_path: Path) -> None:
    """Exactly, and can be written to a file of JSON lines."""
    price = Decimal("1.10")
    bar = Bar("A", datetime(2024, 1, 2, tzinfo=UTC), price, price, price, price, Decimal(1))

    async def write() -> StoreSink:
        hook = DeadLetterFolder(tmp_path / "dlq", clock=ManualClock(NOW))
        sink = StoreSink(Refusing(), dead_letters=hook)
        await sink.start()
        await sink.write([bar, bar])
        await sink.write([bar])
        await sink.close()
        return sink

    sink = asyncio.run(write())
    assert sink.counters.dead_lettered == 2
    letters = list(read_letters(tmp_path / "dlq"))
    assert {x.reason for x in letters} == {"LookupError"}
    assert letters[0].detail == "no such table"
    assert sum(x.rows for x in letters) == 3
    output = tmp_path / "again.jsonl"
    done = mdp_("dlq", "replay", str(tmp_path / "dlq"), "-o", str(output))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["open"] for line in lines] == ["1.10"] * 3
    refused = mdp_("dlq", "replay", str(tmp_path / "dlq"), "-o", str(tmp_path / "x.parquet"))
    assert refused.exit_code == 2
    assert "name a .jsonl file" in refused.output


def test_rows_of_other_columns_do_not_mix(tmp_path: Path) -> None:
    """It is said which letter is odd."""

    async def write() -> None:
        context = NodeContext("late")
        writer = await DeadLetterSink(tmp_path / "dlq").open(context, None)
        batch = trades([1], context.symbols)
        await writer.write(batch)
        await writer.write(batch.select(["ts_event", "symbol", "price"]))
        await writer.finish()

    asyncio.run(write())
    dag = mdp.Dag("mixed")
    dag.source(DeadLetterSource(tmp_path / "dlq")).sink(mdp.MemorySink())
    with pytest.raises(NodeError, match="with other columns"):
        mdp.run(dag)


def test_source_goes_on_where_it_stood(tmp_path: Path) -> None:
    """With the watermarks it would have had."""

    async def write() -> None:
        context = NodeContext("late")
        writer = await DeadLetterSink(tmp_path / "dlq").open(context, None)
        for times in ([5, 1], [3], [9, 9]):
            await writer.write(trades(times, context.symbols))
        await writer.finish()

    async def read(position: dict[str, Any] | None, reads: int) -> list[Any]:
        source = DeadLetterSource(tmp_path / "dlq", out_of_order="1ns")
        context = NodeContext("again", position=position)
        reader = await source.open(context)
        found: list[Any] = []
        for _ in range(reads):
            for _, batch in await reader.read() or ():
                assert batch.progress is not None
                marks = batch.progress.watermarks(batch.times)
                found += zip(batch.times.tolist(), marks.tolist(), strict=True)
        assert context.account.rows_in == len(found)
        return [found, reader.position()]

    asyncio.run(write())
    rows, _ = asyncio.run(read(None, 9))
    for reads in range(4):
        before, position = asyncio.run(read(None, reads))
        after, _ = asyncio.run(read(dict(position), 9))
        assert before + after == rows
    assert np.all(np.diff([mark for _, mark in rows]) >= 0)
