"""Parquet and Arrow files become exact columns, and every bad input is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ColumnError, ConfigError, InputError, MissingInputError
from market_data_pipeline.records import UNDEFINED, Kind
from market_data_pipeline.source import arrow_file, parquet_file
from market_data_pipeline.source.arrow_file import ArrowReader
from market_data_pipeline.source.parquet_file import ParquetReader
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable

NS = 1_704_164_645_000_000_000
Write = Callable[[pa.Table], Path]


@pytest.fixture(params=["parquet", "file", "stream", "feather"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Writes a table in one of the formats, in pieces of 100 rows."""

    def to_file(table: pa.Table) -> Path:
        path = tmp_path / f"ticks.{request.param}"
        if request.param == "parquet":
            pq.write_table(table, path, row_group_size=100)
            return path
        options = ipc.IpcWriteOptions(compression="lz4" if request.param == "feather" else None)
        new = ipc.new_stream if request.param == "stream" else ipc.new_file
        with new(str(path), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=100)
        return path

    return to_file


def _reader(path: Path, **options: Any) -> ParquetReader | ArrowReader:
    kind = ParquetReader if path.suffix == ".parquet" else ArrowReader
    return kind(path, ReadOptions(**options), SymbolTable())


def _read(path: Path, **options: Any) -> tuple[Batch, list[tuple[int, str]]]:
    batches: list[Batch] = []
    rejected: list[tuple[int, str]] = []
    with closing(_reader(path, **options)) as reader:
        while (batch := reader.read()) is not None:
            batches.append(batch)
            assert len(batch) <= options.get("batch_rows", 65_536)
            bad = reader.take_rejected()
            if bad is not None:
                rejected += list(zip(bad["row"].tolist(), bad["reason"].to_pylist(), strict=True))
        assert reader.rows_read == sum(map(len, batches)) + len(rejected)
        assert reader.fraction() == pytest.approx(1.0, abs=0.2)
    return Batch.concat(batches), rejected


def _table(rows: int = 2, **columns: Any) -> pa.Table:
    base = {
        "ts_event": pa.array([NS] * rows, pa.timestamp("ns", "UTC")),
        "symbol": pa.array(["AAPL", "IBM"] * rows)[:rows],
        "price": pa.array([1.5] * rows),
        "size": pa.array([10] * rows),
    }
    return pa.table({**base, **columns})


def test_rows_become_exact_columns(write: Write) -> None:
    """Times, symbols, prices and sizes arrive as they stand in the file."""
    batch, rejected = _read(write(_table()))
    assert batch["ts_event"].tolist() == [NS, NS]
    assert [batch.symbols.name(code) for code in batch["symbol"]] == ["AAPL", "IBM"]
    assert batch["price"].tolist() == [1_500_000_000] * 2
    assert batch["size"].tolist() == [10_000_000_000] * 2
    assert not rejected


