"""Which rows are bars, for sinks that take bars as objects."""

from __future__ import annotations

__all__ = ("bar_json", "bars_of", "check_bars")

import json
from typing import Any, Final

from market_data_pipeline.errors import SchemaError
from market_data_pipeline.objects import bars_of
from market_data_pipeline.records import OP, Schema

_PRICES: Final = ("open", "high", "low", "close", "volume")


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


def bar_json(bar: Any) -> bytes:
    """Return a bar as JSON: prices and sizes as text, so that they stay exact."""
    row: dict[str, Any] = {
        "symbol": bar.symbol,
        "timestamp": bar.timestamp.isoformat(),
        "open": str(bar.open),
        "high": str(bar.high),
        "low": str(bar.low),
        "close": str(bar.close),
        "volume": str(bar.volume),
        "vwap": None if bar.vwap is None else str(bar.vwap),
        "trade_count": bar.trade_count,
        "source": bar.source,
        "metadata": dict(bar.metadata) if bar.metadata else {},
    }
    return json.dumps(row, ensure_ascii=False, default=str).encode()
