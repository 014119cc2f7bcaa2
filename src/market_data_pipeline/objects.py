"""Quotes and bars as objects, to and from the columns in which they travel.

Parts written for version 0.8 take and give objects. Where one of them meets the engine,
rows are turned into `types.Quote` and `types.Bar` and back; objects that are neither ride
along as they are.
"""

from __future__ import annotations

__all__ = (
    "OBJECTS",
    "TICK",
    "awaited",
    "bars_of",
    "batch_of_objects",
    "batch_of_quotes",
    "epoch_ns",
    "fixed_of",
    "moment_of",
    "objects_of",
)

import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from math import isnan
from typing import Any, Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch, Progress
from market_data_pipeline.errors import RecordError
from market_data_pipeline.records import (
    DEFAULT_SCALE,
    TRADE,
    TURNOVER,
    UNDEFINED,
    Field,
    Kind,
    Schema,
)
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.types import Bar, OptionQuote, Quote

TICK: Final = TRADE.only(("ts_event", "symbol", "price", "size"))
"""What of a quote goes into a bar."""

OBJECTS: Final = Schema(
    "object",
    (
        Field("ts_event", Kind.TIME),
        Field("group", Kind.INT),
        Field("object", Kind.ARROW, arrow=pa.null()),
    ),
)
"""Python objects on their way from one part to the next, in a NumPy array of references.

`ts_event` is the time of the row they come of; `group` tells batches apart that are to be
written one by one.
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)
_SOURCE: Final = "market_data_pipeline"
_MONEY: Final = frozenset(("open", "high", "low", "close", "volume", "vwap"))
_LOWEST: Final = -UNDEFINED - 1


async def awaited(value: Any) -> Any:
    """Return a value, or what it gives when it is awaited: what a user's function returned."""
    return await value if inspect.isawaitable(value) else value


