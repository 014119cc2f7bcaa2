"""Batches of bars as the objects that sinks of version 0.8 take."""

from __future__ import annotations

__all__ = ("bars_of", "check_bars")

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.records import OP, UNDEFINED, Kind, Schema
from market_data_pipeline.types import Bar

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PRICES: Final = ("open", "high", "low", "close", "volume")
_SOURCE: Final = "market_data_pipeline"


def check_bars(schema: Schema) -> None:
    """Refuse rows that are no bars.

    Raises:
        SchemaError: If a column is missing, or bars are taken back by rows of their own.
    """
    missing = [name for name in ("symbol", *_PRICES) if name not in schema]
    if missing or not schema.time:
        names = ", ".join(f"`{name}`" for name in missing) or "an event time"
        msg = f"rows of `{schema.name}` are no bars, they lack {names}; put `bars` in front"
        raise SchemaError(msg)
    if OP.name in schema:
        msg = "this sink replaces bars by key and cannot take them back; leave out `changelog`"
        raise SchemaError(msg)


def bars_of(batch: Batch) -> list[Bar | None]:
    """Return the rows as bars, exactly; None for one without a price or volume.

    A time that is no whole number of microseconds stands in `metadata` as `ts_open_ns`.

    Args:
        batch: Rows that `check_bars` lets pass.
    """
    schema = batch.schema
    prices = [_decimals(batch, name) for name in _PRICES]
    nothing: list[Any] = [None] * len(batch)
    vwap = _decimals(batch, "vwap") if "vwap" in schema else nothing
    count = next((_plain(batch, n) for n in ("trade_count", "count") if n in schema), nothing)
    source = _plain(batch, "source") if "source" in schema else [_SOURCE] * len(batch)
    metadata = _plain(batch, "metadata") if "metadata" in schema else nothing
    symbols = _plain(batch, "symbol")
    rows = zip(symbols, batch.times.tolist(), *prices, vwap, count, source, metadata, strict=True)
    return [_bar(*row) for row in rows]


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
) -> Bar | None:
    if first is None or high is None or low is None or last is None or volume is None:
        return None
    micros, rest = divmod(time_ns, 1000)
    extra: Mapping[str, Any] | None = dict(metadata) if metadata else None
    if rest:
        extra = {**(extra or {}), "ts_open_ns": time_ns}
    return Bar(
        symbol=symbol,
        timestamp=_EPOCH + timedelta(microseconds=micros),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=volume,
        vwap=vwap,
        trade_count=count,
        source=source or _SOURCE,
        metadata=extra,
    )


def _decimals(batch: Batch, name: str) -> list[Decimal | None]:
    return list(_each_decimal(batch, name))


def _each_decimal(batch: Batch, name: str) -> Iterator[Decimal | None]:
    field, column = batch.schema[name], batch[name]
    if field.kind is Kind.FIXED:
        places = -field.scale
        for value in column.tolist():
            yield None if value == UNDEFINED else Decimal(value).scaleb(places)
        return
    for value in _plain(batch, name):
        if value is None or isinstance(value, Decimal):
            yield value
        else:
            # The shortest text of a float is the decimal that was meant.
            yield Decimal(repr(value)) if value == value else None  # noqa: PLR0124 - not a number


def _plain(batch: Batch, name: str) -> list[Any]:
    field, column = batch.schema[name], batch[name]
    if field.kind is Kind.SYMBOL:
        names = batch.symbols.names
        return [names[code] for code in column.tolist()]
    if isinstance(column, pa.Array):
        values: list[Any] = column.to_pylist()
        return values
    if field.kind is Kind.INT:
        return [None if value == UNDEFINED else value for value in column.tolist()]
    plain: list[Any] = column.tolist()
    return plain
