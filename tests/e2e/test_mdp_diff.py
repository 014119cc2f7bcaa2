"""`mdp diff` over the formats that sinks write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

Mdp = Callable[[str], Any]

CSV = """\
symbol,ts_open,close,count
B,2024-05-06T00:00:00.000000000Z,,3
A,2024-05-06T00:00:01.000000000Z,2.200000000,2
A,2024-05-06T00:00:00.000000000Z,1.1,1
"""
JSONL = """\
{"symbol":"A","ts_open":"2024-05-06T00:00:00.000000000Z","close":1.1,"count":1}
{"symbol":"A","ts_open":"2024-05-06T00:00:01.000000000Z","close":2.2,"count":2}
{"symbol":"B","ts_open":"2024-05-06T00:00:00.000000000Z","close":null,"count":3}
"""
START = 1_714_953_600_000_000_000
SECOND = 1_000_000_000


def _parquet(path: Path, closes: list[float | None]) -> None:
    times = pa.array([START, START + SECOND, START], pa.timestamp("ns", "UTC"))
    columns = {
        "symbol": ["A", "A", "B"],
        "ts_open": times,
        "close": pa.array(closes, pa.float64()),
        "count": [1, 2, 3],
    }
    pq.write_table(pa.table(columns), path)


def _duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as database:
        database.execute(
            "CREATE TABLE bars (symbol VARCHAR, ts_open TIMESTAMP_NS, "
            "close DECIMAL(38, 9), count BIGINT)"
        )
        database.execute(
            "INSERT INTO bars VALUES ('A', '2024-05-06 00:00:00', 1.1, 1), "
            "('A', '2024-05-06 00:00:01', 2.2, 2), ('B', '2024-05-06 00:00:00', NULL, 3)"
        )


def test_same_bars_in_all_formats_are_the_same(mdp: Mdp, tmp_path: Path) -> None:
    """Neither format nor order nor the type of prices makes a difference."""
    _parquet(tmp_path / "a.parquet", [1.1, 2.2, None])
    _duckdb(tmp_path / "a.duckdb")
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.jsonl").write_text(JSONL)
    names = ("a.parquet", "a.duckdb", "a.csv", "a.jsonl")
    for one in names:
        for other in names:
            shown = mdp(f"diff {one} {other}")
            assert shown.code == 0, (one, other, shown.out)
            assert shown.out.endswith("the same\n")


def test_other_value_is_shown_with_both_sides(mdp: Mdp, tmp_path: Path) -> None:
    """The key, the column and both values; exit code 1."""
    _parquet(tmp_path / "a.parquet", [1.1, 2.3, None])
    (tmp_path / "b.csv").write_text(CSV)
    shown = mdp("diff a.parquet b.csv --json")
    assert shown.code == 1
    assert shown.json["same"] is False
    assert shown.json["rows_differing"] == 1
    assert shown.json["columns_differing"] == {"close": 1}
    assert shown.json["first"] == [
        {
            "symbol": "A",
            "ts_open": "2024-05-06T00:00:01Z",
            "where": "both",
            "columns": {"close": [2.3, "2.2"]},
        }
    ]
    assert "close" in mdp("diff a.parquet b.csv").out


def test_missing_rows_and_columns_are_told(mdp: Mdp, tmp_path: Path) -> None:
    """A row or a column that only one side has is a difference."""
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.csv").write_text(
        "symbol,ts_open,close,vwap\nA,2024-05-06T00:00:00Z,1.1,1\nC,2024-05-06T00:00:00Z,1.1,1\n"
    )
    found = mdp("diff a.csv b.csv --json").json
    assert (found["only_in_a"], found["only_in_b"], found["rows_differing"]) == (2, 1, 0)
    assert found["columns_only_in_a"] == ["count"]
    assert found["columns_only_in_b"] == ["vwap"]
    shown = mdp("diff a.csv b.csv --limit 1")
    assert shown.code == 1
    assert "2 bars more" in shown.out
    assert "columns only in A: count" in shown.out


def test_repeated_key_is_paired_in_order(mdp: Mdp, tmp_path: Path) -> None:
    """Two rows of one key on one side and one on the other are not the same."""
    row = "A,2024-05-06T00:00:00Z,1\n"
    (tmp_path / "a.csv").write_text("symbol,ts_open,close\n" + row + row)
    (tmp_path / "b.csv").write_text("symbol,ts_open,close\n" + row)
    found = mdp("diff a.csv b.csv --json").json
    assert (found["only_in_a"], found["only_in_b"]) == (1, 0)


def test_header_alone_is_a_file_without_bars(mdp: Mdp, tmp_path: Path) -> None:
    """No rows on both sides are the same."""
    (tmp_path / "a.csv").write_text("symbol,ts_open,close\n")
    assert mdp("diff a.csv a.csv").code == 0


def test_file_that_holds_no_bars_is_refused(mdp: Mdp, tmp_path: Path) -> None:
    """The missing column and those that are there are named."""
    (tmp_path / "a.csv").write_text("symbol,price\nA,1\n")
    shown = mdp("diff a.csv a.csv")
    assert shown.code == 2
    assert "a.csv: these are no bars: there is no column `ts_open`" in shown.err
    assert "`price`" in shown.err


def test_a_bar_without_a_time_is_refused(mdp: Mdp, tmp_path: Path) -> None:
    """The row is named, and no traceback is asked for."""
    (tmp_path / "holes.csv").write_text("symbol,ts_open,close\nA,2024-01-01T00:00:00Z,2\nA,,1\n")
    shown = mdp("diff holes.csv holes.csv")
    assert shown.code == 2
    assert "holes.csv: these are no bars: `ts_open` is empty in 1 row, row 2" in shown.err


def test_damaged_and_unknown_files_are_refused(mdp: Mdp, tmp_path: Path) -> None:
    """Each with the file's name and the reason."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not quite")
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "a.csv").touch()
    damaged = mdp("diff a.parquet a.parquet")
    assert (damaged.code, "a.parquet: cannot be read as parquet" in damaged.err) == (1, True)
    unknown = mdp("diff a.xlsx a.xlsx")
    assert (unknown.code, "`.parquet`, `.csv`" in unknown.err) == (2, True)
    (tmp_path / "b.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    picture = mdp("diff b.csv b.csv")
    assert (picture.code, "b.csv: this is no text in UTF-8" in picture.err) == (1, True)
    empty = mdp("diff a.csv a.csv")
    assert (empty.code, "a.csv: the file is empty" in empty.err) == (1, True)


def test_unknown_table_names_those_there_are(mdp: Mdp, tmp_path: Path) -> None:
    """A database may hold several tables."""
    _duckdb(tmp_path / "a.duckdb")
    shown = mdp("diff a.duckdb a.duckdb --table bras")
    assert shown.code == 2
    assert "no table `bras`; did you mean `bars`? (tables: `bars`)" in shown.err


def test_what_bars_say_of_themselves_is_the_same_in_all_formats(mdp: Mdp, tmp_path: Path) -> None:
    """Truth, dates, texts and columns without any value."""
    table = pa.table(
        {
            "symbol": ["A", "A"],
            "ts_open": pa.array([START, START + SECOND], pa.timestamp("ns", "UTC")),
            "is_final": [True, False],
            "revision": [0, 1],
            "missing_seq": pa.array([None, None], pa.int64()),
            "coverage": [1.0, 0.75],
            "feed_state": ["live", "halted"],
            "session": pa.array([19849, None], pa.date32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(
        "symbol,ts_open,is_final,revision,missing_seq,coverage,feed_state,session\n"
        "A,2024-05-06T00:00:00.000000000Z,true,0,,1.0,live,2024-05-06\n"
        "A,2024-05-06T00:00:01.000000000Z,false,1,,0.75,halted,\n"
    )
    (tmp_path / "a.jsonl").write_text(
        '{"symbol":"A","ts_open":"2024-05-06T00:00:00.000000000Z","is_final":true,"revision":0,'
        '"missing_seq":null,"coverage":1.0,"feed_state":"live","session":"2024-05-06"}\n'
        '{"symbol":"A","ts_open":"2024-05-06T00:00:01.000000000Z","is_final":false,"revision":1,'
        '"missing_seq":null,"coverage":0.75,"feed_state":"halted","session":null}\n'
    )
    with duckdb.connect(str(tmp_path / "a.duckdb")) as database:
        database.register("rows", table)
        database.execute("create table bars as from rows")
    names = ("a.parquet", "a.csv", "a.jsonl", "a.duckdb")
    for one in names:
        for other in names:
            shown = mdp(f"diff {one} {other} --json")
            assert shown.code == 0, (one, other, shown.out, shown.err)