def epoch_ns(moment: datetime) -> int:
    """Return a time in nanoseconds since the UNIX epoch; without a zone it is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1_000


def moment_of(time_ns: int) -> datetime:
    """Return a time of the engine as a datetime in UTC, to the microsecond below."""
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)


def fixed_of(value: Any, name: str) -> int:
    """Return a number in units of 1e-9, rounded half to even; None is `UNDEFINED`.

    A float counts as the number that it is written as.

    Raises:
        RecordError: If it is no number, or too large.
    """
    if value is None:
        return UNDEFINED
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        scaled = int(number.scaleb(DEFAULT_SCALE, _EXACT).to_integral_value(context=_EXACT))
    except (DecimalException, ValueError, TypeError, OverflowError):
        msg = f"`{name}` must be a number, was {value!r:.80}"
        raise RecordError(msg, reason="type") from None
    if not _LOWEST <= scaled < UNDEFINED:
        msg = f"`{name}` is out of range: {value!s:.80}"
        raise RecordError(msg, reason="range")
    return scaled


def batch_of_quotes(quotes: Sequence[Any], symbols: SymbolTable) -> Batch:
    """Return quotes as ticks, without progress: symbol, time, price and size.

    Raises:
        RecordError: If one has a price or size that is no number.
    """
    columns = {
        "ts_event": np.array([epoch_ns(quote.timestamp) for quote in quotes], np.int64),
        "symbol": symbols.encode(quote.symbol for quote in quotes),
        "price": np.array([fixed_of(quote.price, "price") for quote in quotes], np.int64),
        "size": np.array([fixed_of(quote.size, "size") for quote in quotes], np.int64),
    }
    return Batch(TICK, columns, symbols)


def batch_of_objects(
    objects: Sequence[Any],
    symbols: SymbolTable,
    *,
    time: int = 0,
    watermark: int | None = None,
    group: int = 0,
) -> Batch:
    """Return objects as rows of one time.

    Args:
        objects: At least one.
        symbols: The symbol table of the run.
        time: Their event time.
        watermark: The watermark before and after them; None for rows without progress.
        group: What is to be written together.
    """
    held = np.empty(len(objects), object)
    for place, one in enumerate(objects):
        held[place] = one  # a list of lists would be taken for a table
    columns = {
        "ts_event": np.full(len(objects), time, np.int64),
        "group": np.full(len(objects), group, np.int64),
        "object": held,
    }
    progress = None
    if watermark is not None:
        marks = np.full(len(objects), watermark, np.int64)
        progress = Progress(watermark, 0, watermark, marks)
    return Batch(OBJECTS, columns, symbols, progress)


def objects_of(batch: Batch, source: str = "unknown") -> list[Any]:
    """Return rows as objects: bars, quotes, those that were put in, else mappings.

    Args:
        batch: The rows.
        source: What to say of bars and quotes where they come from.
    """
    if "object" in batch.schema:
        return list(batch.columns["object"])
    if {"open", "high", "low", "close", "volume"} <= set(batch.schema.names):
        return [bar for bar in bars_of(batch, source) if bar is not None]
    if "implied_volatility" in batch.schema:
        return _options(batch, source)
    if "price" in batch.schema or "bid_price" in batch.schema:
        return _quotes(batch, source)
    values = [_values(batch, field) for field in batch.schema]
    names = batch.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def bars_of(batch: Batch, source: str = _SOURCE) -> list[Bar | None]:
    """Return rows as bars, exactly; None for one without a price or volume.

    `vwap` is the exact turnover by the volume where there is a column of it. A time that is
    no whole number of microseconds stands in `metadata` as `ts_open_ns`.

    Args:
        batch: Rows with the columns of bars.
        source: What to say of bars where they come from, if they have no column of it.
    """
    schema = batch.schema

    def of(*names: str) -> list[Any]:
        found = next((name for name in names if name in schema), None)
        return [None] * len(batch) if found is None else _values(batch, schema[found])

    prices = [of(name) for name in ("open", "high", "low", "close", "volume")]
    vwaps = of("vwap")
    if TURNOVER in schema:
        vwaps = [_average(*pair) for pair in zip(of(TURNOVER), prices[-1], strict=True)]
    sources = of("source") if "source" in schema else [source] * len(batch)
    names = _values(batch, schema["symbol"])
    rows = zip(
        *(names, batch.times.tolist(), *prices, vwaps, of("trade_count", "count")),
        *(sources, of("metadata")),
        strict=True,
    )
    return [_bar(*row, default=source) for row in rows]


def _bar(
    symbol: str,
    time_ns: int,
    first: Decimal | None,
    high: Decimal | None,
    low: Decimal | None,
    last: Decimal | None,
    volume: Decimal | None,
    vwap: Decimal | None,
    count: int | None,
    source: str | None,
    metadata: Any,
    *,
    default: str,
) -> Bar | None:
    if first is None or high is None or low is None or last is None or volume is None:
        return None
    extra: Mapping[str, Any] | None = dict(metadata) if metadata else None
    if time_ns % 1_000:
        extra = {**(extra or {}), "ts_open_ns": time_ns}
    return Bar(
        symbol=symbol,
        timestamp=moment_of(time_ns),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=volume,
        vwap=vwap,
        trade_count=count,
        source=source or default,
        metadata=extra,
    )


def _average(turnover: Decimal | None, volume: Decimal | None) -> Decimal | None:
    return turnover.normalize(_EXACT) / volume if turnover is not None and volume else None


def _quotes(batch: Batch, source: str) -> list[Quote]:
    symbols = _values(batch, batch.schema["symbol"])
    moments = [moment_of(time) for time in batch.times.tolist()]

    def of(name: str) -> list[Any]:
        return _decimals(batch, name) if name in batch.schema else [None] * len(batch)

    sides = [of(name) for name in ("bid_price", "ask_price", "bid_size", "ask_size")]
    if "price" in batch.schema:
        prices, sizes = of("price"), of("size")
    else:
        prices = [_middle(bid, ask) for bid, ask in zip(*sides[:2], strict=True)]
        sizes = [(bid or 0) + (ask or 0) for bid, ask in zip(*sides[2:], strict=True)]
    rows = zip(symbols, moments, prices, sizes, *sides, strict=True)
    return [
        Quote(symbol, moment, price, size, bid, ask, bid_size, ask_size, source)
        for symbol, moment, price, size, bid, ask, bid_size, ask_size in rows
    ]


def _options(batch: Batch, source: str) -> list[OptionQuote]:
    names = [name for name in batch.schema.names if name != "ts_event"]
    columns = [_values(batch, batch.schema[name]) for name in names]
    made = []
    for time, *row in zip(batch.times.tolist(), *columns, strict=True):
        values: dict[str, Any] = {
            name: None if isinstance(value, float) and isnan(value) else value
            for name, value in zip(names, row, strict=True)
        }
        made.append(OptionQuote(timestamp=moment_of(time), source=source, **values))
    return made


def _middle(bid: Decimal | None, ask: Decimal | None) -> Decimal | None:
    if bid is None or ask is None:
        return bid if ask is None else ask
    return (bid + ask) / 2


def _values(batch: Batch, field: Field) -> list[Any]:
    column = batch.columns[field.name]
    if field.kind is Kind.SYMBOL:
        return [batch.symbols.name(code) for code in column.tolist()]
    if field.kind is Kind.FIXED:
        return _decimals(batch, field.name)
    if isinstance(column, pa.Array):
        listed: list[Any] = column.to_pylist()
        return listed
    values: list[Any] = column.tolist()
    if field.kind is Kind.TIME:
        return [None if value == UNDEFINED else moment_of(value) for value in values]
    if field.kind is Kind.CHAR:
        return [chr(value) for value in values]
    if field.kind is Kind.INT:
        return [None if value == UNDEFINED else value for value in values]
    if field.kind is Kind.FLOAT and field.name in _MONEY:
        # The shortest text of a float is the decimal that was meant.
        return [None if value != value else Decimal(repr(value)) for value in values]  # noqa: PLR0124
    return values


def _decimals(batch: Batch, name: str) -> list[Any]:
    scale = batch.schema[name].scale
    return [
        None if value == UNDEFINED else _decimal(value, scale)
        for value in batch.columns[name].tolist()
    ]


def _decimal(value: int, scale: int) -> Decimal:
    # As people write it: no zeros at the end, and no exponent.
    whole, rest = divmod(value, 10**scale)
    if not rest:
        return Decimal(whole)
    return Decimal(value).scaleb(-scale, _EXACT).normalize(_EXACT)
