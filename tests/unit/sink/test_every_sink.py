"""What every sink that makes a file must do."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.dag.nodes import SinkNode, SourceNode, TransformNode
from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError, SchemaError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.jsonl import JsonlSink
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.sink.parquet import ParquetSink
from support.sink_rows import bars, context, trades, write

Make: TypeAlias = Callable[..., SinkNode]

_FILES: dict[str, tuple[Any, str]] = {
    "parquet": (ParquetSink, "out.parquet"),
    "folder": (ParquetSink, "out/"),
    "csv": (CsvSink, "out.csv"),
    "csv.gz": (CsvSink, "out.csv.gz"),
    "csv.zst": (CsvSink, "out.csv.zst"),
    "jsonl": (JsonlSink, "out.jsonl"),
    "jsonl.gz": (JsonlSink, "out.jsonl.gz"),
    "duckdb": (DuckDBSink, "out.duckdb"),
}


@pytest.fixture(params=_FILES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make a sink that writes to the test's own folder."""
    sink, name = _FILES[request.param]

    def made(folder: Path = tmp_path, **settings: object) -> SinkNode:
        node: SinkNode = sink(f"{folder}/{name}", **settings)
        return node

    return made


def test_component_is_a_sink_and_nothing_else(make: Make) -> None:
    """The graph tells kinds of nodes by their methods."""
    sink = make()
    assert isinstance(sink, SinkNode)
    assert not isinstance(sink, SourceNode | TransformNode)


def test_rows_come_back_in_order_and_are_counted(make: Make) -> None:
    """What was written is what is read, in the order of arrival."""
    batches = [bars(7), bars(0), bars(1, seed=2), bars(5000, seed=3)]
    memory = MemorySink()
    write(memory, batches)
    sink = make()
    account = write(sink, batches, BAR)
    assert (account.rows_in, account.rows_out, account.held) == (5008, 5008, 0)
    assert sink.read().column_names == list(BAR.names)
    assert sink.read()["count"].to_pylist() == memory.read()["count"].to_pylist()
    assert sink.read()["symbol"].to_pylist() == memory.read()["symbol"].to_pylist()
    assert canonical_hash(sink.read()) == canonical_hash(memory.read())


def test_all_kinds_of_columns_come_back(make: Make) -> None:
    """Undefined times, letters, text with quotes and line ends, and large sizes survive."""
    batch = trades(5, ["plain", None, 'say "x", y', "two\nlines", "ünï"])
    memory = MemorySink(prices="decimal")
    write(memory, [batch])
    sink = make(prices="decimal") if isinstance(make(), ParquetSink) else make()
    write(sink, [batch])
    read = sink.read()
    assert read["note"].to_pylist() == batch["note"].to_pylist()
    assert read["side"].to_pylist() == ["B", "A", "N", None, "B"]
    assert read["ts_event"].to_pylist() == memory.read()["ts_event"].to_pylist()
    assert read["ts_recv"].null_count == 5
    assert [float(price) for price in read["price"].to_pylist()] == [-1, -0.75, -0.5, -0.25, 0]


def test_empty_run_publishes_columns(make: Make) -> None:
    """A run without rows leaves a valid output that says what its columns are."""
    sink = make()
    account = write(sink, [], BAR)
    assert account.rows_out == 0
    read = sink.read()
    assert read.num_rows == 0
    if not isinstance(sink, JsonlSink):  # no row, no column names
        assert read.column_names == list(BAR.names)


def test_run_without_rows_or_schema_publishes_an_empty_output(make: Make, tmp_path: Path) -> None:
    """Where nobody knows the columns the output is there all the same."""
    write(make(), [], None)
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_visible_before_finish(make: Make, tmp_path: Path) -> None:
    """Only a hidden draft is there while rows flow."""

    def names() -> list[str]:
        return [path.name for path in tmp_path.iterdir()]

    async def run() -> None:
        writer = await make().open(context(), BAR)
        await writer.write(bars(10))
        assert all(name.startswith(".out") for name in names())
        await writer.finish()

    asyncio.run(run())
    (found,) = names()
    assert found.startswith("out")


