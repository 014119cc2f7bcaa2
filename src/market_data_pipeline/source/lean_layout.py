"""What the path of a LEAN file says, and the columns of its text."""

from __future__ import annotations

__all__ = ("LeanPath", "TickLayout")

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from market_data_pipeline.errors import InputError
from market_data_pipeline.records import QUOTE, TRADE, Field, Kind, Schema

_NAME: Final = re.compile(r"(\d{8})_(trade|quote)\.zip")
_EXPIRY: Final = re.compile(r"_(\d{6,8})\.csv")
_RESOLUTIONS: Final = frozenset({"tick", "second", "minute", "hour", "daily"})
_ZONES: Final = {("equity", "usa"): "America/New_York"}

_SUFFIX: Final = ("venue", "condition", "flags")
_COLUMNS: Final = {
    ("forex", "quote"): ("ms", "bid_price", "ask_price"),
    ("future", "trade"): ("ms", "price", "size", *_SUFFIX),
    ("equity", "trade"): ("ms", "price", "size", *_SUFFIX),
    ("equity", "quote"): ("ms", "bid_price", "bid_size", "ask_price", "ask_size", *_SUFFIX),
}
_PRICE_PLACES: Final = {"equity": 4}
"""Prices that are written as whole numbers: the decimal places that were moved."""


@dataclass(frozen=True, slots=True)
class LeanPath:
    """What the path of a LEAN file says.

    Attributes:
        asset: Asset class: forex, future, equity, ...
        market: Where it is traded, or the broker.
        resolution: tick, second, minute, ...
        ticker: The instrument, in lower case.
        date: YYYYMMDD.
        tick_type: trade or quote.
    """

    asset: str
    market: str
    resolution: str
    ticker: str
    date: str
    tick_type: str

    @classmethod
    def parse(cls, path: Path) -> LeanPath | None:
        """Return what a path says, or None if it is not one of LEAN's."""
        # Not resolved: a link may lead to a file that is kept under another name.
        parts = [part.lower() for part in Path(os.path.abspath(path)).parts]  # noqa: PTH100
        found = _NAME.fullmatch(parts[-1])
        if found is None or len(parts) < 6 or parts[-3] not in _RESOLUTIONS:
            return None
        return cls(parts[-5], parts[-4], parts[-3], parts[-2], found[1], found[2])

    @property
    def zone(self) -> str:
        """The time zone of the times in the file."""
        return _ZONES.get((self.asset, self.market), "UTC")

    def midnight_ns(self, place: str) -> int:
        """Return the date's midnight as if it were in UTC, nanoseconds since the epoch.

        Raises:
            InputError: If there is no such date.
        """
        try:
            midnight = datetime.strptime(self.date, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError as err:
            msg = f"`{self.date}` in the name is not a date"
            raise InputError(msg, place=place) from err
        return int(midnight.timestamp()) * 1_000_000_000

    def symbol(self, member: str, place: str) -> str:
        """Return the symbol of a member of the zip.

        Raises:
            InputError: If it is a future without expiry.
        """
        ticker = self.ticker.upper()
        if self.asset != "future":
            return ticker
        found = _EXPIRY.search(member)
        if found is None:
            msg = f"`{member}` must end in the expiry of the future, as `_201312.csv`"
            raise InputError(msg, place=place)
        return f"{ticker}_{found[1]}"


@dataclass(frozen=True, slots=True)
class TickLayout:
    """The columns of the text of one kind of file.

    Attributes:
        names: All columns, in order; `ms` and else our own names.
        schema: The rows they make.
        text_schema: The same as written: with the scales that turn the text of prices,
            which may be whole numbers, into the units of `schema`.
    """

    names: tuple[str, ...]
    schema: Schema
    text_schema: Schema

    @classmethod
    def of(cls, said: LeanPath, wanted: frozenset[str] | None, place: str) -> TickLayout:
        """Return the layout of the file at a path.

        Args:
            said: What the path says.
            wanted: Columns that are read by somebody, or None for all.
            place: The path, for messages.

        Raises:
            InputError: If ticks of this kind are not known.
        """
        names = _COLUMNS.get((said.asset, said.tick_type))
        if names is None:
            known = ", ".join(f"{asset} {kind}s" for asset, kind in _COLUMNS)
            msg = f"{said.asset} {said.tick_type}s cannot be read; known are {known}"
            raise InputError(msg, place=place)
        base = TRADE if said.tick_type == "trade" else QUOTE
        riders = [
            Field(name, Kind.ARROW, arrow=pa.string())
            for name in ("venue", "condition")
            if name in names
        ]
        schema = base.only({"ts_event", "symbol", *names}).having(*riders)
        if wanted is not None:
            schema = schema.only({"ts_event", *wanted})
        moved = _PRICE_PLACES.get(said.asset, 0)
        prices = [
            Field(field.name, Kind.FIXED, field.scale - moved)
            for field in schema
            if field.name.endswith("price")
        ]
        return cls(names, schema, schema.having(*prices))
