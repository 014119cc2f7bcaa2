"""DuckDB: one-shot SQL on two threads."""

from __future__ import annotations

__all__ = ("TASKS",)

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.answers import Bars, Difference
from benchmarks.peers.ours import bars_of_table
from benchmarks.tasks import Task
from benchmarks.ticks import SECOND_NS
from benchmarks.window_answers import (
    HOPPING,
    SESSIONS,
    check_windows,
    hopping_windows,
    sessions_of_activity,
)

_AGGREGATES = """
    arg_min(price, ts_event) AS open, max(price) AS high, min(price) AS low,
    arg_max(price, ts_event) AS close, sum(size) AS volume,
    sum(price * size) / sum(size) AS vwap, count(*) AS count
"""

_FIGURES = "sum(size) AS volume, avg(price) AS level, max(price) AS high"


class BarsInMemory(Task):
    """A table of plain columns in DuckDB's own memory -> bars as Arrow."""

    query = f"""
        SELECT code, ts_event // 1000000000 AS second, {_AGGREGATES}
        FROM ticks GROUP BY code, second
    """

    def prepare(self) -> None:
        """Load the ticks into a table of DuckDB's own."""
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")
        given = self.ticks.load().arrow()
        self.connection.register("given", given)
        self.connection.execute("CREATE TABLE ticks AS SELECT * FROM given")
        self.connection.unregister("given")

    def run(self) -> Any:
        """Run the query."""
        return self.connection.sql(self.query).to_arrow_table()

    def bars(self, answer: Any) -> Bars:
        """Return the table's columns."""
        return bars_of_seconds(answer)


def bars_of_seconds(table: pa.Table) -> Bars:
    """Return the bars in a table with codes of symbols and whole seconds."""
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return Bars(
        code=columns["code"],
        ts_open=columns["second"].astype(np.int64) * 1_000_000_000,
        volume=columns["volume"].astype(np.float64),
        count=columns["count"].astype(np.int64),
        **{name: columns[name] for name in ("open", "high", "low", "close", "vwap")},
    )


class BarsFromArrow(BarsInMemory):
    """An Arrow table in memory -> bars as Arrow."""

    def prepare(self) -> None:
        """Show DuckDB the ticks."""
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")
        self.connection.register("ticks", self.ticks.load().arrow())


class DedupeAndBarsInMemory(BarsInMemory):
    """A table in DuckDB's memory -> `DISTINCT` -> bars as Arrow."""

    distinct = True
    query = f"""
        SELECT code, ts_event // 1000000000 AS second, {_AGGREGATES}
        FROM (SELECT DISTINCT code, trade_id, ts_event, price, size FROM ticks)
        GROUP BY code, second
    """


class HoppingInMemory(BarsInMemory):
    """A table in DuckDB's memory -> windows of 10 s, one each second, as Arrow."""

    query = HOPPING.format(ticks="ticks", columns=_FIGURES)
    unit = SECOND_NS

    def right(self) -> dict[str, Any]:
        """Return the right windows."""
        return hopping_windows(self.ticks)

    def check(self, answer: Any) -> Difference:
        """Compare the table with the right windows."""
        columns = {name: answer[name].to_numpy() for name in answer.column_names}
        start = columns.pop("start").astype(np.int64) * self.unit
        columns["volume"] = columns["volume"].astype(np.float64)
        return check_windows(self.right(), start=start, **columns)


class SessionsInMemory(HoppingInMemory):
    """A table in DuckDB's memory -> sessions of activity as Arrow."""

    query = SESSIONS.format(ticks="ticks", columns=_FIGURES)
    unit = 1

    def right(self) -> dict[str, Any]:
        """Return the right sessions."""
        return sessions_of_activity(self.ticks)


class BarsFromParquet(Task):
    """A Parquet file -> bars -> a Parquet file."""

    def run(self) -> Any:
        """Run the query."""
        out = self.ticks.folder / "duckdb-bars.parquet"
        with duckdb.connect() as connection:
            connection.execute("SET threads = 2")
            connection.execute(
                f"""
                COPY (
                    SELECT symbol, make_timestamp_ns(second * 1000000000) AS ts_open,
                           open, high, low, close, volume, vwap, count
                    FROM (
                        SELECT symbol, ts_event // 1000000000 AS second, {_AGGREGATES}
                        FROM (
                            SELECT symbol, epoch_ns(ts_event) AS ts_event, price, size
                            FROM read_parquet('{self.ticks.parquet}')
                        ) GROUP BY symbol, second
                    )
                ) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
                """
            )
        return out

    def bars(self, answer: Any) -> Bars:
        """Return what is in the file."""
        return bars_of_table(pq.read_table(answer))


TASKS = {
    "bars_memory": BarsInMemory,
    "bars_arrow": BarsFromArrow,
    "dedupe_bars": DedupeAndBarsInMemory,
    "bars_parquet": BarsFromParquet,
    "hopping": HoppingInMemory,
    "sessions": SessionsInMemory,
}
