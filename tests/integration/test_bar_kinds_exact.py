"""Bars of recorded trades equal those of a plain loop over the files, row for row.

The files are read with the standard library, and the loop shares nothing with the package.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import market_data_pipeline as mdp

NANO = 10**9
MS = 10**6
NONE = 2**63 - 1
NEW_YORK = ZoneInfo("America/New_York")
UTC = ZoneInfo("UTC")

Trade = tuple[int, str, int, int]
"""Event time, symbol, price and size at 1e-9."""
Bar = tuple[Any, ...]


def fixed(text: str) -> int:
    """A decimal at 1e-9."""
    return int(Decimal(text) * NANO)


def lean_trades(path: Path, zone: ZoneInfo, divisor: int) -> Iterator[Trade]:
    """Trades of a zip: a member for each symbol."""
    day = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=zone)
    midnight = int(day.timestamp()) * NANO
    ticker = path.parts[-2].upper()
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            last = member.removesuffix(".csv").rsplit("_", 1)[1]
            symbol = f"{ticker}_{last}" if last.isdigit() else ticker
            for fields in csv.reader(io.StringIO(archive.read(member).decode())):
                price = fixed(fields[1]) // divisor
                yield midnight + int(fields[0]) * MS, symbol, price, fixed(fields[2])


def binance_trades(path: Path) -> Iterator[Trade]:
    """Trades among the messages of a capture."""
    with gzip.open(path, "rb") as file:
        for line in file:
            message = json.loads(line.split(b" ", 1)[1])
            if message.get("stream", "").endswith("@trade"):
                data = message["data"]
                yield data["T"] * MS, data["s"], fixed(data["p"]), fixed(data["q"])


def questdb_trades(path: Path) -> Iterator[Trade]:
    """Trades of a table."""
    with path.open() as file:
        for row in csv.DictReader(file):
            whole, fraction = row["timestamp"].removesuffix("Z").split(".")
            second = datetime.fromisoformat(whole).replace(tzinfo=UTC)
            time = int(second.timestamp()) * NANO + int(fraction.ljust(9, "0"))
            yield time, row["symbol"], fixed(row["price"]), fixed(row["amount"])


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "gold": ("lean/future/comex/tick/gc/20131007_trade.zip", {}),
    "SPY": ("lean/equity/usa/tick/spy/20131007_trade.zip", {}),
    "IBM": ("lean/equity/usa/tick/ibm/20131007_trade.zip", {}),
    "spot": ("binance/spot_btcusdt_20240808.gz", {"kind": "trades"}),
    "usdm": ("binance/usdm_btcusdt_20240808.gz", {"kind": "trades"}),
    "questdb": (
        "questdb/btc_trades.csv",
        {"columns": {"size": "amount", "ts_event": "timestamp"}},
    ),
}


@cache
def trades(name: str, folder: Path) -> list[Trade]:
    """The trades of a file by event time, rows of one instant as they stand in the file."""
    path = folder / FILES[name][0]
    if name == "gold":
        found = lean_trades(path, UTC, 1)
    elif name in {"SPY", "IBM"}:
        found = lean_trades(path, NEW_YORK, 10_000)
    elif name == "questdb":
        found = questdb_trades(path)
    else:
        found = binance_trades(path)
    return sorted(found, key=lambda trade: trade[0])


def loop(rows: list[Trade], kind: str, number: Fraction) -> dict[str, list[Bar]]:
    """The bars of each symbol: all for time, else the finished ones."""
    under_way: dict[str, dict[str, Any]] = {}
    bars: dict[str, list[Bar]] = {}

    def close(symbol: str) -> None:
        bar = under_way.pop(symbol)
        vwap = round(Fraction(bar["turnover"], bar["volume"])) if bar["volume"] else NONE
        prices = (bar["open"], bar["high"], bar["low"], bar["close"])
        times = (bar["first"], bar["last"])
        if kind == "time":
            times = (bar["window"], bar["window"] + int(number))
        bars.setdefault(symbol, []).append((*times, *prices, bar["volume"], vwap, bar["count"]))

    for time, symbol, price, size in rows:
        window = time // int(number) * int(number) if kind == "time" else 0
        bar = under_way.get(symbol)
        if bar is not None and kind == "time" and bar["window"] != window:
            close(symbol)
            bar = None
        if bar is None:
            bar = under_way[symbol] = {"window": window, "first": time, "open": price}
            bar |= {"high": price, "low": price, "volume": 0, "turnover": 0, "count": 0}
        bar["last"], bar["close"] = time, price
        bar["high"], bar["low"] = max(bar["high"], price), min(bar["low"], price)
        bar["volume"] += size
        bar["turnover"] += price * size
        bar["count"] += 1
        reached = {
            "time": False,
            "tick": bar["count"] >= number,
            "vol": bar["volume"] >= number * NANO,
            "val": bar["turnover"] >= number * NANO**2,
            "range": bar["high"] - bar["low"] >= number * NANO,
        }
        if reached[kind]:
            close(symbol)
    if kind == "time":
        for symbol in list(under_way):
            close(symbol)
    return bars


CASES = {
    "gold": ["10s", "100tick", "50vol", "250000val", "0.5range"],
    "SPY": ["1min", "500tick", "100000vol", "1e6val", "0.1range"],
    "IBM": ["1min", "50tick", "5000vol", "1e6val", "0.25range"],
    "spot": ["1s", "20tick", "0.5vol", "10000val", "2.5range"],
    "usdm": ["1s", "20tick", "3vol", "100000val", "2.5range"],
    "questdb": ["1min", "10tick", "0.5vol", "5000val", "3range"],
}


@pytest.mark.parametrize("every", range(5))
@pytest.mark.parametrize("name", CASES)
def test_bars_of_recorded_trades_equal_a_plain_loop(data_dir: Path, name: str, every: int) -> None:
    """Time, tick, volume, value and range bars of each symbol, in every column."""
    text = CASES[name][every]
    path, settings = FILES[name]
    dag = mdp.Dag("kinds")
    source = mdp.ReplaySource(str(data_dir / path), out_of_order="1min", **settings)
    dag.source(source, name="trades").bars(text, name="bars").sink(mdp.MemorySink(), name="out")
    result = mdp.run(dag)
    given = trades(name, data_dir)
    assert result.ledger["bars"].rows_in == len(given)
    assert result.ledger.total("late") == result.ledger.total("rejected") == 0
    kind = "time" if every == 0 else text.lstrip("0123456789.e")
    spans = {"1s": NANO, "10s": 10 * NANO, "1min": 60 * NANO}
    number = Fraction(spans[text] if every == 0 else text.removesuffix(kind))
    right = loop(given, kind, number)
    assert found_bars(dag) == right
    assert sum(map(len, right.values())) > 20


def found_bars(dag: Any) -> dict[str, list[Bar]]:
    """The fixed-point columns that the sink was given, by symbol and in order."""
    names = ("ts_open", "ts_close", "open", "high", "low", "close", "volume", "vwap", "count")
    bars: dict[str, list[Bar]] = {}
    for batch in dag.nodes["out"].component._rows().batches:
        symbols = [batch.symbols.name(code) for code in batch["symbol"].tolist()]
        columns = (batch[column].tolist() for column in names)
        for symbol, *bar in zip(symbols, *columns, strict=True):
            bars.setdefault(symbol, []).append(tuple(bar))
    return bars
