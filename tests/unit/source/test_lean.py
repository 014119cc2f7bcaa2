from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from market_data_pipeline.errors import InputError, MissingInputError, RecordError
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.source.lean import LeanReader
from market_data_pipeline.source.lean_layout import LeanPath
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable
from support.lean_files import write_lean
from support.readers import all_rejects, all_rows

NANO = 10**9
FOREX = "forex/oanda/tick/eurusd/20140505_quote.zip"
TRADES = "equity/usa/tick/spy/20131007_trade.zip"
QUOTES = "equity/usa/tick/ibm/20131007_quote.zip"
FUTURES = "future/comex/tick/gc/20131007_trade.zip"


def ns(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * NANO  # type: ignore[misc, arg-type]


def opened(path: Path, **options: object) -> LeanReader:
    return LeanReader(path, ReadOptions(**options), SymbolTable())  # type: ignore[arg-type]


def test_forex_quotes_count_from_midnight_utc(tmp_path: Path) -> None:
    """The symbol is the ticker in capitals, prices are exact."""
    path = write_lean(tmp_path, FOREX, {"q.csv": "0,1.38801,1.38815\n23668,1.388,1.39\r\n"})
    assert all_rows(opened(path), "ts_event", "symbol", "bid_price", "ask_price") == [
        (ns(2014, 5, 5), "EURUSD", 1388010000, 1388150000),
        (ns(2014, 5, 5) + 23668 * 10**6, "EURUSD", 1388000000, 1390000000),
    ]


def test_another_timezone_moves_the_day(tmp_path: Path) -> None:
    """Some brokers' files are stamped in a zone of their own."""
    path = write_lean(tmp_path, FOREX, {"q.csv": "0,1,2\n"})
    found = all_rows(opened(path, timezone="Etc/GMT+5"), "ts_event")
    assert found == [(ns(2014, 5, 5, 5),)]


def test_equity_trades_are_in_new_york_and_times_ten_thousand(tmp_path: Path) -> None:
    """Venue, condition and the suspicious mark ride along."""
    text = "34200000,1815200,283,P,20002020,1\n34200001,1815201,100,D,,0\n"
    path = write_lean(tmp_path, TRADES, {"t.csv": text})
    names = ("ts_event", "symbol", "price", "size", "flags", "venue", "condition")
    open_ns = ns(2013, 10, 7, 13, 30)
    assert all_rows(opened(path), *names) == [
        (open_ns, "SPY", 181_520_000_000, 283 * NANO, 1, "P", "20002020"),
        (open_ns + 10**6, "SPY", 181_520_100_000, 100 * NANO, 0, "D", ""),
    ]


def test_an_empty_side_of_an_equity_quote_is_undefined(tmp_path: Path) -> None:
    """A price of 0 stands for no quote on that side."""
    text = "14400054,0,0,1836300,100,Q,1,0\n14400277,1812400,200,0,7,P,1,0\n"
    path = write_lean(tmp_path, QUOTES, {"q.csv": text})
    assert all_rows(opened(path), "bid_price", "bid_size", "ask_price", "ask_size") == [
        (UNDEFINED, UNDEFINED, 183_630_000_000, 100 * NANO),
        (181_240_000_000, 200 * NANO, UNDEFINED, UNDEFINED),
    ]


def test_each_expiry_is_a_symbol_and_they_merge_by_time(tmp_path: Path) -> None:
    """Rows of one instant go in the order of the members."""
    members = {
        "20131007_gc_tick_trade_201312.csv": "5,1313.7,1,usa,,0\n9,1313.8,0,usa,,0\n",
        "20131007_gc_tick_trade_201402.csv": "1,1316.1,2,usa,,0\n5,1316.2,3,usa,,0\n",
    }
    path = write_lean(tmp_path, FUTURES, members)
    start = ns(2013, 10, 7)
    assert all_rows(opened(path), "ts_event", "symbol", "price", "size") == [
        (start + 1_000_000, "GC_201402", 1316_100_000_000, 2 * NANO),
        (start + 5_000_000, "GC_201312", 1313_700_000_000, NANO),
        (start + 5_000_000, "GC_201402", 1316_200_000_000, 3 * NANO),
        (start + 9_000_000, "GC_201312", 1313_800_000_000, 0),
    ]
    assert {row[0] for row in all_rows(opened(path, symbol="GC_201402"), "symbol")} == {
        "GC_201402"
    }


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    """The event time always is."""
    path = write_lean(tmp_path, TRADES, {"t.csv": "1,1815200,283,P,20002020,1\n"})
    reader = opened(path, wanted=frozenset({"price"}))
    assert reader.schema.names == ("ts_event", "price")
    assert len(all_rows(reader)) == 1


def test_a_time_that_the_clocks_jump_over_is_rejected(tmp_path: Path) -> None:
    """On the day New York springs forward there is no half past two."""
    where = "equity/usa/tick/spy/20240310_trade.zip"
    hour = 3_600_000
    text = "".join(f"{ms},1000000,1,P,,0\n" for ms in (hour, 2 * hour + hour // 2, 4 * hour))
    path = write_lean(tmp_path, where, {"t.csv": text})
    assert all_rows(opened(path), "ts_event") == [
        (ns(2024, 3, 10, 6),),
        (ns(2024, 3, 10, 8),),
    ]
    assert all_rejects(opened(path)) == [(2, "malformed")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x,1815200,283,P,1,0", "malformed"),
        ("-1,1815200,283,P,1,0", "malformed"),
        ("86400000,1815200,283,P,1,0", "malformed"),
        (",1815200,283,P,1,0", "malformed"),
        ("5,,283,P,1,0", "missing"),
        ("5,abc,283,P,1,0", "malformed"),
        ("5,nan,283,P,1,0", "not_finite"),
        ("5,1.123456,283,P,1,0", "inexact"),
        ("5,99999999999999999,283,P,1,0", "overflow"),
        ("5,1815200,-283,P,1,0", "negative"),
        ("5,1815200,283", "fields"),
        ("5,1815200,283,P,1,0,7", "fields"),
    ],
)
def test_a_bad_row_is_rejected_with_its_number(tmp_path: Path, row: str, reason: str) -> None:
    """The rows around it are taken, and the counts add up."""
    good = "{},1815200,283,P,20002020,0\n"
    path = write_lean(tmp_path, TRADES, {"t.csv": good.format(1) + row + "\n" + good.format(9)})
    reader = opened(path)
    assert all_rejects(reader) == [(2, reason)]
    assert reader.rows_read == 3
    assert len(all_rows(opened(path))) == 2
    with pytest.raises(RecordError, match=r"20131007_trade\.zip/t\.csv, row 2"):
        all_rows(opened(path, strict=True))


def test_batches_of_any_size_hold_the_same_rows(tmp_path: Path) -> None:
    """No batch is larger than asked for."""
    text = "".join(f"{ms},1.3{ms:04d},1.4\n" for ms in range(500))
    path = write_lean(tmp_path, FOREX, {"q.csv": text})
    expected = all_rows(opened(path))
    assert len(expected) == 500
    for size in (1, 7, 499):
        reader = opened(path, batch_rows=size)
        sizes = []
        while (batch := reader.read()) is not None:
            sizes.append(len(batch))
        assert max(sizes) == size
        assert sum(sizes) == 500
        assert all_rows(opened(path, batch_rows=size)) == expected


def test_what_a_path_says() -> None:
    """In any case of letters, and from the end of the path."""
    said = LeanPath.parse(Path("/data/Equity/USA/tick/SPY/20131007_Trade.zip"))
    assert said == LeanPath("equity", "usa", "tick", "spy", "20131007", "trade")
    for other in ("a.zip", "/data/ticks/spy/20131007_trade.zip", "tick/x/20131007_trade.csv"):
        assert LeanPath.parse(Path("/") / other) is None


def test_what_a_path_with_steps_up_says() -> None:
    """The same as without them, as in `mdp bars ../eurusd/20140505_quote.zip`."""
    said = LeanPath.parse(Path("/forex/oanda/tick/nzdusd/../eurusd/20140505_quote.zip"))
    assert said == LeanPath("forex", "oanda", "tick", "eurusd", "20140505", "quote")


@pytest.mark.parametrize(
    ("where", "members", "message"),
    [
        ("a.zip", {"a": ""}, "not one of LEAN's"),
        ("forex/oanda/minute/eurusd/20140505_quote.zip", {"a": ""}, "bars of resolution `minute`"),
        ("crypto/gdax/tick/btcusd/20140505_quote.zip", {"a": ""}, "crypto quotes cannot be read"),
        ("forex/oanda/tick/eurusd/20141305_quote.zip", {"a": ""}, "`20141305` .* not a date"),
        (FOREX, {}, "no members"),
        (FOREX, {"a": "", "b": ""}, "one member, this has 2: a, b"),
        (FUTURES, {"gc.csv": ""}, "`gc.csv` must end in the expiry"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, where: str, members: dict[str, str], message: str
) -> None:
    """The message names the file and what was expected."""
    path = write_lean(tmp_path, where, members)
    with pytest.raises(InputError, match=message) as caught:
        opened(path)
    assert caught.value.place == str(path)


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """A kind the path denies, and names for columns that have none."""
    path = write_lean(tmp_path, FOREX, {"q.csv": "0,1,2\n"})
    with pytest.raises(InputError, match="holds quotes, but `kind` is `trades`"):
        opened(path, kind="trades")
    with pytest.raises(InputError, match="leave `columns` out"):
        opened(path, columns={"price": "px"})


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    """Missing, empty, cut short, and with a member whose bytes are wrong."""
    path = write_lean(tmp_path, FOREX, {"q.csv": "".join(f"{i},1.3,1.4\n" for i in range(9999))})
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(MissingInputError, match="no such file"):
        opened(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        opened(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        opened(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("q.csv", "5,1.3,1.4\n" * 99)
    stored = (tmp_path / "other.zip").read_bytes()
    path.write_bytes(stored.replace(b"1.4", b"1.5", 1))
    with pytest.raises(InputError, match=r"q\.csv: the file is damaged"):
        all_rows(opened(path))


def test_a_file_without_rows_gives_none(tmp_path: Path) -> None:
    """An empty member is an empty day."""
    assert all_rows(opened(write_lean(tmp_path, FOREX, {"q.csv": ""}))) == []