@pytest.mark.parametrize(
    "price",
    [
        pa.array([1.5, -0.1]),
        pa.array([1.5, -0.1], pa.float32()),
        pa.array(["1.5", "-1e-1"]),
        pa.array(["1.5", "-.1"], pa.large_string()),
        pa.array(["1.5", "-0.1"]).dictionary_encode(),
        pa.array([Decimal("1.5"), Decimal("-0.1")], pa.decimal128(10, 4)),
        pa.array([Decimal("1.5"), Decimal("-0.1")], pa.decimal128(38, 12)),
        pa.array([Decimal("1.5"), Decimal("-0.1")], pa.decimal256(40, 2)),
    ],
    ids=lambda column: str(column.type),
)
def test_prices_of_every_type_are_exact(write: Write, price: pa.Array) -> None:
    """Floats, text and decimals of any width are the same fixed point."""
    batch, rejected = _read(write(_table(price=price)), negative_prices=True)
    assert batch["price"].tolist() == [1_500_000_000, -100_000_000]
    assert not rejected


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NS], pa.timestamp("ns")),
        pa.array([NS // 1_000], pa.timestamp("us", "America/New_York")),
        pa.array([NS // 1_000_000], pa.timestamp("ms")),
        pa.array([NS // 1_000_000_000], pa.timestamp("s", "UTC")),
        pa.array([NS]),
        pa.array([NS // 1_000_000]),
        pa.array([NS // 1_000_000_000], pa.int32()),
        pa.array([NS // 1_000_000_000], pa.uint32()),
        pa.array([NS / 1e9]),
        pa.array(["2024-01-02T03:04:05Z"]),
        pa.array(["2024-01-02 04:04:05.000+01:00"]).dictionary_encode(),
        pa.array([str(NS)], pa.large_string()),
    ],
    ids=lambda column: str(column.type),
)
def test_times_of_every_type_are_nanoseconds(write: Write, times: pa.Array) -> None:
    """Timestamps of any unit and zone, integers, floats and text are the same instant."""
    batch, rejected = _read(write(_table(1, ts_event=times)))
    assert batch["ts_event"].tolist() == [NS]
    assert not rejected


def test_naive_timestamps_take_the_zone_of_the_options(write: Write) -> None:
    """A timestamp without a zone is local; of two the first, of none rejected."""
    clocks = [
        datetime(2024, 11, 3, 1, 30),  # noqa: DTZ001
        datetime(2024, 3, 10, 2, 30),  # noqa: DTZ001
        datetime(2024, 7, 1, 9, 30),  # noqa: DTZ001
    ]
    table = _table(3, ts_event=pa.array(clocks, pa.timestamp("us")))
    batch, rejected = _read(write(table), timezone="America/New_York")
    first = datetime(2024, 11, 3, 5, 30, tzinfo=UTC)
    last = datetime(2024, 7, 1, 13, 30, tzinfo=UTC)
    expected = [int(moment.timestamp()) * 10**9 for moment in (first, last)]
    assert batch["ts_event"].tolist() == expected
    assert rejected == [(2, "nonexistent")]


def test_dates_are_local_midnights(write: Write) -> None:
    """A date is the midnight it starts with, in the zone of the options."""
    table = _table(1, ts_event=pa.array([date(2024, 7, 1)]))
    batch, _ = _read(write(table), timezone="Asia/Tokyo")
    expected = int(datetime(2024, 6, 30, 15, tzinfo=UTC).timestamp()) * 10**9
    assert batch["ts_event"].tolist() == [expected]


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("ts_event", pa.array([NS, None], pa.timestamp("ns")), "missing"),
        ("ts_event", pa.array([NS, None]), "missing"),
        ("ts_event", pa.array([NS // 10**6, 2**62], pa.timestamp("ms")), "overflow"),
        ("ts_event", pa.array([1.0, float("nan")]), "not_finite"),
        ("ts_event", pa.array(["2024-01-02", None]), "missing"),
        ("symbol", pa.array(["A", None]), "missing"),
        ("symbol", pa.array(["A", " "]), "missing"),
        ("price", pa.array([1.0, None]), "missing"),
        ("price", pa.array([1, None]), "missing"),
        ("price", pa.array([1.0, float("nan")]), "not_finite"),
        ("price", pa.array([1.0, float("-inf")]), "not_finite"),
        ("price", pa.array([1.0, 1e10]), "overflow"),
        ("price", pa.array([1.0, 1e300]), "overflow"),
        ("price", pa.array([1.0, 1 / 3]), "inexact"),
        ("price", pa.array([1, 2**62]), "overflow"),
        ("price", pa.array([1, 2**64 - 1], pa.uint64()), "overflow"),
        ("price", pa.array(["1", "x"]), "malformed"),
        ("price", pa.array(["1", None]).dictionary_encode(), "missing"),
        ("price", pa.array([Decimal(1), None], pa.decimal128(20, 2)), "missing"),
        ("price", pa.array([Decimal(1), Decimal(10) ** 15], pa.decimal128(20, 2)), "overflow"),
        ("price", pa.array([Decimal(1), Decimal(10) ** 30], pa.decimal128(38, 2)), "overflow"),
        ("price", pa.array([Decimal(1), Decimal("1e-11")], pa.decimal128(38, 12)), "inexact"),
        ("size", pa.array([1, -1]), "negative"),
        ("price", pa.array([1.0, -0.25]), "negative"),
        ("size", pa.array([1.0, -1e-9]), "negative"),
        ("trade_id", pa.array([1, None]), "missing"),
        ("trade_id", pa.array([1.0, 1.5]), "inexact"),
        ("side", pa.array(["buy", "x"]), "malformed"),
    ],
)
def test_bad_row_is_rejected_with_its_number(
    write: Write, column: str, values: pa.Array, reason: str
) -> None:
    """A bad row costs itself, wherever in the file it is."""
    table = pa.concat_tables(
        [_table(150, **{column: pa.concat_arrays([values.slice(0, 1)] * 150)})]
        + [_table(2, **{column: values})] * 2
    )
    batch, rejected = _read(write(table))
    assert len(batch) == 152
    assert rejected == [(152, reason), (154, reason)]


@pytest.mark.parametrize("rows", [1, 7, 1_000, 65_536])
def test_rows_do_not_depend_on_how_they_are_cut(write: Write, rows: int) -> None:
    """The same rows come out at every batch size."""
    prices = np.arange(450) / 4
    prices[::97] = np.nan
    names = pa.array([f"S{i % 7}" for i in range(450)])
    path = write(_table(450, symbol=names, price=prices, size=np.arange(450)))
    whole, bad = _read(path)
    cut, also_bad = _read(path, batch_rows=rows)
    assert bad == also_bad
    assert len(bad) == 5
    for name in whole.columns:
        assert np.array_equal(whole[name], cut[name])


def test_quotes_have_sides_that_may_be_empty(write: Write) -> None:
    """A null side is undefined in price and size; a NaN is a defect."""
    table = pa.table(
        {
            "time": pa.array([NS] * 3),
            "ticker": ["A"] * 3,
            "bid": [1.0, None, 1.0],
            "bid_size": [5, 5, 5],
            "ask": [None, 1.2, float("nan")],
        }
    )
    batch, rejected = _read(write(table))
    assert batch.schema.name == "quote"
    assert batch["bid_price"].tolist() == [1_000_000_000, UNDEFINED]
    assert batch["bid_size"].tolist() == [5_000_000_000, UNDEFINED]
    assert batch["ask_price"].tolist() == [UNDEFINED, 1_200_000_000]
    assert rejected == [(3, "not_finite")]


def test_other_columns_ride_along(write: Write) -> None:
    """Integers and floats of 64 bits are held as such, everything else as Arrow has it."""
    table = _table(
        venue=pa.array(["X", "Y"]).dictionary_encode(),
        n=pa.array([1, None]),
        x=pa.array([0.5, None]),
        b=pa.array([True, None]),
        small=pa.array([1, None], pa.int8()),
    )
    path = write(table)
    batch, rejected = _read(path)
    schema = batch.schema
    assert [schema[name].kind for name in ("n", "x", "venue", "b")] == [
        *(Kind.INT, Kind.FLOAT, Kind.ARROW, Kind.ARROW)
    ]
    assert batch["n"].tolist() == [1, UNDEFINED]
    assert np.isnan(batch["x"][1])
    assert batch["venue"].to_pylist() == ["X", "Y"]
    assert batch["venue"].type == schema["venue"].arrow == pa.string()
    assert batch["small"].to_pylist() == [1, None]
    assert not rejected
    peek = parquet_file.peek_schema if path.suffix == ".parquet" else arrow_file.peek_schema
    assert peek(path, ReadOptions()) == schema


def test_only_wanted_columns_are_read(write: Write) -> None:
    """Columns that nobody reads are not given."""
    batch, _ = _read(write(_table(note=["a", "b"])), wanted=frozenset({"price"}))
    assert batch.schema.names == ("ts_event", "price")


def test_symbol_option_names_rows_of_a_file_without_symbols(write: Write) -> None:
    """Without the option the file's name stands for them."""
    path = write(_table().drop_columns("symbol"))
    assert _read(path)[0].symbols.names == ["ticks"]
    assert _read(path, symbol="X")[0].symbols.names == ["X"]


def test_missing_and_odd_columns_are_told(write: Write) -> None:
    """A needed column that is absent, mapped wrongly or of an impossible type."""
    with pytest.raises(ColumnError, match=r"nearest is `prize`.*--column price=THEIRS"):
        _read(write(_table().rename_columns(["ts_event", "symbol", "prize", "size"])))
    with pytest.raises(ColumnError, match=r"no column `prise`.*nearest is `price`"):
        _read(write(_table()), columns={"price": "prise"})
    with pytest.raises(ColumnError, match="`price` cannot be the price: its type is bool"):
        _read(write(_table(price=[True, False])))
    with pytest.raises(ColumnError, match="there is no `prcie` to map"):
        _read(write(_table()), columns={"prcie": "price"})
    with pytest.raises(ColumnError, match="`x` is there more than once"):
        _read(write(pa.table([[1], [2]], names=["x", "x"])))
    with pytest.raises(ConfigError, match="`batch_rows` must be positive, was 0"):
        _read(write(_table()), batch_rows=0)


def test_table_without_rows_gives_no_rows(write: Write) -> None:
    """A file of zero rows is read as such."""
    with closing(_reader(write(_table().slice(0, 0)))) as reader:
        batch = reader.read()
        assert batch is None or len(batch) == 0
        assert reader.read() is None
        assert reader.fraction() == 1.0


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_file_of_another_type_is_refused(tmp_path: Path, suffix: str) -> None:
    """What is missing, a directory, empty or of another format is told with the path."""
    path = tmp_path / f"ticks.{suffix}"
    with pytest.raises(MissingInputError, match="there is no such file"):
        _read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        _read(path)
    for content in (b"ts_event,symbol\n", b"PAR1xxxxxxxxxxxxPAR1", b"ARROW1\0\0" + b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"this is no |damaged or cut short") as caught:
            _read(path)
        assert str(caught.value).startswith(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="this is a directory"):
        _read(path)


def test_file_cut_short_is_refused(write: Write) -> None:
    """The end of a file that was cut is never taken for its end."""
    path = write(_table(1_000))
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(InputError, match=r"damaged|cut short") as caught:
        _read(path)
    assert str(caught.value).startswith(str(path))


def test_damaged_page_names_the_place(tmp_path: Path) -> None:
    """Damage inside a Parquet file is told when it is reached."""
    path = tmp_path / "ticks.parquet"
    pq.write_table(_table(1_000, price=np.arange(1_000) / 4), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[40:400] = b"\xff" * 360
    path.write_bytes(data)
    with pytest.raises(InputError, match="the file is damaged after row 0"):
        _read(path)


@pytest.mark.parametrize("nulls", [True, False])
def test_sides_of_every_type_are_letters(write: Write, nulls: bool) -> None:
    """Text, dictionaries and the signs of integers are sides; null is unknown."""
    words = ["buy", None if nulls else "n"]
    for column in (pa.array(words), pa.array(words).dictionary_encode()):
        batch, _ = _read(write(_table(side=column)))
        assert bytes(batch["side"]) == b"BN"
    batch, _ = _read(write(_table(side=pa.array([1, -1], pa.int8()))))
    assert bytes(batch["side"]) == b"BA"
