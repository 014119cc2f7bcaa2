"""Which rows are bars, for sinks that take bars as objects."""

from __future__ import annotations

__all__ = ("bars_of", "check_bars")

from typing import Final

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
