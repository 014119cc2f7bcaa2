"""A row that cannot be taken is told as it came."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import market_data_pipeline as mdp

HEAD = b"ts_event,symbol,price,size,note\n"
GOOD = b"2024-01-02T12:00:00Z,A,1.5,1,fine\n"


def raws(source: mdp.ReplaySource | mdp.MemorySource) -> list[str | None]:
    dag = mdp.Dag("raw")
    bad = mdp.MemorySink()
    ticks = dag.source(source)
    ticks.sink(mdp.MemorySink())
    ticks.rejected.sink(bad)
    mdp.run(dag)
    found: list[str | None] = bad.read()["raw"].to_pylist()
    return found


@pytest.mark.parametrize(
    "line",
    [
        b"2024-01-02T12:00:01Z,A,many,1,with columns that nobody reads",
        b"2024-01-02T12:00:01Z,A,1.5,-1,",
        b",A,1.5,1,x",
        b"2024-01-02T12:00:01Z,A,1.5",
        b"2024-01-02T12:00:01Z,A,1.5,1,x,y",
        b'"2024-01-02T12:00:01Z","A","1.5x","1","quoted, with a comma"',
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_line_of_a_text_file_is_whole(tmp_path: Path, line: bytes, end: bytes) -> None:
    """First, last or in the middle."""
    path = tmp_path / "ticks.csv"
    for before, after in ((b"", b""), (GOOD * 3, b""), (GOOD, GOOD if end else b"")):
        path.write_bytes(HEAD + before + line + end + after)
        assert raws(mdp.ReplaySource(str(path))) == [line.decode()]


def test_line_of_a_packed_file_is_whole(tmp_path: Path) -> None:
    """The block it was unpacked to has it."""
    line = b"2024-01-02T12:00:01Z,A,many,1,x"
    path = tmp_path / "ticks.csv.gz"
    path.write_bytes(gzip.compress(HEAD + GOOD + line + b"\n" + GOOD))
    assert raws(mdp.ReplaySource(str(path))) == [line.decode()]


def test_bytes_that_are_no_text_are_shown(tmp_path: Path) -> None:
    """As their numbers."""
    path = tmp_path / "ticks.csv"
    path.write_bytes(HEAD + b"2024-01-02T12:00:01Z,\xff,1.5,1,x\n" + GOOD)
    assert raws(mdp.ReplaySource(str(path))) == [r"2024-01-02T12:00:01Z,\xff,1.5,1,x"]


def test_cells_of_a_table_are_json(tmp_path: Path) -> None:
    """There are no lines in it."""
    table = pa.table(
        {"ts_event": [1, 2], "symbol": ["A", "B"], "price": ["1", "many"], "size": [1, 2]}
    )
    parquet.write_table(table, tmp_path / "ticks.parquet")
    sources = (mdp.MemorySource(table), mdp.ReplaySource(str(tmp_path / "ticks.parquet")))
    for source in sources:
        [raw] = raws(source)
        wanted = {"ts_event": "2", "symbol": "B", "price": "many", "size": "2"}
        assert json.loads(raw or "") == wanted
