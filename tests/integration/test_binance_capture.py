"""Recorded captures are read as Python's own JSON reader reads them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.source.binance import BinanceReader
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable
from support.readers import all_rows

CAPTURES = ["spot_btcusdt_20240808.gz", "usdm_btcusdt_20240808.gz"]
MS = 1_000_000


def messages(path: Path, stream: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with gzip.open(path, "rb") as file:
        for line in file:
            time, text = line.split(b" ", 1)
            message = json.loads(text)
            if message.get("stream", "").endswith(f"@{stream}"):
                yield int(time), message["data"]


def fixed(text: str) -> int:
    return int(Decimal(text) * 10**9)


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_trade_of_a_capture_is_read(data_dir: Path, capture: str) -> None:
    """Each with its times, price, size, side and id."""
    path = data_dir / "binance" / capture
    names = ("ts_event", "ts_recv", "symbol", "price", "size", "side", "trade_id")
    found = all_rows(BinanceReader(path, ReadOptions(), SymbolTable()), *names)
    assert found == [
        (
            data["T"] * MS,
            time,
            data["s"],
            fixed(data["p"]),
            fixed(data["q"]),
            ord("A" if data["m"] else "B"),
            data["t"],
        )
        for time, data in messages(path, "trade")
    ]


@pytest.mark.parametrize("capture", CAPTURES)
def test_every_quote_of_a_capture_is_read(data_dir: Path, capture: str) -> None:
    """Each with both sides, and the number of its update."""
    path = data_dir / "binance" / capture
    names = ("ts_event", "ts_recv", "bid_price", "bid_size", "ask_price", "ask_size", "sequence")
    options = ReadOptions(kind="quotes", batch_rows=1000)
    found = all_rows(BinanceReader(path, options, SymbolTable()), *names)
    assert found == [
        (
            data["T"] * MS if "T" in data else time,
            time,
            *(fixed(data[side]) for side in "bBaA"),
            data["u"],
        )
        for time, data in messages(path, "bookTicker")
    ]
