"""Rows that take the place of others with the same key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.sink.duckdb import DuckDBSink
from market_data_pipeline.sink.memory import MemorySink
from support.sink_rows import START_NS, SYMBOLS, bars, write

KEY = ("symbol", "ts_open")


def told(starts: list[int], opens: list[int]) -> Batch:
    """Bars of one symbol."""
    batch = bars(len(starts))
    return batch.with_columns(
        [],
        {
            "symbol": np.zeros(len(starts), np.int32),
            "ts_open": START_NS + np.array(starts, np.int64),
            "open": np.array(opens, np.int64) * 10**9,
        },
    )


def found_in(sink: DuckDBSink | MemorySink) -> list[tuple[int, float]]:
    table = sink.read()
    starts = (table["ts_open"].cast(pa.int64()).to_numpy() - START_NS).tolist()
    return list(zip(starts, map(float, table["open"].to_pylist()), strict=True))


@pytest.mark.parametrize("kind", ["duckdb", "memory"])
def test_the_last_row_of_a_key_stays(tmp_path: Path, kind: str) -> None:
    """Within a batch and between batches; the rest keeps its order."""
    path = tmp_path / "a.duckdb"
    sink = DuckDBSink(path, key=KEY) if kind == "duckdb" else MemorySink(key=KEY)
    write(sink, [told([1, 2, 1], [10, 20, 11]), told([3, 2], [30, 21])])
    assert found_in(sink) == [(1, 11), (3, 30), (2, 21)]


def test_rows_that_are_replaced_are_counted(tmp_path: Path) -> None:
    """The account says what is in the table, and balances."""
    dag = mdp.Dag()
    source = dag.source(
        mdp.MemorySource(
            pa.table(
                {
                    "ts_event": [1, 2, 3],
                    "symbol": ["A"] * 3,
                    "price": [1.0, 2.0, 3.0],
                    "size": [1.0] * 3,
                    "place": [1, 2, 1],
                }
            )
        )
    )
    source.sink(DuckDBSink(tmp_path / "a.duckdb", key=("symbol", "place")), name="store")
    result = mdp.run(dag)
    account = result.ledger["store"]
    assert (account.rows_in, account.rows_out, account.reasons) == (3, 2, {"replaced": 1})
    assert result.to_arrow("store").num_rows == 2


def test_appended_rows_replace_those_of_an_earlier_run(tmp_path: Path) -> None:
    """Also where the key is null; other rows stay."""
    path = tmp_path / "a.duckdb"
    schema = Schema(
        "row", (Field("ts", Kind.TIME), Field("name", Kind.ARROW, arrow=pa.string())), "ts"
    )

    def row(time: int, name: str | None) -> Batch:
        return Batch(
            schema, {"ts": np.array([time]), "name": pa.array([name], pa.string())}, SYMBOLS
        )

    write(DuckDBSink(path, key=("name",)), [row(1, "a"), row(2, None), row(3, "b")])
    write(DuckDBSink(path, key=("name",), mode="append"), [row(4, None), row(5, "b"), row(6, "c")])
    names = DuckDBSink(path).read()
    assert dict(
        zip(names["name"].to_pylist(), names["ts"].cast(pa.int64()).to_pylist(), strict=True)
    ) == {
        "a": 1,
        None: 4,
        "b": 5,
        "c": 6,
    }
    assert names.num_rows == 4


@pytest.mark.parametrize(
    "name", ['a"; DROP TABLE bars; --', "select", "with space", 'q"u"o', "staged"]
)
def test_hostile_names_of_columns_are_just_names(tmp_path: Path, name: str) -> None:
    """Whatever a name holds, it names one column and does nothing else."""
    path = tmp_path / "a.duckdb"
    schema = Schema("row", (Field("ts", Kind.TIME), Field(name, Kind.INT)), "ts")

    def row(time: int) -> Batch:
        return Batch(schema, {"ts": np.array([time]), name: np.array([7])}, SYMBOLS)

    write(DuckDBSink(path, key=(name,)), [row(1), row(2)])
    write(DuckDBSink(path, key=(name,), mode="append"), [row(3)])
    assert DuckDBSink(path).read()["ts"].cast(pa.int64()).to_pylist() == [3]
    memory = MemorySink(key=(name,))
    write(memory, [row(1), row(2)])
    assert memory.read()["ts"].cast(pa.int64()).to_pylist() == [2]


@pytest.mark.parametrize("make", [lambda **more: DuckDBSink("a.duckdb", **more), MemorySink])
def test_a_key_that_is_none_is_refused(make: Any) -> None:
    """A column twice when the sink is made."""
    with pytest.raises(ConfigError, match="must name each column once"):
        make(key=("symbol", "symbol"))


def test_a_key_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(SchemaError, match=r"names `ts_opened`.*`ts_open`"):
        write(DuckDBSink(tmp_path / "a.duckdb", key=("ts_opened",)), [bars(1)])
    assert list(tmp_path.iterdir()) == []


def test_a_column_named_as_the_number_of_rows_is_refused(tmp_path: Path) -> None:
    """Else rows would be told apart by it."""
    schema = Schema("row", (Field("ts", Kind.TIME), Field("RowId", Kind.INT)), "ts")
    row = Batch(schema, {"ts": np.array([1]), "RowId": np.array([1])}, SYMBOLS)
    with pytest.raises(SchemaError, match="cannot have a column `rowid`"):
        write(DuckDBSink(tmp_path / "a.duckdb", key=("ts",)), [row])
    write(DuckDBSink(tmp_path / "a.duckdb"), [row])


@pytest.mark.parametrize("kind", ["duckdb", "memory"])
def test_upserted_bars_are_the_final_ones(tmp_path: Path, kind: str) -> None:
    """With lateness and a key the store holds one row for each bar: its last revision."""
    rng = np.random.default_rng(1)
    times = np.arange(2_000) * 50_000_000 + rng.integers(0, 3_000_000_000, 2_000)
    ticks = pa.table(
        {
            "ts_event": pa.array(times, pa.timestamp("ns", "UTC")),
            "symbol": rng.choice(["A", "B"], 2_000),
            "price": rng.integers(1, 100, 2_000).astype(float),
            "size": rng.integers(1, 9, 2_000).astype(float),
        }
    )
    path = tmp_path / "a.duckdb"
    sink = DuckDBSink(path, key=KEY) if kind == "duckdb" else MemorySink(key=KEY, prices="decimal")
    dag = mdp.Dag()
    source = dag.source(mdp.MemorySource(ticks, out_of_order="100ms"))
    source.bars("1s", lateness="2s").sink(sink, name="upserts")
    final = MemorySink(prices="decimal")
    source.bars("1s", lateness="2s", revisions="final").sink(final, name="finals")
    result = mdp.run(dag)

    def rows(table: pa.Table) -> list[dict[str, Any]]:
        rows = table.select(["symbol", "ts_open", "open", "close", "volume", "count", "is_final"])
        return sorted(rows.to_pylist(), key=lambda row: (row["ts_open"], row["symbol"]))

    assert rows(sink.read()) == rows(final.read())
    assert result.ledger["upserts"].rows_in > 1.5 * len(final.read())
    assert result.ledger.balanced


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_finding_the_last_rows_starts_no_thread() -> None:
    """One that lets go of an array while the process ends would abort it."""
    code = """
import os
import pyarrow as pa
from market_data_pipeline.sink.keyed import last_rows

table = pa.table({"symbol": ["A", "B", "A"]})
before = len(os.listdir("/proc/self/task"))
assert last_rows(table, ("symbol",)).tolist() == [1, 2]
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0\n"
