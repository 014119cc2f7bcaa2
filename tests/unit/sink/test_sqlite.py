"""The SQLite sink's own promises."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError, SchemaError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.sqlite import SqliteSink
from support.sink_rows import bars, context, trades, write

KEY = ("symbol", "ts_open")


def _rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def test_values_are_exact_and_readable(tmp_path: Path) -> None:
    """Decimals are text with the digits they need, times nanoseconds, undefined is NULL."""
    path = tmp_path / "a.sqlite"
    write(SqliteSink(path), [trades(5, ["x", None, 'say "x"', "two\nlines", "ünï"])])
    found = _rows(path, "SELECT price, size, ts_event, ts_recv, side, note FROM bars")
    assert found[0] == ("-1.0", "1000000000.000000001", 1_700_000_000_123_456_789, None, "B", "x")
    assert [row[0] for row in found] == ["-1.0", "-0.75", "-0.5", "-0.25", "0.0"]
    assert [row[4] for row in found] == ["B", "A", "N", None, "B"]
    assert SqliteSink(path).read()["note"].to_pylist()[2] == 'say "x"'


def test_integers_are_the_fixed_point_itself(tmp_path: Path) -> None:
    """Where sums are wanted."""
    path = tmp_path / "a.sqlite"
    batch = bars(10)
    write(SqliteSink(path, prices="integer"), [batch])
    found = [row[0] for row in _rows(path, "SELECT open FROM bars")]
    column: Any = batch["open"]
    assert found == column.tolist()


def test_all_rows_are_there_at_the_end_or_none(tmp_path: Path) -> None:
    """Without checkpoints nothing is visible before the end, and nothing after a failure."""
    path = tmp_path / "a.sqlite"

    async def run() -> None:
        writer: Any = await SqliteSink(path).open(context(), BAR)
        await writer.write(bars(10))
        assert not path.exists()
        await writer.abort()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_lower_revision_does_not_take_the_place_of_a_higher_one(tmp_path: Path) -> None:
    """Within a run and between two."""
    path = tmp_path / "a.sqlite"
    for revision, close in ((0, 1), (2, 3), (1, 2)):
        batch = bars(5)
        columns = dict(batch.columns)
        columns["revision"] = np.full(5, revision, np.int64)
        columns["close"] = np.full(5, close, np.int64)
        fresh = Batch.from_columns(batch.schema, columns, batch.symbols)
        account = write(SqliteSink(path, key=KEY, mode="append", prices="integer"), [fresh])
    assert _rows(path, "SELECT DISTINCT revision, close, count(*) FROM bars") == [(2, 3, 5)]
    assert account.marks["outdated"] == 5


@pytest.mark.parametrize("name", ['b"; DROP TABLE keep; --', "it's", "select", "ünï", "a\nb"])
def test_hostile_name_is_just_a_name(tmp_path: Path, name: str) -> None:
    """Whatever a table's name holds, it names one table and does nothing else."""
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE keep AS SELECT 42 AS answer")
        database.commit()
    write(SqliteSink(path, table=name, key=KEY), [bars(3)])
    assert SqliteSink(path, table=name).read().num_rows == 3
    assert _rows(path, "SELECT answer FROM keep") == [(42,)]


def test_table_that_exists_is_refused(tmp_path: Path) -> None:
    """Unless rows are to be added, and then only of the same types."""
    path = tmp_path / "a.sqlite"
    write(SqliteSink(path), [bars(3)])
    with pytest.raises(OutputExistsError, match="`mode: append`"):
        SqliteSink(path).check()
    write(SqliteSink(path, mode="append"), [bars(3)])
    with pytest.raises(OutputError, match="column `open` of table `bars` is TEXT there"):
        write(SqliteSink(path, mode="append", prices="integer"), [bars(3)])
    assert _rows(path, "SELECT count(*) FROM bars") == [(6,)]


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    """Names that are taken, keys that are not there, files of another kind."""
    with pytest.raises(ConfigError, match="which is taken"):
        SqliteSink("a.sqlite", table="mdp_ledger")
    with pytest.raises(SchemaError, match="`key` names `nope`"):
        asyncio.run(SqliteSink(tmp_path / "a.sqlite", key=("nope",)).open(context(), BAR))
    (tmp_path / "b.sqlite").write_text("hello " * 1000)
    with pytest.raises(OutputError, match="is not an SQLite database"):
        SqliteSink(tmp_path / "b.sqlite").check()
