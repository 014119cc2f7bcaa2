"""A quote and a bar as objects: what version 0.8 passes from part to part.

Inside the engine rows travel as columns; these are made where code of version 0.8 asks for
them.
"""

from __future__ import annotations

__all__ = ("Bar", "OptionQuote", "PipelineConfig", "Quote")

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class Quote:
    """A price at a time.

    Attributes:
        symbol: What it is the price of.
        timestamp: Event time; without a zone it is UTC.
        price: The price of the last trade.
        size: Its size.
        bid: The best bid, None if unknown.
        ask: The best ask, None if unknown.
        bid_size: Size at the best bid, None if unknown.
        ask_size: Size at the best ask, None if unknown.
        source: Who said so.
        metadata: Anything else that is known of it.
    """

    symbol: str
    timestamp: datetime
    price: Decimal
    size: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    source: str = "unknown"
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Bar:
    """The prices of a symbol in a window of time.

    Attributes:
        symbol: What they are the prices of.
        timestamp: Start of the window; without a zone it is UTC.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Sum of the sizes.
        vwap: Average price, weighted by size; None if unknown.
        trade_count: How many ticks it is made of, None if unknown.
        source: Who made it.
        metadata: Anything else that is known of it.
    """

    symbol: str
    timestamp: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None = None
    trade_count: int | None = None
    source: str = "unknown"
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class OptionQuote:
    """A price of an option, and what follows from it and from that of its underlying.

    Attributes:
        symbol: The option.
        timestamp: Event time.
        underlying: What it is an option on.
        expiry: The day it expires.
        strike: Its strike.
        right: `C` for a call, `P` for a put.
        price: Its price.
        underlying_price: The last price of the underlying before that.
        implied_volatility: Of a year; None if no volatility gives the price.
        delta: For a change of the underlying; the Greeks are None where that is.
        gamma: How delta changes.
        vega: For a change of the volatility by 1.
        theta: For a year.
        rho: For a change of the rate by 1.
        source: Who said so.
        metadata: Anything else that is known of it.
    """

    symbol: str
    timestamp: datetime
    underlying: str
    expiry: date
    strike: Decimal
    right: str
    price: Decimal
    underlying_price: Decimal
    implied_volatility: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    rho: float | None = None
    source: str = "unknown"
    metadata: Mapping[str, Any] | None = None


class PipelineConfig(BaseModel):
    """A pipeline in a few words, checked.

    Attributes:
        tenant_id: Who owns it.
        pipeline_id: Its name.
        symbols: What it is about.
        source: Where ticks come from.
        operator: What is made of them.
        sink: Where that goes.
        duration_sec: Seconds after which it stops, None to run to the end.
    """

    model_config = ConfigDict(extra="forbid")

    tenant_id: str
    pipeline_id: str
    symbols: list[str] = Field(default_factory=list)
    source: str = "synthetic"
    operator: str = "bars"
    sink: str = "store"
    duration_sec: float | None = Field(default=None, ge=0)
