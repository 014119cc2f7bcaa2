from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from market_data_pipeline.errors import ColumnError, ConfigError, RecordError
from market_data_pipeline.flow import Dag
from market_data_pipeline.running import run
from market_data_pipeline.source.memory import MemorySource

COLUMNS: dict[str, list[Any]] = {
    "time": ["2024-01-02T00:00:00Z", "2024-01-02T00:00:00.5Z", "2024-01-02T00:00:01Z"],
    "symbol": ["A", "A", "A"],
    "price": [1.1, 1.3, 1.2],
    "size": [1, 2, 3],
}


@pytest.mark.parametrize("make", [pa.table, pl.DataFrame, pd.DataFrame])
def test_tables_of_any_make_are_read_as_files_are(make: Callable[[Any], Any]) -> None:
    """Columns are found by their usual names, and floats become exact decimals."""
    dag = Dag()
    rows = dag.source(MemorySource(make(COLUMNS))).bars("1s").collect(name="store")
    result = run(dag)
    found = result.to_arrow(rows)
    assert found["open"].to_pylist() == [1.1, 1.2]
    assert found["count"].to_pylist() == [2, 1]
    assert found.equals(result.to_arrow("bars"))


@pytest.mark.parametrize("batch_rows", [1, 2, None])
def test_a_bad_row_is_rejected_with_its_number(batch_rows: int | None) -> None:
    """As with files: counted, and to be had from the output `rejected`."""
    table = pa.table({**COLUMNS, "price": [1.1, float("nan"), 1.2]})
    dag = Dag()
    source = dag.source(MemorySource(table, batch_rows=batch_rows), name="rows")
    source.bars("1s").collect(name="store")
    source.rejected.collect(name="bad")
    result = run(dag)
    assert result.ledger["rows"].reasons == {"rejected": 1}
    bad = result.to_arrow("bad").to_pylist()
    assert [(row["row"], row["reason"]) for row in bad] == [(2, "not_finite")]


def test_strict_fails_on_the_first_bad_row() -> None:
    """The row is named."""
    table = pa.table({**COLUMNS, "price": [1.1, float("nan"), 1.2]})
    dag = Dag()
    dag.source(MemorySource(table, strict=True)).collect()
    with pytest.raises(Exception, match="row 2") as caught:
        run(dag)
    assert isinstance(caught.value.__cause__, RecordError)


def test_a_table_without_symbols_needs_one_said() -> None:
    """No name is made up for it."""
    table = pa.table(COLUMNS).drop_columns("symbol")
    with pytest.raises(ColumnError, match="say which rows these are with `symbol`"):
        MemorySource(table).schema()
    dag = Dag()
    dag.source(MemorySource(table, symbol="B")).collect(name="store")
    assert run(dag).to_arrow("store")["symbol"].to_pylist() == ["B"] * 3


def test_a_row_that_cancels_a_trade_needs_no_price() -> None:
    """It names the trade; one that corrects it, or stands without identifiers, does need one."""
    table = pa.table(
        {
            "ts_event": pa.array([1, 2, 3, 4], pa.timestamp("ns", "UTC")),
            "symbol": ["A"] * 4,
            "price": pa.array([5.0, 9.0, None, None]),
            "size": pa.array([1.0, 1.0, None, 2.0]),
            "trade_id": [1, 2, 2, 1],
            "action": ["N", "N", "C", "R"],
        }
    )
    dag = Dag("cancelled")
    source = dag.source(MemorySource(table))
    for name, settings in (("plain", {}), ("picked", {"price": "last"})):
        source.bars("10ns", revisions="final", **settings).collect(name=name)
    source.rejected.collect(name="rejected")
    result = run(dag)
    for name in ("plain", "picked"):
        assert result.to_arrow(name).select(["high", "count"]).to_pylist() == [
            {"high": 5.0, "count": 1}
        ]
    assert result.ledger["bars"].reasons["cancelled"] == 1
    assert result.to_arrow("rejected").column("detail").to_pylist() == ["`price` is empty"]
    dag = Dag("nameless")
    dag.source(MemorySource(table.drop_columns(["trade_id"]))).collect(name="rows")
    assert run(dag).ledger["memory"].reasons["rejected"] == 2


def test_what_is_no_rows_is_refused() -> None:
    """The message says what is taken."""
    with pytest.raises(ConfigError, match="must be a data frame, an Arrow table or a list"):
        MemorySource("ticks.csv")
    with pytest.raises(ConfigError, match="at least one"):
        MemorySource([])


TEXTS: dict[str, list[Any]] = {
    "trade_id": ["a", "b", "b"],
    "action": ["N", "N", "C"],
    "venue": ["XNAS", None, "a name too long to be kept in place"],
}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_one_type_whoever_wrote_it(kind: pa.DataType, packed: bool) -> None:
    """Polars has texts of its own; they ride along, and say what cancels a trade."""
    columns = {name: pa.array(values, pa.string()) for name, values in TEXTS.items()}
    columns = {
        name: pa.DictionaryArray.from_arrays(
            values.dictionary_encode().indices, values.dictionary_encode().dictionary.cast(kind)
        )
        if packed
        else values.cast(kind)
        for name, values in columns.items()
    }
    dag = Dag()
    rows = dag.source(MemorySource(pa.table({**COLUMNS, **columns, "raw": _bytes(kind)})))
    rows.collect(name="rows")
    rows.bars("2s").collect(name="made")
    result = run(dag)
    found = result.to_arrow("rows")
    assert {name: found[name].to_pylist() for name in TEXTS} == TEXTS
    assert found["venue"].type == pa.string()
    assert found["raw"].to_pylist() == [b"1", None, b"3"]
    assert result.to_arrow("made")["close"].to_pylist() == [1.1]


def _bytes(kind: pa.DataType) -> pa.Array:
    views = pa.binary_view() if kind == pa.string_view() else pa.large_binary()
    return pa.array([b"1", None, b"3"], views)


def test_a_frame_of_polars_may_have_texts() -> None:
    """Also as categories; the letters of a frame are columns like others."""
    frame = pl.DataFrame({**COLUMNS, **TEXTS}).with_columns(
        pl.col("venue", "symbol").cast(pl.Categorical), pl.col("time").cast(pl.Categorical)
    )
    dag = Dag()
    chosen = dag.source(MemorySource(frame)).filter("venue == 'XNAS' and symbol == 'A'")
    rows = chosen.collect(name="rows")
    assert run(dag).to_arrow(rows)["trade_id"].to_pylist() == ["a"]
