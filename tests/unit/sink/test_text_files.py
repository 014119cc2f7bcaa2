"""The exact text of CSV and JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.sink.csv import CsvSink
from market_data_pipeline.sink.jsonl import JsonlSink
from support.sink_rows import SYMBOLS, bars, trades, write

_ROW = Schema(
    "row",
    (
        Field("ts", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        Field("price", Kind.FIXED, 9),
        Field("rate", Kind.FLOAT),
        Field("good", Kind.BOOL),
        Field("side", Kind.CHAR),
    ),
    time="ts",
)


def _rows() -> Batch:
    columns = {
        "ts": np.array([1, UNDEFINED, -1], np.int64),
        "symbol": np.array([0, 1, 2], np.int32),
        "price": np.array([-1, 1_250_000_000, UNDEFINED], np.int64),
        "rate": np.array([0.1, np.nan, 1e300]),
        "good": np.array([True, False, True]),
        "side": np.array([66, 0, 65], np.uint8),
    }
    return Batch.from_columns(_ROW, columns, SYMBOLS)


def test_csv_text(tmp_path: Path) -> None:
    """Times are ISO 8601, prices plain decimals, nothing is quoted without need."""
    write(CsvSink(tmp_path / "rows.csv"), [_rows()])
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines() == [
        "ts,symbol,price,rate,good,side",
        "1970-01-01T00:00:00.000000001Z,EURUSD,-0.000000001,0.1,true,B",
        ",GC,1.25,nan,false,",
        "1969-12-31T23:59:59.999999999Z,ÅÄÖ 1,,1e+300,true,A",
    ]


def test_jsonl_text(tmp_path: Path) -> None:
    """Each line is an object with the columns in order; none and NaN are null."""
    write(JsonlSink(tmp_path / "rows.jsonl"), [_rows()])
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        '{"ts":"1970-01-01T00:00:00.000000001Z","symbol":"EURUSD","price":-0.000000001,'
        '"rate":0.1,"good":true,"side":"B"}'
    )
    assert json.loads(lines[1]) == {
        "ts": None,
        "symbol": "GC",
        "price": 1.25,
        "rate": None,
        "good": False,
        "side": None,
    }


def test_jsonl_escapes_text(tmp_path: Path) -> None:
    """Quotes, line ends and control characters come back as they were."""
    notes = ['"', "\n\r\x00\x7f", "\\", None, "ü"]
    write(JsonlSink(tmp_path / "t.jsonl"), [trades(5, notes)])
    lines = (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [json.loads(line)["note"] for line in lines] == notes


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.csv.zst"])
def test_other_readers_see_the_same_csv(tmp_path: Path, name: str) -> None:
    """DuckDB, pandas and Polars read times and prices back exactly."""
    path = tmp_path / name
    batch = bars(50)
    write(CsvSink(path), [batch])
    times = batch["ts_open"].tolist()
    prices = [value / 10**9 for value in batch["open"].tolist()]
    by_pandas = pd.read_csv(path, parse_dates=["ts_open"])
    assert by_pandas["ts_open"].astype("int64").tolist() == times
    assert by_pandas["open"].tolist() == prices
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT epoch_ns(ts_open), open FROM read_csv(?, types = {'ts_open': 'TIMESTAMP_NS'})",
            [str(path)],
        ).fetchall()
    assert found == list(zip(times, prices, strict=True))
    by_polars = pl.read_csv(path, schema_overrides={"ts_open": pl.String})
    stamps = by_polars["ts_open"].str.to_datetime(time_unit="ns", time_zone="UTC")
    assert stamps.cast(pl.Int64).to_list() == times


def test_other_readers_see_the_same_jsonl(tmp_path: Path) -> None:
    """DuckDB and pandas read JSON lines back."""
    path = tmp_path / "bars.jsonl"
    batch = bars(50)
    write(JsonlSink(path), [batch])
    prices = [value / 10**9 for value in batch["open"].tolist()]
    assert pd.read_json(path, lines=True, precise_float=True)["open"].tolist() == prices
    with duckdb.connect() as database:
        found = database.execute("SELECT open FROM read_json(?)", [str(path)]).fetchall()
    assert [row[0] for row in found] == prices


def test_column_names_are_quoted_where_needed(tmp_path: Path) -> None:
    """A name with a comma or quote stays one name."""
    schema = Schema("row", (Field('a,"b"', Kind.INT), Field("c", Kind.INT)), time="")
    batch = Batch.from_columns(schema, {'a,"b"': np.array([1]), "c": np.array([2])}, SYMBOLS)
    write(CsvSink(tmp_path / "x.csv"), [batch])
    write(JsonlSink(tmp_path / "x.jsonl"), [batch])
    assert CsvSink(tmp_path / "x.csv").read().to_pylist() == [{'a,"b"': 1, "c": 2}]
    assert JsonlSink(tmp_path / "x.jsonl").read().to_pylist() == [{'a,"b"': 1, "c": 2}]


def test_csv_tells_empty_text_from_none(tmp_path: Path) -> None:
    """Empty text is quoted, none is an empty field."""
    sink = CsvSink(tmp_path / "t.csv")
    write(sink, [trades(3, ["", None, "x"])])
    assert sink.read()["note"].to_pylist() == ["", None, "x"]
