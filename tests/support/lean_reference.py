"""The bars another system made from LEAN's ticks, read with the standard library alone."""

from __future__ import annotations

__all__ = ("Bars", "Pair", "pairs", "reference_quote_bars", "reference_trade_bars")

import csv
import io
import os
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

RESOLUTIONS = {"second": "1s", "minute": "1min"}
NANO = 10**9

Bar = tuple[Decimal, ...]
Bars = dict[tuple[str, int], Bar]
"""Prices and volume by symbol and start of the window in nanoseconds UTC."""


@dataclass(frozen=True)
class Pair:
    """A file of ticks and the file of bars made from it."""

    ticks: Path
    bars: Path
    every: str

    def __str__(self) -> str:
        market, _, ticker = self.ticks.parts[-4:-1]
        return f"{market}-{ticker}-{self.ticks.name[:8]}-{self.every}"


def pairs(asset: str) -> list[Pair]:
    """Return every pair of an asset class that is among the recorded data, none without."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MDP_DATA_DIR", default)) / "lean" / asset
    found = []
    for ticks in sorted(folder.glob("*/tick/*/*.zip")):
        market, ticker = ticks.parts[-4], ticks.parts[-2]
        for resolution, every in RESOLUTIONS.items():
            bars = folder / market / resolution / ticker / ticks.name
            if bars.exists():
                found.append(Pair(ticks, bars, every))
    return found


def _rows(path: Path) -> list[tuple[str, int, list[str]]]:
    """Return (member, start of the window in ns UTC, fields) of each bar."""
    midnight = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=UTC)
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            for fields in csv.reader(io.StringIO(archive.read(member).decode())):
                start = int(midnight.timestamp()) * NANO + int(fields[0]) * 1_000_000
                found.append((member, start, fields[1:]))
    return found


def _decimals(fields: list[str]) -> Bar:
    return tuple(Decimal(field) for field in fields)


def reference_quote_bars(path: Path) -> Bars:
    """Return bid and ask OHLC by symbol and start of the window."""
    symbol = path.parts[-2].upper()
    return {
        (symbol, start): _decimals([*fields[0:4], *fields[5:9]])
        for _, start, fields in _rows(path)
    }


def reference_trade_bars(path: Path) -> Bars:
    """Return OHLC and volume by symbol and start of the window."""
    ticker = path.parts[-2].upper()
    found = {}
    for member, start, fields in _rows(path):
        expiry = member.removesuffix(".csv").rsplit("_", 1)[1]
        found[f"{ticker}_{expiry}", start] = _decimals(fields)
    return found
