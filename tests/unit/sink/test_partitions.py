"""Folders of Parquet files divided by the values of columns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import dataset

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.errors import ConfigError, NodeError, SchemaError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.sink.parquet import ParquetSink
from market_data_pipeline.symbols import SymbolTable
from support.sink_rows import bars, trades, write

_HOSTILE = [
    "../../x",
    "a/b",
    "..",
    ".",
    "a=b",
    "%2F",
    "ü",
    "x y",
]


def _rows(names: list[str]) -> Batch:
    symbols = SymbolTable(names)
    schema = Schema("odd", (Field("ts_event", Kind.TIME), Field("symbol", Kind.SYMBOL)))
    columns: dict[str, Column] = {
        "ts_event": 1_700_000_000_000_000_000 + np.arange(len(names)) * 43_200_000_000_000,
        "symbol": np.arange(len(names), dtype=np.int32),
    }
    return Batch.from_columns(schema, columns, symbols)


def test_day_and_symbol_are_folders(tmp_path: Path) -> None:
    """As others read them, with the day taken from the event time."""
    sink = ParquetSink(f"{tmp_path}/out/", partition=("date", "symbol"))
    write(sink, [_rows(["ES", "NQ", "ES2"])])
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.parquet"))
    assert found == [
        "out/date=2023-11-14/symbol=ES/part-00000.parquet",
        "out/date=2023-11-15/symbol=ES2/part-00002.parquet",
        "out/date=2023-11-15/symbol=NQ/part-00001.parquet",
    ]
    read = sink.read()
    assert read.schema.field("symbol").type == pa.string()
    assert read.schema.field("date").type == pa.date32()
    plain = dataset.dataset(f"{tmp_path}/out", partitioning="hive").to_table()
    assert plain.num_rows == 3


def test_hostile_symbol_stays_inside_and_comes_back(tmp_path: Path) -> None:
    """A value is the name of one folder, whatever is in it."""
    sink = ParquetSink(f"{tmp_path}/out/", partition=("symbol",))
    write(sink, [_rows(_HOSTILE)])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert all(len(p.relative_to(tmp_path).parts) == 3 for p in tmp_path.rglob("*.parquet"))
    assert sorted(sink.read()["symbol"].to_pylist()) == sorted(_HOSTILE)


def test_rows_are_all_there_in_order_of_each_partition(tmp_path: Path) -> None:
    """However many batches there are, nothing is lost or doubled."""
    batches = [bars(5000, seed=seed) for seed in range(4)]
    sink = ParquetSink(f"{tmp_path}/out/", partition=("symbol",), prices="decimal")
    whole = ParquetSink(f"{tmp_path}/whole.parquet", prices="decimal")
    write(sink, batches)
    write(whole, batches)
    columns = whole.read().column_names
    expected = whole.read().to_pylist()
    found = sink.read().select(columns).to_pylist()
    assert Counter(map(repr, found)) == Counter(map(repr, expected))
    for name in {row["symbol"] for row in expected}:
        assert [r["open"] for r in found if r["symbol"] == name] == [
            r["open"] for r in expected if r["symbol"] == name
        ]


def test_value_that_is_missing_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """Text and dates without a value come back as none."""
    sink = ParquetSink(f"{tmp_path}/out/", partition=("note",))
    write(sink, [trades(3, ["a", None, "a"])])
    assert Counter(sink.read()["note"].to_pylist()) == {"a": 2, None: 1}


@pytest.mark.parametrize(
    ("partition", "wanted"),
    [(("nope",), "`partition` names `nope`"), (("price",), "symbols, text or dates")],
)
def test_column_that_cannot_be_a_folder_is_refused(
    tmp_path: Path, partition: Any, wanted: str
) -> None:
    """Prices would make a folder each."""
    with pytest.raises(SchemaError, match=wanted):
        write(ParquetSink(f"{tmp_path}/out/", partition=partition), [trades(3)])
    assert list(tmp_path.iterdir()) == []


def test_partition_of_a_single_file_is_refused() -> None:
    """Only a folder can be divided."""
    with pytest.raises(ConfigError, match="needs a folder"):
        ParquetSink("x.parquet", partition=("symbol",))
    with pytest.raises(ConfigError, match="once"):
        ParquetSink("x/", partition=("symbol", "symbol"))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"prices": "decimal"}, "`prices: float64`.*`prices: decimal`"),
        ({"partition": ["symbol", "date"]}, r"`partition: \[symbol\]`.*\[symbol, date\]"),
    ],
)
def test_files_of_another_kind_do_not_follow_in_one_folder(
    tmp_path: Path, other: dict[str, Any], told: str
) -> None:
    """Nobody could read them together, so a run that goes on with them is refused."""

    def run(**changed: Any) -> mdp.RunResult:
        dag = mdp.Dag("job")
        settings: dict[str, Any] = {"partition": ["symbol"], **changed}
        sink = ParquetSink(f"{tmp_path}/out/", **settings)
        dag.source(mdp.SyntheticSource(rows=50)).bars("1s").sink(sink)
        return mdp.run(dag, checkpoint=mdp.Checkpoint(str(tmp_path / "kept"), interval=None))

    run()
    with pytest.raises(NodeError, match=f"were written with {told}"):
        run(**other)
    assert run(compression="snappy").was_complete
