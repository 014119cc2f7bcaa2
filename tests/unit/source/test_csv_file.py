"""CSV files become exact columns, and every bad input is told."""

from __future__ import annotations

import gzip
import os
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ColumnError, InputError, MissingInputError, RecordError
from market_data_pipeline.records import UNDEFINED, Kind
from market_data_pipeline.source.csv_file import CsvReader, peek_schema
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable

HEADER = "ts_event,symbol,price,size\n"
ROW = "2024-01-02T03:04:05Z,AAPL,1.5,10\n"
NS = 1_704_164_645_000_000_000


def _write(folder: Path, text: str | bytes, name: str = "ticks.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _read(path: Path, **options: object) -> tuple[Batch, list[tuple[int, str, str]], CsvReader]:
    reader = CsvReader(path, ReadOptions(**options), SymbolTable())  # type: ignore[arg-type]
    batches: list[Batch] = []
    rejected: list[tuple[int, str, str]] = []
    with closing(reader):
        while (batch := reader.read()) is not None:
            batches.append(batch)
            bad = reader.take_rejected()
            if bad is not None:
                rows, reasons, details = bad["row"], bad["reason"], bad["detail"]
                found = (rows.tolist(), reasons.to_pylist(), details.to_pylist())
                rejected += list(zip(*found, strict=True))
    if not batches:
        columns = {f.name: np.zeros(0, f.dtype) for f in reader.schema if f.kind != Kind.ARROW}
        return Batch(reader.schema, columns, SymbolTable()), rejected, reader
    return Batch.concat(batches), rejected, reader


def _symbols(batch: Batch) -> list[str]:
    return [batch.symbols.name(code) for code in batch["symbol"].tolist()]


def test_rows_become_exact_columns(tmp_path: Path) -> None:
    """Times, symbols, prices and sizes arrive as they stand in the file."""
    batch, rejected, reader = _read(_write(tmp_path, HEADER + ROW + ROW.replace("AAPL", "IBM")))
    assert batch.schema.name == "trade"
    assert batch["ts_event"].tolist() == [NS, NS]
    assert batch["price"].tolist() == [1_500_000_000] * 2
    assert batch["size"].tolist() == [10_000_000_000] * 2
    assert _symbols(batch) == ["AAPL", "IBM"]
    assert not rejected
    assert reader.rows_read == 2
    assert reader.fraction() == 1.0


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiter_and_line_end_are_told_from_the_file(
    tmp_path: Path, delimiter: str, end: str
) -> None:
    """The header shows the delimiter; both line ends are taken, the last may be missing."""
    text = (HEADER + ROW + ROW).replace(",", delimiter).replace("\n", end)
    for given in (text, text.removesuffix(end)):
        batch, rejected, _ = _read(_write(tmp_path, given))
        assert batch["size"].tolist() == [10_000_000_000] * 2
        assert not rejected


@pytest.mark.parametrize("kind", ["gz", "zst", "zip"])
def test_packed_files_are_told_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    """gzip, Zstandard and zip are unpacked whatever the file is called."""
    text = (HEADER + ROW * 3).encode()
    path = tmp_path / "ticks"
    if kind == "gz":
        path.write_bytes(gzip.compress(text[:50]) + gzip.compress(text[50:]))
    elif kind == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(text)
    else:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("anything.csv", text)
    batch, rejected, _ = _read(path)
    assert len(batch) == 3
    assert not rejected


def test_members_of_a_zip_are_symbols_of_their_own(tmp_path: Path) -> None:
    """Each member without a symbol column takes its name from the member."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("IBM.csv", "SPY.csv"):
            packed.writestr(name, f"time,price,size\n2024-01-02,1,{len(name)}\nbad,1,1\n")
    batch, rejected, reader = _read(path)
    assert _symbols(batch) == ["IBM", "SPY"]
    assert [row for row, _, _ in rejected] == [2, 2]
    assert reader.rows_read == 4


def test_file_name_is_the_symbol_where_no_column_is(tmp_path: Path) -> None:
    """The name up to the first dot is the symbol, unless the options name one."""
    path = _write(tmp_path, "time,px,qty\n2024-01-02,1,1\n", "EURUSD.2024.csv")
    assert _symbols(_read(path)[0]) == ["EURUSD"]
    assert _symbols(_read(path, symbol="X")[0]) == ["X"]


@pytest.mark.parametrize(
    ("cells", "reason", "detail"),
    [
        (",AAPL,1,1", "missing", "`ts_event` is empty"),
        ("soon,AAPL,1,1", "malformed", "`ts_event` is `soon`, which is no time"),
        ("2024-02-30,AAPL,1,1", "malformed", "no time"),
        ("2024-01-01T24:00:00,AAPL,1,1", "malformed", "no time"),
        ("1500-01-01,AAPL,1,1", "overflow", "out of range"),
        ("2024-01-02,,1,1", "missing", "`symbol` is empty"),
        ("2024-01-02,AAPL,,1", "missing", "`price` is empty"),
        ("2024-01-02,AAPL,abc,1", "malformed", "`price` is `abc`, which is no number"),
        ("2024-01-02,AAPL,1.0000000001,1", "inexact", "more than 9 decimal places"),
        ("2024-01-02,AAPL,9223372036.854775807,1", "overflow", "out of range"),
        ("2024-01-02,AAPL,NaN,1", "not_finite", "`price` is `NaN`"),
        ("2024-01-02,AAPL,-inf,1", "not_finite", "no finite number"),
        ("2024-01-02,AAPL,1,-1", "negative", "`size` is `-1`"),
        ("2024-01-02,AAPL,-0.01,1", "negative", "`price` is `-0.01`, which is negative; where"),
        ("2024-01-02,AAPL,1", "fields", "the row has 3 fields, the header 4"),
        ("2024-01-02,AAPL,1,1,1", "fields", "the row has 5 fields"),
        ('2024-01-02,"AAPL"x,1,1', "malformed", "after a closing quote"),
        ("2024-01-02,\xff\xfe,1,1", "encoding", "not UTF-8"),
    ],
)
def test_bad_row_is_rejected_with_its_place(
    tmp_path: Path, cells: str, reason: str, detail: str
) -> None:
    """A bad row costs itself; its number, a word and what was found are told."""
    text = (HEADER + ROW * 2 + cells + "\n" + ROW).encode("latin-1")
    path = _write(tmp_path, text)
    batch, rejected, reader = _read(path)
    assert len(batch) == 3
    ((row, found, words),) = rejected
    assert (row, found) == (3, reason)
    assert detail in words
    assert reader.rows_read == 4
    with pytest.raises(RecordError, match=r"ticks.csv, row 3: ") as caught:
        _read(path, strict=True)
    assert caught.value.reason == reason


def test_bad_rows_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Rows of wrong length and rows of bad cells are found apart, and told together."""
    text = HEADER + ROW + "2024-01-02,AAPL,abc,1\n" + "2024-01-02,AAPL\n" + "soon,AAPL,1,1\n"
    path = _write(tmp_path, text)
    _, rejected, _ = _read(path)
    assert [(row, reason) for row, reason, _ in rejected] == [
        (2, "malformed"),
        (3, "fields"),
        (4, "malformed"),
    ]
    with pytest.raises(RecordError, match=r"ticks.csv, row 2: `price` is `abc`"):
        _read(path, strict=True)


def test_negative_price_is_taken_where_that_is_said_and_zero_size_anywhere(tmp_path: Path) -> None:
    """Spreads trade below zero, and venues print trades of size zero."""
    path = _write(tmp_path, HEADER + "2024-01-02,CL,-37.63,0\n")
    batch, rejected, _ = _read(path, negative_prices=True)
    assert batch["price"].tolist() == [-37_630_000_000]
    assert not rejected


def test_quotes_are_told_from_bid_and_ask(tmp_path: Path) -> None:
    """A bid and an ask make quotes; an empty side is undefined in price and size."""
    text = "Time;Bid;BidSize;Ask;AskSize\n2024-01-02;1.1;5;1.2;6\n2024-01-02;;5;1.2;6\n"
    batch, rejected, _ = _read(_write(tmp_path, text, "EURUSD.csv"))
    assert batch.schema.name == "quote"
    assert batch.schema.conflatable
    assert batch["bid_price"].tolist() == [1_100_000_000, UNDEFINED]
    assert batch["bid_size"].tolist() == [5_000_000_000, UNDEFINED]
    assert batch["ask_size"].tolist() == [6_000_000_000] * 2
    assert not rejected


def test_quotes_doubled_and_line_ends_inside_fields_are_kept(tmp_path: Path) -> None:
    """A quoted field may hold the delimiter, a line end and doubled quotes."""
    text = HEADER.replace("size\n", "size,note\n") + (
        '"2024-01-02","A,B","1","2","he said ""no"""\n\n"2024-01-02","C","1","2","two\nlines"\n'
        "2024-01-02,D,x,2,\n"
    )
    batch, rejected, _ = _read(_write(tmp_path, text))
    assert _symbols(batch) == ["A,B", "C"]
    assert batch["note"].to_pylist() == ['he said "no"', "two\nlines"]
    assert [row for row, _, _ in rejected] == [3]


@pytest.mark.parametrize("rows", [1, 7, 1_000, 65_536])
def test_rows_do_not_depend_on_how_they_are_cut(tmp_path: Path, rows: int) -> None:
    """The same rows and rejects come out at every batch size, in batches of at most that."""
    lines = [f"2024-01-02,S{i % 5},{'x' if i % 97 == 0 else i / 4},{i}\n" for i in range(3_000)]
    path = _write(tmp_path, HEADER + "".join(lines))
    whole, bad, _ = _read(path)
    reader = CsvReader(path, ReadOptions(batch_rows=rows), SymbolTable())
    sizes = []
    with closing(reader):
        while (batch := reader.read()) is not None:
            sizes.append(len(batch))
    assert max(sizes) <= rows
    cut, also_bad, _ = _read(path, batch_rows=rows)
    assert bad == also_bad
    for name in whole.columns:
        assert np.array_equal(whole[name], cut[name])


def test_rows_that_cross_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are the same wherever the blocks of bytes are cut."""
    text = HEADER + "".join(f'2024-01-02,"S""{i}",{i}.5,1\r\n' for i in range(40))
    path = _write(tmp_path, text)
    whole, _, _ = _read(path)
    for size in (len(HEADER) + 3, 64, 65, 66, 67):
        monkeypatch.setattr("market_data_pipeline.source.delimited.BLOCK_BYTES", size)
        cut, rejected, _ = _read(path)
        assert _symbols(cut) == _symbols(whole)
        assert cut["price"].tolist() == whole["price"].tolist()
        assert not rejected


def test_side_and_identifiers_are_read(tmp_path: Path) -> None:
    """Words for a side become one letter; identifiers are numbers if they look like it."""
    header = "timestamp,ticker,price,qty,side,id\n"
    words = ["buy", "SELL", "b", "s", "A", "", "unknown", "Bid"]
    text = header + "".join(f"1700000000,X,1,1,{word},{i}\n" for i, word in enumerate(words))
    batch, _, _ = _read(_write(tmp_path, text))
    assert bytes(batch["side"]).decode() == "BABAANNB"
    assert batch["trade_id"].tolist() == list(range(8))
    batch, _, _ = _read(_write(tmp_path, header + "1700000000,X,1,1,b,a-1\n"))
    assert batch["trade_id"].to_pylist() == ["a-1"]
    _, rejected, _ = _read(_write(tmp_path, header + "1700000000,X,1,1,long,1\n"))
    assert rejected[0][1:] == ("malformed", "`side` is `long`, which is no side")


def test_naive_times_take_the_zone_of_the_options(tmp_path: Path) -> None:
    """A time without a zone is local; one that the clocks jump over is rejected."""
    text = HEADER + "2024-03-10 01:59:00,X,1,1\n2024-03-10 02:30:00,X,1,1\n" + ROW
    batch, rejected, _ = _read(_write(tmp_path, text), timezone="America/New_York")
    assert batch["ts_event"].tolist() == [1_710_053_940_000_000_000, NS]
    assert rejected[0][:2] == (2, "nonexistent")
    with pytest.raises(ValueError, match="there is no time zone `Mars/Olympus`"):
        _read(_write(tmp_path, text), timezone="Mars/Olympus")


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    """Columns that nobody reads are not given, and their defects cost nothing."""
    path = _write(tmp_path, HEADER.replace("\n", ",note\n") + "2024-01-02,X,1,bad,hello\n")
    batch, rejected, reader = _read(path, wanted=frozenset({"price", "symbol"}))
    assert reader.schema.names == ("ts_event", "symbol", "price")
    assert len(batch) == 1
    assert not rejected


def test_missing_column_lists_what_is_there_and_the_way_out(tmp_path: Path) -> None:
    """The message names the columns, the nearest one, and the option."""
    path = _write(tmp_path, "ts_event,symbol,prise,size\n" + ROW)
    with pytest.raises(ColumnError) as caught:
        _read(path)
    message = str(caught.value)
    assert "ticks.csv: no column is the `price`" in message
    assert "the nearest is `prise`" in message
    assert "(columns: `ts_event`, `symbol`, `prise`, `size`)" in message
    assert "`--column price=THEIRS`" in message
    batch, _, _ = _read(path, columns={"price": "prise"})
    assert batch["price"].tolist() == [1_500_000_000]
    with pytest.raises(ColumnError, match=r"there is no column `prize`.*nearest is `prise`"):
        _read(path, columns={"price": "prize"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("\ufeff", "the file is empty"),
        (HEADER.rstrip() + "\r2024-01-02,X,1,1\r", "its lines end in CR alone"),
        ("a,a,price\n", "`a` is there more than once"),
        (b"PAR1\x00\x01\x02price\n", "no text file"),
        ("ts_event,price\n".encode("utf-16"), "UTF-16"),
        (b"ts_event,pr\xffice\n", "the header is not UTF-8"),
        (HEADER + '2024-01-02,"AAPL,1,1\n' + ROW, "row 1 does not end: a quote is not closed"),
        (b"\x28\xb5\x2f\xfdxxxxxxx", "the file"),
        (b"PK\x03\x04xxxxxxx", "the zip file is damaged"),
        (gzip.compress(b"x" * 100_000)[:-20], "the file is cut short"),
    ],
)
def test_file_that_is_no_csv_is_refused(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    """The message names the file and what is wrong with it."""
    path = _write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        _read(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_file_cut_short_is_told_after_its_rows(tmp_path: Path, kind: str) -> None:
    """The end of packed data that was cut is never taken for the end of the file."""
    rng = np.random.default_rng(1)
    rows = "".join(f"2024-01-02,X,{n},1\n" for n in rng.integers(1, 10**9, 5_000))
    path = tmp_path / "ticks"
    if kind == "gz":
        path.write_bytes(gzip.compress((HEADER + rows).encode())[:-2_000])
    else:
        packed = pa.compress((HEADER + rows).encode(), "zstd", asbytes=True)
        path.write_bytes(packed[:-2_000])
    with pytest.raises(InputError, match="cut short") as caught:
        _read(path)
    assert str(caught.value).startswith(str(path))


def test_packed_file_may_begin_with_a_frame_that_is_skipped(tmp_path: Path) -> None:
    """As parallel packers of zstd write them."""
    packed = pa.compress((HEADER + "2024-01-02,X,1,1\n").encode(), "zstd", asbytes=True)
    path = tmp_path / "ticks"
    path.write_bytes(b"\x5d\x2a\x4d\x18\x04\x00\x00\x00 abc" + packed)
    batch, rejected, _ = _read(path)
    assert (len(batch), rejected) == (1, [])


@pytest.mark.parametrize("content", [HEADER, HEADER.rstrip(), "\n\r\n" + HEADER.rstrip()])
def test_header_alone_is_no_rows(tmp_path: Path, content: str) -> None:
    """A file that holds only a header is read as zero rows, its line end there or not."""
    batch, rejected, reader = _read(_write(tmp_path, content))
    assert len(batch) == 0
    assert not rejected
    assert reader.rows_read == 0
    assert peek_schema(tmp_path / "ticks.csv", ReadOptions()) == reader.schema


def test_missing_file_and_directory_are_refused(tmp_path: Path) -> None:
    """Nothing at the path, and a directory, are told apart."""
    with pytest.raises(MissingInputError, match="there is no such file"):
        _read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="this is a directory"):
        _read(tmp_path)


def test_a_pipe_is_refused_and_not_read(tmp_path: Path) -> None:
    """What telling the format took from it would be lost, its header first."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(InputError, match="a pipe or a device") as caught:
        _read(path)
    assert str(caught.value).startswith(str(path))


def test_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    """Spreadsheets write one."""
    batch, _, _ = _read(_write(tmp_path, "\ufeff" + HEADER + ROW))
    assert len(batch) == 1


def test_recorded_trades_are_read_whole(data_dir: Path) -> None:
    """Every row of a venue's file is read, with the sum of its sizes."""
    batch, rejected, _ = _read(data_dir / "questdb" / "btc_trades.csv")
    assert len(batch) == 5_882
    assert not rejected
    lines = (data_dir / "questdb" / "btc_trades.csv").read_text().splitlines()[1:]
    expected = [round(float(line.split(",")[3]) * 1e9) for line in lines]
    assert batch["size"].tolist() == expected


def test_recorded_prices_of_too_many_places_are_rejected(data_dir: Path) -> None:
    """Prices that passed through 32-bit floats are no decimals of nine places."""
    path = data_dir / "questdb" / "nasdaq_trades.csv"
    with pytest.raises(ColumnError, match="no column is the `size`"):
        _read(path)
    batch, rejected, _ = _read(path, columns={"symbol": "id", "size": "dayVolume"})
    assert len(batch) + len(rejected) == 14_842
    assert {reason for _, reason, _ in rejected} == {"inexact"}
