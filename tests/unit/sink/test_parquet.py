"""The Parquet sink's own promises."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from market_data_pipeline.canonical import canonical_hash
from market_data_pipeline.errors import OutputError, OutputExistsError
from market_data_pipeline.records import BAR
from market_data_pipeline.sink.parquet import ParquetSink
from support.sink_rows import bars, trades, write


def test_row_groups_do_not_depend_on_batches(tmp_path: Path) -> None:
    """Rows are gathered to row groups of one size, however they come."""
    rows = bars(1050)
    for name, step in (("one", 1050), ("many", 7)):
        sink = ParquetSink(tmp_path / f"{name}.parquet", row_group_rows=100)
        write(sink, [rows.slice(i, min(i + step, 1050)) for i in range(0, 1050, step)])
        metadata = pq.read_metadata(str(sink.path))
        groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        assert groups == [100] * 10 + [50]


def test_any_number_of_small_batches_comes_back_in_order(tmp_path: Path) -> None:
    """Small batches wait for one another before they are converted; none is lost or moved."""
    rows = bars(20_000)
    one, many = (ParquetSink(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    write(one, [rows])
    cuts = [0, *range(1, 300), 300, 17_000, 19_999, 20_000]
    write(many, [rows.slice(a, b) for a, b in pairwise(cuts)])
    assert many.read().equals(one.read())


def test_columns_have_plain_types(tmp_path: Path) -> None:
    """Any reader sees strings, floats and UTC nanoseconds, no dictionaries."""
    sink = ParquetSink(tmp_path / "bars.parquet")
    write(sink, [bars(10)])
    found = pq.read_schema(str(sink.path))
    assert found.field("symbol").type == pa.string()
    assert found.field("ts_open").type == pa.timestamp("ns", "UTC")
    assert found.field("open").type == pa.float64()
    assert found.field("count").type == pa.int64()


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_compression_is_the_one_asked_for(tmp_path: Path, compression: str) -> None:
    """Every column chunk says its codec."""
    settings = {"path": f"{tmp_path}/bars.parquet", "compression": compression}
    write(ParquetSink(**settings), [bars(10)])  # type: ignore[arg-type]
    column = pq.read_metadata(f"{tmp_path}/bars.parquet").row_group(0).column(3)
    assert column.compression == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


def test_decimal_prices_are_exact(tmp_path: Path) -> None:
    """A size beyond 2**53 units keeps its last digit as a decimal."""
    sink = ParquetSink(tmp_path / "trades.parquet", prices="decimal")
    write(sink, [trades(2)])
    assert str(sink.read()["size"][0]) == "1000000000.000000001"


def test_folder_holds_parts_of_the_asked_size(tmp_path: Path) -> None:
    """A folder is split into files by rows, in order."""
    sink = ParquetSink(f"{tmp_path}/bars/", part_rows=40)
    write(sink, [bars(100)])
    parts = sorted((tmp_path / "bars").iterdir())
    assert [part.name for part in parts] == [f"part-0000{i}.parquet" for i in range(3)]
    assert [pq.read_metadata(part).num_rows for part in parts] == [40, 40, 20]
    one = ParquetSink(tmp_path / "bars.parquet")
    write(one, [bars(100)])
    assert canonical_hash(one.read()) == canonical_hash(sink.read())


def test_empty_folder_may_be_filled(tmp_path: Path) -> None:
    """A folder that somebody made beforehand is no output yet."""
    (tmp_path / "bars").mkdir()
    write(ParquetSink(f"{tmp_path}/bars/"), [bars(3)])
    assert len(list((tmp_path / "bars").iterdir())) == 1


def test_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    """Overwriting deletes Parquet files only."""
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        ParquetSink(f"{folder}/").check()
    with pytest.raises(OutputError, match=r"notes.txt.*not a Parquet file"):
        ParquetSink(f"{folder}/", overwrite=True).check()


def test_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    """A folder cannot take the name of a file."""
    (tmp_path / "bars").write_text("x")
    with pytest.raises(OutputError, match="it is a file"):
        ParquetSink(f"{tmp_path}/bars/", overwrite=True).check()


def test_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    """A file cannot take the name of a folder."""
    (tmp_path / "bars.parquet").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        ParquetSink(f"{tmp_path}/bars.parquet", overwrite=True).check()


def test_link_is_followed(tmp_path: Path) -> None:
    """An output behind a symbolic link is replaced where it lies."""
    (tmp_path / "real").mkdir()
    write(ParquetSink(tmp_path / "real" / "bars.parquet"), [bars(1)])
    link = tmp_path / "link.parquet"
    link.symlink_to(tmp_path / "real" / "bars.parquet")
    write(ParquetSink(link, overwrite=True), [bars(2)])
    assert link.is_symlink()
    assert pq.read_metadata(tmp_path / "real" / "bars.parquet").num_rows == 2


def test_empty_columns_are_typed(tmp_path: Path) -> None:
    """A run without rows leaves the same column types as one with rows."""
    write(ParquetSink(tmp_path / "a.parquet"), [], BAR)
    write(ParquetSink(tmp_path / "b.parquet"), [bars(1)])
    assert pq.read_schema(tmp_path / "a.parquet") == pq.read_schema(tmp_path / "b.parquet")


def test_other_readers_see_the_same_rows(tmp_path: Path) -> None:
    """DuckDB, Polars and pandas read every encoding back exactly."""
    batch = bars(1000)
    sink = ParquetSink(tmp_path / "bars.parquet", row_group_rows=300)
    write(sink, [batch])
    path = str(sink.path)
    wanted = canonical_hash(sink.read())
    assert sink.read()["ts_open"].cast(pa.int64()).to_pylist() == batch["ts_open"].tolist()
    assert canonical_hash(pl.read_parquet(path).to_arrow()) == wanted
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT epoch_ns(ts_open), open, count FROM read_parquet(?)", [path]
        )
        rows = found.fetchall()
    assert [row[0] for row in rows] == batch["ts_open"].tolist()
    assert [row[1] for row in rows] == [value / 10**9 for value in batch["open"].tolist()]
    assert [row[2] for row in rows] == batch["count"].tolist()
    frame = pd.read_parquet(path)
    assert frame["ts_open"].astype("int64").tolist() == batch["ts_open"].tolist()
    assert frame["symbol"].tolist() == [row["symbol"] for row in sink.read().to_pylist()]