@pytest.mark.parametrize("rows", [0, 10, 150_000])
def test_abort_leaves_nothing_and_counts_rows_as_held(
    make: Make, tmp_path: Path, rows: int
) -> None:
    """After a failure the folder is as it was, and no row counts as written."""
    given = context()

    async def run() -> None:
        writer = await make().open(given, BAR)
        if rows:
            given.account.rows_in += rows
            await writer.write(bars(rows))
        await writer.abort()
        await writer.abort()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
    assert (given.account.rows_out, given.account.held) == (0, rows)


def test_abort_keeps_the_output_of_an_earlier_run(make: Make) -> None:
    """A failed run that would have replaced an output leaves it as it was."""
    write(make(), [bars(3)])
    before = canonical_hash(make().read())

    async def run() -> None:
        writer = await make(overwrite=True).open(context(), BAR)
        await writer.write(bars(10))
        await writer.abort()

    asyncio.run(run())
    assert canonical_hash(make().read()) == before


def test_existing_output_is_refused_with_the_way_out(make: Make) -> None:
    """An output is never replaced unasked, neither at check nor at open."""
    write(make(), [bars(3)])
    with pytest.raises(OutputExistsError, match=r"out.*`--overwrite` of `mdp bars` and `mdp dlq`"):
        make().check()
    with pytest.raises(OutputExistsError):
        asyncio.run(make().open(context(), BAR))
    assert make().read().num_rows == 3


def test_output_that_comes_into_being_meanwhile_is_refused(make: Make, tmp_path: Path) -> None:
    """Another writer that was faster keeps its output."""

    async def run() -> None:
        writer = await make().open(context(), BAR)
        await writer.write(bars(10))
        other = await make().open(context(), BAR)
        await other.write(bars(4))
        await other.finish()
        with pytest.raises(OutputExistsError):
            await writer.finish()
        await writer.abort()

    asyncio.run(run())
    assert make().read().num_rows == 4
    assert len(list(tmp_path.iterdir())) == 1


def test_existing_output_is_overwritten_on_request(make: Make, tmp_path: Path) -> None:
    """Overwriting replaces all of it and leaves no trace of the old one."""
    write(make(), [bars(300)])
    write(make(overwrite=True), [bars(5, seed=9)])
    assert make().read().num_rows == 5
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_parent_is_an_error_that_says_so(make: Make, tmp_path: Path) -> None:
    """Folders are not made up: a typo must not scatter outputs."""
    with pytest.raises(OutputError, match=r"there is no folder .*create it first"):
        make(tmp_path / "absent").check()


def test_parent_that_is_a_file_is_an_error(make: Make, tmp_path: Path) -> None:
    """A path through a file is told apart from a missing folder."""
    (tmp_path / "plain").write_text("x")
    with pytest.raises(OutputError, match="is not a folder"):
        make(tmp_path / "plain").check()


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A folder that the test may read but not write to, whoever runs it."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent, "sealed")
        folder.mkdir(mode=0o555)
        if user == 0:
            os.seteuid(65_534)
        yield folder
        os.seteuid(user)


def test_parent_without_permission_is_an_error(make: Make, sealed: Path) -> None:
    """A folder that may not be written to is found before the run."""
    with pytest.raises(OutputError, match="no permission to write"):
        make(sealed).check()


def test_rows_of_another_schema_are_refused(make: Make, tmp_path: Path) -> None:
    """One output has one set of columns."""
    with pytest.raises(SchemaError, match="cannot follow"):
        write(make(), [bars(3), trades(3)])
    assert list(tmp_path.iterdir()) == []


def test_path_object_is_taken(make: Make) -> None:
    """A `pathlib.Path` is kept as text, so that the settings can be written down."""
    path: Any = getattr(make(), "path")  # noqa: B009
    assert isinstance(path, str)
    if not path.endswith("/"):
        again = type(make())(Path(path))  # type: ignore[call-arg]
        assert getattr(again, "path") == path  # noqa: B009


@pytest.mark.parametrize(
    ("sink", "path", "wanted"),
    [
        (ParquetSink, "bars.txt", r"must end in `.parquet`"),
        (CsvSink, "bars.txt", r"must end in one of `.csv`, `.csv.gz`, `.csv.zst`"),
        (JsonlSink, "bars.json", r"must end in one of `.jsonl`"),
    ],
)
def test_wrong_suffix_is_a_config_error(sink: Any, path: str, wanted: str) -> None:
    """The end of the path decides what is written, so it must be one that is known."""
    with pytest.raises(ConfigError, match=wanted) as found:
        sink(path)
    assert found.value.parameter == "path"
