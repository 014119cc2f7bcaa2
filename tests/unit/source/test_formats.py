from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc

from market_data_pipeline.errors import InputError, MissingInputError
from market_data_pipeline.source.formats import FORMATS, format_of, open_file
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable
from support.lean_files import write_lean
from support.readers import all_rows

TABLE = pa.table({"ts_event": [1], "symbol": ["A"], "price": [1.5], "size": [2.0]})
CSV = "ts_event,symbol,price,size\n1,A,1.5,2\n"
TRADE = '{"e":"trade","T":1000,"s":"A","t":1,"p":"1.5","q":"2","m":true}'


def written(folder: Path, form: str) -> Path:
    path = folder / "file.data"
    match form:
        case "parquet":
            pq.write_table(TABLE, path)
        case "arrow":
            feather.write_feather(TABLE, str(path), compression="uncompressed")
        case "arrow stream":
            with ipc.new_stream(str(path), TABLE.schema) as stream:
                stream.write_table(TABLE)
        case "lean":
            where = "equity/usa/tick/a/20131007_trade.zip"
            return write_lean(folder, where, {"t": "1,15000,2,P,,0\n"})
        case "zipped csv":
            return write_lean(folder, "trades.zip", {"t": CSV})
        case "binance":
            path.write_text(f"1723161254087896568 {TRADE}\n")
        case "packed binance":
            path.write_bytes(gzip.compress(f"1723161254087896568 {TRADE}\n".encode()))
        case _:
            path.write_text(CSV)
    return path


@pytest.mark.parametrize(
    "form",
    ["csv", "zipped csv", "parquet", "arrow", "arrow stream", "lean", "binance", "packed binance"],
)
def test_the_format_is_told_from_what_is_in_the_file(tmp_path: Path, form: str) -> None:
    """Whatever it is called; and its reader reads it."""
    path = written(tmp_path, form)
    expected = next(known for known in FORMATS if known in form)
    assert format_of(path) == expected
    reader = open_file(path, "auto", ReadOptions(), SymbolTable())
    assert all_rows(reader, "symbol", "price", "size") == [("A", 1_500_000_000, 2_000_000_000)]


def test_a_name_tells_the_format_of_a_damaged_file(tmp_path: Path) -> None:
    """So that the error is that of the format."""
    path = tmp_path / "ticks.parquet"
    path.write_text("no parquet")
    assert format_of(path) == "parquet"
    with pytest.raises(InputError, match="no Parquet file"):
        open_file(path, "auto", ReadOptions(), SymbolTable())


def test_a_given_format_is_not_doubted(tmp_path: Path) -> None:
    """The reader says what is wrong."""
    path = written(tmp_path, "csv")
    with pytest.raises(InputError, match="not one of LEAN's"):
        open_file(path, "lean", ReadOptions(), SymbolTable())


def test_missing_empty_and_damaged_files_are_refused(tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "a.gz"
    with pytest.raises(MissingInputError, match=r"a\.gz: there is no such file"):
        format_of(path)
    path.touch()
    with pytest.raises(InputError, match=r"a\.gz: .*empty"):
        format_of(path)
    path.write_bytes(gzip.compress(CSV.encode())[:12])
    with pytest.raises(InputError, match=r"a\.gz: the file is cut short"):
        format_of(path)
