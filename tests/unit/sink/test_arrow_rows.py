"""Batches as Arrow tables."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import BAR, TRADE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.symbols import SymbolTable
from support.sink_rows import START_NS, SYMBOLS, bars, trades


def test_times_are_nanoseconds_utc_and_undefined_is_null() -> None:
    """The type says the unit and the zone."""
    table = ArrowRows(TRADE).table([trades(2)])
    assert table.schema.field("ts_event").type == pa.timestamp("ns", "UTC")
    assert table["ts_event"].cast(pa.int64()).to_pylist() == [START_NS, START_NS + 1]
    assert table["ts_recv"].null_count == 2


def test_prices_as_floats_are_the_nearest() -> None:
    """A price is the float that its decimal text would give."""
    table = ArrowRows(TRADE).table([trades(2)])
    assert table["price"].to_pylist() == [-1.0, -0.75]
    assert table["size"].to_pylist() == [float("1000000000.000000001")] * 2


def test_prices_as_decimals_are_exact() -> None:
    """Negative values too."""
    schema = Schema("row", (Field("x", Kind.FIXED, 2),), time="")
    values = np.array([-1, 0, 12345, UNDEFINED, -(2**63)], np.int64)
    batch = Batch.from_columns(schema, {"x": values}, SYMBOLS)
    table = ArrowRows(schema, prices="decimal").table([batch])
    assert table.schema.field("x").type == pa.decimal128(38, 2)
    assert [None if x is None else str(x) for x in table["x"].to_pylist()] == [
        "-0.01",
        "0.00",
        "123.45",
        None,
        "-92233720368547758.08",
    ]


def test_symbols_added_between_batches_are_known() -> None:
    """The table of symbols grows while rows flow."""
    symbols = SymbolTable(["A"])
    schema = Schema("row", (Field("symbol", Kind.SYMBOL),), time="")
    for dictionary in (False, True):
        rows = ArrowRows(schema, dictionary=dictionary)
        for name in ("A", "B", f"C{dictionary}"):
            code = symbols.code(name)
            batch = Batch.from_columns(schema, {"symbol": np.array([code], np.int32)}, symbols)
            assert rows.table([batch])["symbol"].to_pylist() == [name]


def test_letters_beyond_ascii_become_text() -> None:
    """A byte of another alphabet must not make invalid UTF-8."""
    schema = Schema("row", (Field("side", Kind.CHAR),), time="")
    batch = Batch.from_columns(schema, {"side": np.array([66, 0, 233], np.uint8)}, SYMBOLS)
    table = ArrowRows(schema).table([batch])
    table.validate(full=True)
    assert table["side"].to_pylist() == ["B", None, "é"]


def test_several_batches_are_one_table() -> None:
    """Rows of batches follow each other, sliced ones too."""
    batch = bars(10)
    parts = [batch.slice(0, 3), batch.slice(3, 3), batch.slice(3, 10)]
    whole, joined = ArrowRows(BAR).table([batch]), ArrowRows(BAR).table(parts)
    joined.validate(full=True)
    assert joined == whole


def test_strided_columns_are_copied_rightly() -> None:
    """A column that is a view with a step is read by its own elements."""
    schema = Schema("row", (Field("x", Kind.INT),), time="")
    batch = Batch.from_columns(schema, {"x": np.arange(10)[::3]}, SYMBOLS)
    assert ArrowRows(schema).table([batch])["x"].to_pylist() == [0, 3, 6, 9]


def test_no_batches_give_an_empty_table() -> None:
    """It has the columns all the same."""
    assert ArrowRows(BAR).table([]).schema == ArrowRows(BAR).schema


def test_rows_of_another_schema_are_refused() -> None:
    """The error names both sets of columns."""
    with pytest.raises(SchemaError, match=r"ts_event.*cannot follow.*ts_open"):
        ArrowRows(BAR).table([trades(1)])
