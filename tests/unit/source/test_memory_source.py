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


def test_what_is_no_rows_is_refused() -> None:
    """The message says what is taken."""
    with pytest.raises(ConfigError, match="must be a data frame, an Arrow table or a list"):
        MemorySource("ticks.csv")
    with pytest.raises(ConfigError, match="at least one"):
        MemorySource([])
