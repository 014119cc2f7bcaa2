"""The DuckDB sink's own promises."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pytest

from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.sql_names import quoted_name, quoted_text
from support.sink_rows import bars, context, trades, write

_HOSTILE = [
    'bars"; DROP TABLE keep; --',
    "bars'; DROP TABLE keep; --",
    'a"b""c',
    "select",
    "incoming",
    "main",
    "with space",
    "dots.and.more",
    "x.parquet",
    "ünï",
    "\\",
    "new\nline",
]


def _rows(path: Path, sql: str) -> list[Any]:
    with duckdb.connect(str(path), read_only=True) as database:
        return database.execute(sql).fetchall()


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_table_name_is_just_a_name(tmp_path: Path, name: str) -> None:
    """Whatever a name holds, it names one table and does nothing else."""
    path = tmp_path / "it's.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE keep AS SELECT 42 AS answer")
    write(DuckDBSink(path, table=name), [bars(3)])
    write(DuckDBSink(path, table=name, mode="append"), [bars(2)])
    assert DuckDBSink(path, table=name).read().num_rows == 5
    write(DuckDBSink(path, table=name, overwrite=True), [bars(1)])
    assert DuckDBSink(path, table=name).read().num_rows == 1
    names = [row[0] for row in _rows(path, "SELECT table_name FROM duckdb_tables()")]
    assert sorted(names) == sorted(["keep", name])
    assert _rows(path, "FROM keep") == [(42,)]


@pytest.mark.parametrize("name", _HOSTILE)
def test_quoted_text_comes_back(name: str) -> None:
    """A literal and a name mean what was put in."""
    with duckdb.connect() as database:
        row = database.execute(f"SELECT {quoted_text(name)} AS {quoted_name(name)}")
        assert row.description is not None
        assert row.description[0][0] == name
        assert row.fetchall() == [(name,)]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300])
def test_name_that_cannot_be_one_is_a_config_error(name: str) -> None:
    """It is refused when the component is made."""
    with pytest.raises(ConfigError, match="table name") as found:
        DuckDBSink("bars.duckdb", table=name)
    assert found.value.parameter == "table"


def test_overwrite_and_append_exclude_each_other() -> None:
    """Two settings that say opposite things are refused."""
    with pytest.raises(ConfigError, match="exclude each other"):
        DuckDBSink("bars.duckdb", mode="append", overwrite=True)


def test_columns_are_decimals_and_nanoseconds(tmp_path: Path) -> None:
    """Prices are exact, beyond what a float could hold, and times keep nanoseconds."""
    path = tmp_path / "t.duckdb"
    write(DuckDBSink(path, table="trades"), [trades(1)])
    types = dict(_rows(path, "SELECT column_name, data_type FROM duckdb_columns()"))
    assert types["price"] == "DECIMAL(38,9)"
    assert types["ts_event"] == "TIMESTAMP_NS"
    found = _rows(path, "SELECT size::VARCHAR, epoch_ns(ts_event), ts_recv FROM trades")
    assert found == [("1000000000.000000001", 1_700_000_000_123_456_789, None)]


def test_new_database_has_no_log_beside_it(tmp_path: Path) -> None:
    """All is in the one file that is published."""
    write(DuckDBSink(tmp_path / "a.duckdb"), [bars(3)])
    write(DuckDBSink(tmp_path / "a.duckdb", table="more"), [bars(3)])
    assert [path.name for path in tmp_path.iterdir()] == ["a.duckdb"]


def test_two_sinks_of_one_run_share_a_file(tmp_path: Path) -> None:
    """Whoever finishes second adds its table to the file of the first."""

    async def run() -> None:
        sinks = [DuckDBSink(tmp_path / "a.duckdb", table=name) for name in ("one", "two")]
        writers = [await sink.open(context(), BAR) for sink in sinks]
        for writer in writers:
            await writer.write(bars(3))
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.finish())

    asyncio.run(run())
    found = _rows(tmp_path / "a.duckdb", "SELECT table_name FROM duckdb_tables()")
    assert sorted(found) == [("one",), ("two",)]


def test_finish_while_the_caller_has_the_database_open(tmp_path: Path) -> None:
    """A notebook that looks at the database does not keep a run from finishing."""
    path = tmp_path / "a.duckdb"
    write(DuckDBSink(path), [bars(3)])
    with duckdb.connect(str(path)) as database:
        assert len(database.execute("FROM bars").fetchall()) == 3
        write(DuckDBSink(path, overwrite=True), [bars(4)])
        assert len(database.execute("FROM bars").fetchall()) == 4


def test_table_exists_names_the_ways_out(tmp_path: Path) -> None:
    """Replace, append, or another name."""
    write(DuckDBSink(tmp_path / "a.duckdb"), [bars(3)])
    with pytest.raises(OutputExistsError, match=r"`BARS` exists .*--overwrite.*mode: append"):
        DuckDBSink(tmp_path / "a.duckdb", table="BARS").check()


def test_append_to_other_columns_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """Nothing is converted unasked: DECIMAL into DOUBLE would round."""
    path = tmp_path / "a.duckdb"
    write(DuckDBSink(path), [bars(3)])
    with duckdb.connect(str(path)) as database:
        database.execute("ALTER TABLE bars ALTER COLUMN open TYPE DOUBLE")
    with pytest.raises(OutputError, match=r"column `open` is DOUBLE there and DECIMAL"):
        write(DuckDBSink(path, mode="append"), [bars(2)])
    assert DuckDBSink(path).read().num_rows == 3
    with pytest.raises(OutputError, match="missing"):
        write(DuckDBSink(path, mode="append"), [trades(2)])
    assert [found.name for found in tmp_path.iterdir()] == ["a.duckdb"]


def test_append_without_a_table_creates_it(tmp_path: Path) -> None:
    """The first append of a series needs no other settings than the rest."""
    for _ in range(2):
        write(DuckDBSink(tmp_path / "a.duckdb", mode="append"), [bars(2)])
    assert DuckDBSink(tmp_path / "a.duckdb").read().num_rows == 4


def test_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    """It is refused before the run and left as it is."""
    (tmp_path / "a.duckdb").write_text("hello " * 1000)
    with pytest.raises(OutputError, match="is not a DuckDB database"):
        DuckDBSink(tmp_path / "a.duckdb", overwrite=True).check()
    assert (tmp_path / "a.duckdb").read_text().startswith("hello")


def test_view_of_the_same_name_is_not_replaced(tmp_path: Path) -> None:
    """A view is somebody's work; the error says what is in the way."""
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE VIEW bars AS SELECT 1 AS x")
    with pytest.raises(OutputError, match="bars"):
        write(DuckDBSink(path, overwrite=True), [bars(2)])
    assert _rows(path, "FROM bars") == [(1,)]


def test_reading_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nor is a file of that name read in its place."""
    write(DuckDBSink(tmp_path / "a.duckdb"), [bars(2)])
    with pytest.raises(OutputError, match="no table `other`"):
        DuckDBSink(tmp_path / "a.duckdb", table="other").read()
