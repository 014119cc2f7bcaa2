"""Recorded US equity ticks are read as the standard library reads them."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.source.lean import LeanReader
from market_data_pipeline.source.reader import ReadOptions
from market_data_pipeline.symbols import SymbolTable
from support.readers import all_rows

NANO = 10**9
MIDNIGHT = int(datetime(2013, 10, 7, tzinfo=ZoneInfo("America/New_York")).timestamp()) * NANO


def lines(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        [member] = archive.namelist()
        return list(csv.reader(io.StringIO(archive.read(member).decode())))


def price(text: str) -> int:
    return int(Decimal(text) * NANO / 10_000) if int(text) else UNDEFINED


def test_every_trade_with_venue_and_condition(data_dir: Path) -> None:
    """Rows that repeat another in every column are trades of their own."""
    path = data_dir / "lean/equity/usa/tick/ibm/20131007_trade.zip"
    names = ("ts_event", "price", "size", "venue", "condition", "flags")
    assert all_rows(LeanReader(path, ReadOptions(), SymbolTable()), *names) == [
        (MIDNIGHT + int(ms) * 10**6, price(deal), int(size) * NANO, venue, condition, int(mark))
        for ms, deal, size, venue, condition, mark in lines(path)
    ]


def test_every_quote_with_its_empty_sides(data_dir: Path) -> None:
    """A side without a price has no size either."""
    path = data_dir / "lean/equity/usa/tick/ibm/20131007_quote.zip"
    names = ("ts_event", "bid_price", "bid_size", "ask_price", "ask_size", "venue", "flags")
    assert all_rows(LeanReader(path, ReadOptions(), SymbolTable()), *names) == [
        (
            MIDNIGHT + int(ms) * 10**6,
            price(bid),
            int(bid_size) * NANO if int(bid) else UNDEFINED,
            price(ask),
            int(ask_size) * NANO if int(ask) else UNDEFINED,
            venue,
            int(mark),
        )
        for ms, bid, bid_size, ask, ask_size, venue, _, mark in lines(path)
    ]
