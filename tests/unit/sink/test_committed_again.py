"""A commit that failed in its last step and is tried again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.epochs import Job
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.duckdb_epochs import DuckDBEpochs
from market_data_pipeline.sink.sql_ledger import LEDGER
from market_data_pipeline.sink.sqlite_table import SqliteEpochs, SqliteTable
from support.sink_rows import bars

KEY = ("symbol", "ts_open")
STUCK = (
    f"CREATE TABLE {LEDGER} "
    "(job TEXT, sink TEXT, lineage TEXT, turn BIGINT, epoch BIGINT CHECK (epoch < 1))"
)
MENDED = (
    f"CREATE TABLE mended AS SELECT * FROM {LEDGER}",  # noqa: S608  constant
    f"DROP TABLE {LEDGER}",
    f"ALTER TABLE mended RENAME TO {LEDGER}",
)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_what_is_put_in_twice_is_counted_once(tmp_path: Path, kind: str) -> None:
    """The ledger says what became of rows, not how often they were tried."""
    path = str(tmp_path / "out")
    account, job = Account("store"), Job("job", "lineage")
    connect: Any = duckdb.connect if kind == "duckdb" else sqlite3.connect

    def execute(*statements: str) -> Any:
        with closing(connect(path)) as database:
            found = [database.execute(statement).fetchall() for statement in statements]
            database.commit()
            return found[-1]

    execute(STUCK)
    output: Any
    if kind == "duckdb":
        output = DuckDBEpochs(path, "bars", "append", KEY, job, "store", account, BAR)
    else:
        table = SqliteTable(path, "bars", KEY, "append", "decimal")
        output = SqliteEpochs(table, job, "store", BAR, account)
    output.begin()
    rows = bars(5)
    output.write([Batch.concat([rows, rows])])
    (tmp_path / "epoch").mkdir()
    output.stage(1, tmp_path / "epoch")
    with pytest.raises(OutputError, match=r"(?i)constraint"):
        output.commit(1, tmp_path / "epoch")
    execute(*MENDED)
    output.commit(1, tmp_path / "epoch")
    assert account.marks == {"replaced": 5}
    assert execute("SELECT count(*) FROM bars") == [(5,)]
    output.close()
