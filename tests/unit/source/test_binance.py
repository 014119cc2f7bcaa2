from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from market_data_pipeline.errors import InputError, RecordError
from market_data_pipeline.source.binance import BinanceReader
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable
from support.readers import all_rejects, all_rows

NANO = 10**9
TRADE = (
    '{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}'
)
QUOTE = '{"u":50093239212,"s":"BTCUSDT","b":"61837.63","B":"3.78826","a":"61837.64","A":"1.54698"}'
FUTURES_QUOTE = (
    '{"e":"bookTicker","u":7,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4",'
    '"T":1723161256313,"E":1723161256314}'
)
DEPTH = '{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}'
SNAPSHOT = '{"lastUpdateId":50093239218,"bids":[["61837.63","3.78"]],"asks":[]}'


def wrapped(stream: str, message: str) -> str:
    return f'{{"stream":"btcusdt@{stream}","data":{message}}}'


def capture(folder: Path, *lines: str) -> Path:
    path = folder / "capture.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def opened(path: Path, **options: object) -> BinanceReader:
    return BinanceReader(path, ReadOptions(**options), SymbolTable())  # type: ignore[arg-type]


def test_a_trade_has_both_times_its_id_and_the_aggressors_side(tmp_path: Path) -> None:
    """The buyer was the maker, so the aggressor sold."""
    bought = TRADE.replace('"m":true', '"m":false').replace("3735683259", "3735683260")
    path = capture(
        tmp_path, f"1723161254087896568 {wrapped('trade', TRADE)}", f"1723161254087896569 {bought}"
    )
    names = ("ts_event", "ts_recv", "symbol", "price", "size", "side", "trade_id")
    first = (1723161255342 * 10**6, 1723161254087896568, "BTCUSDT")
    assert all_rows(opened(path), *names) == [
        (*first, 61_837_630_000_000, 20_000_000, ord("A"), 3735683259),
        (first[0], first[1] + 1, "BTCUSDT", 61_837_630_000_000, 20_000_000, ord("B"), 3735683260),
    ]


def test_a_quote_without_a_time_of_its_own_has_that_of_its_capture(tmp_path: Path) -> None:
    """Spot best bids and asks carry no time; those of futures do."""
    path = capture(
        tmp_path,
        f"1723161254087891268 {wrapped('bookTicker', QUOTE)}",
        f"1723161254087891269 {wrapped('bookTicker', FUTURES_QUOTE)}",
        f"1723161254087891270 {QUOTE}",
    )
    names = ("ts_event", "bid_price", "bid_size", "ask_price", "ask_size", "sequence")
    spot = (61_837_630_000_000, 3_788_260_000, 61_837_640_000_000, 1_546_980_000, 50093239212)
    assert all_rows(opened(path, kind="quotes"), *names) == [
        (1723161254087891268, *spot),
        (1723161256313 * 10**6, NANO, 2 * NANO, 3 * NANO, 4 * NANO, 7),
        (1723161254087891270, *spot),
    ]


def test_messages_of_other_streams_are_not_read(tmp_path: Path) -> None:
    """Depth, snapshots, answers and the other kind of row are passed over."""
    path = capture(
        tmp_path,
        f"1723161254000000001 {wrapped('depth@100ms', DEPTH)}",
        f"1723161254000000002 {DEPTH}",
        f"1723161254000000003 {SNAPSHOT}",
        '1723161254000000004 {"result":null,"id":1}',
        "1723161254000000005 {}",
        f"1723161254000000006 {wrapped('bookTicker', QUOTE)}",
        "",
        f"1723161254000000007 {wrapped('trade', TRADE)}",
    )
    reader = opened(path)
    assert all_rejects(reader) == []
    assert reader.rows_read == 1


