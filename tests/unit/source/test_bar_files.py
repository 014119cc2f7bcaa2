"""Files of bars, read back as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import market_data_pipeline as mdp

TICKS = "docs/data/ticks.csv"
QUOTES = "docs/data/quotes.csv"
HEADER = "symbol,ts_open,ts_close,open,high,low,close,volume,vwap,count,is_final,coverage,session"
ROW = "A,2024-05-06T09:30:00Z,2024-05-06T09:30:01Z,1,2,1,2,3,{vwap},2,{final},{coverage},{day}"


def read(path: Path, **settings: Any) -> tuple[pa.Table, Any]:
    """The bars of a file as the engine has them."""
    dag = mdp.Dag()
    sink = mdp.MemorySink(prices="decimal")
    dag.source(mdp.ReplaySource(path, **settings), name="bars").sink(sink, name="out")
    result = mdp.run(dag)
    return sink.read(), result


@pytest.mark.parametrize("ticks", [TICKS, QUOTES])
@pytest.mark.parametrize("end", ["parquet", "csv"])
def test_a_file_of_bars_gives_the_bars_that_went_in(tmp_path: Path, ticks: str, end: str) -> None:
    """Every column with its type, those on request too."""
    path = tmp_path / f"bars.{end}"
    dag = mdp.Dag()
    rows = dag.source(mdp.ReplaySource(Path(__file__).parents[3] / ticks), name="ticks")
    bars = rows.bars(
        "1s", fill="null", turnover=ticks == TICKS, revisions="retract", lateness="0s"
    )
    sink = mdp.MemorySink(prices="decimal")
    bars.sink(mdp.ParquetSink(path) if end == "parquet" else mdp.CsvSink(path), name="file")
    bars.sink(sink, name="memory")
    mdp.run(dag)
    found, result = read(path)
    assert found.equals(sink.read())
    assert result.ledger.total("rejected") == 0


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({}, None),
        ({"vwap": "", "day": "", "coverage": ""}, None),
        ({"final": "maybe"}, "`is_final` is `maybe`, which is no truth value"),
        ({"final": ""}, "`is_final` is empty"),
        ({"coverage": "much"}, "`coverage` is `much`, which is no number"),
        ({"day": "Monday"}, "`session` is `Monday`"),
    ],
)
def test_text_that_is_no_bar_costs_the_row(
    tmp_path: Path, cells: dict[str, str], said: str | None
) -> None:
    """The rest of the file is read."""
    good = {"vwap": "1.5", "final": "true", "coverage": "0.5", "day": "2024-05-06"}
    path = tmp_path / "bars.csv"
    path.write_text("\n".join([HEADER, ROW.format(**(good | cells)), ROW.format(**good), ""]))
    dag = mdp.Dag()
    bars = dag.source(mdp.ReplaySource(path), name="bars")
    sink, rejected = mdp.MemorySink(), mdp.MemorySink()
    bars.sink(sink, name="out")
    bars.output("rejected").sink(rejected, name="bad")
    mdp.run(dag)
    assert sink.read().num_rows == (2 if said is None else 1)
    details = rejected.read().to_pylist() if said else []
    assert [said in row["detail"] for row in details] == ([] if said is None else [True])


def test_columns_that_are_named_otherwise_are_those_of_trades(tmp_path: Path) -> None:
    """Who maps columns knows what they are."""
    path = tmp_path / "bars.csv"
    good = {"vwap": "1.5", "final": "true", "coverage": "0.5", "day": "2024-05-06"}
    path.write_text("\n".join([HEADER, ROW.format(**good), ""]))
    columns = {"ts_event": "ts_open", "price": "close", "size": "volume"}
    found, _ = read(path, columns=columns)
    assert found["price"].to_pylist() == [2]