def test_one_of_two_streams_of_the_same_trades_is_read(tmp_path: Path) -> None:
    """The one that comes first; the other tells the same trades again."""
    aggregated = (
        '{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":77,"p":"1.5","q":"2","f":1,"l":3,'
        '"T":1723161255342,"m":false}'
    )
    lines = [
        f"1723161254000000001 {wrapped('aggTrade', aggregated)}",
        f"1723161254000000002 {wrapped('trade', TRADE)}",
    ]
    assert all_rows(opened(capture(tmp_path, *lines)), "trade_id") == [(77,)]
    assert all_rows(opened(capture(tmp_path, *lines[::-1])), "trade_id") == [(3735683259,)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no capture", "malformed"),
        ("1723161254000000002", "malformed"),
        ("1723161254000000002 ", "malformed"),
        ("1723161254000000002 [1]", "malformed"),
        (f"x1723161254000000002 {TRADE}", "malformed"),
        (f"1723161254000000002 {TRADE[:60]}", "malformed"),
        (f"1723161254000000002 {TRADE[:-1]}", "malformed"),
        (f"1723161254000000002 {wrapped('trade', TRADE)[:-1]}", "malformed"),
        (f"1723161254000000002 {wrapped('trade', TRADE)[:40]}", "malformed"),
        (f"1723161254000000002 {wrapped('trade', '7')}", "malformed"),
        (f"1723161254000000002 {TRADE.replace('61837.63000000', '6.1.8')}", "malformed"),
        (f"1723161254000000002 {TRADE.replace('61837.63000000', '')}", "missing"),
        (f"1723161254000000002 {TRADE.replace('p', 'x')}", "missing"),
        (f"1723161254000000002 {TRADE.replace('61837.63000000', '1e-10')}", "inexact"),
        (f"1723161254000000002 {TRADE.replace('0.02000000', '-1')}", "negative"),
        (f"1723161254000000002 {TRADE.replace('true', 'maybe', 1)}", "malformed"),
    ],
)
def test_a_bad_line_is_rejected_with_its_number(tmp_path: Path, line: str, reason: str) -> None:
    """The number is that of the line in the file, whatever was passed over before."""
    good = f"1723161254000000001 {wrapped('trade', TRADE)}"
    depth = f"1723161254000000001 {wrapped('depth', DEPTH)}"
    path = capture(tmp_path, good, depth, line, good)
    reader = opened(path)
    assert all_rejects(reader) == [(3, reason)]
    assert reader.rows_read == 3
    assert len(all_rows(opened(path))) == 2
    with pytest.raises(RecordError, match=r"capture\.gz, row 3"):
        all_rows(opened(path, strict=True))


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    """Where no line is one, there is more to say than that each is rejected."""
    path = capture(tmp_path, "ts_event,symbol,price,size", "2024-01-02,A,1,2")
    with pytest.raises(InputError, match=r"capture\.gz: no line .* is this a capture"):
        all_rows(opened(path))


def test_every_symbol_of_a_socket_is_read(tmp_path: Path) -> None:
    """Several symbols may share a socket."""
    other = TRADE.replace("BTCUSDT", "ETHUSDT")
    path = capture(tmp_path, f"1723161254000000001 {TRADE}", f"1723161254000000002 {other}")
    assert all_rows(opened(path), "symbol") == [("BTCUSDT",), ("ETHUSDT",)]


def test_plain_text_and_a_last_line_without_end_are_read(tmp_path: Path) -> None:
    """As a capture that is still being written."""
    path = tmp_path / "capture.txt"
    path.write_text(f"1723161254000000001 {TRADE}\r\n1723161254000000002 {TRADE}")
    assert all_rows(opened(path), "ts_recv") == [(1723161254000000001,), (1723161254000000002,)]


def test_a_capture_cut_short_is_refused(tmp_path: Path) -> None:
    """Compressed data without an end is an error, not an end."""
    lines = [f"{1723161254000000001 + i * 7919} {TRADE}" for i in range(5000)]
    path = capture(tmp_path, *lines)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"capture\.gz: the file is cut short"):
        all_rows(opened(path))


def test_names_of_columns_do_not_apply(tmp_path: Path) -> None:
    """The fields of messages are known."""
    with pytest.raises(InputError, match="leave `columns` out"):
        opened(capture(tmp_path, f"1 {TRADE}"), columns={"price": "px"})


def test_batches_of_any_size_hold_the_same_rows(tmp_path: Path) -> None:
    """Whatever lies between the rows."""
    lines = []
    for i in range(300):
        lines.append(f"{1723161254000000001 + i} {TRADE.replace('3735683259', str(i))}")
        lines += [f"{1723161254000000001 + i} {DEPTH}"] * (i % 3)
    path = capture(tmp_path, *lines)
    for size in (1, 7, 300):
        assert all_rows(opened(path, batch_rows=size), "trade_id") == [(i,) for i in range(300)]
