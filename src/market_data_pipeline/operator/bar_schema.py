"""The columns of bars of time."""

from __future__ import annotations

__all__ = ("OP", "Revisions", "bar_schema")

from typing import Final, Literal, TypeAlias

from market_data_pipeline.errors import SchemaError, nearest
from market_data_pipeline.records import BAR, QUOTE_BAR, Field, Kind, Schema

Revisions: TypeAlias = Literal["upsert", "retract", "final"]
"""How a bar that changes after it was given out is told downstream."""

OP: Final = Field("op", Kind.INT)
"""1 for a bar that holds from now on, -1 for one that is taken back."""

_TRADE_COLUMNS: Final = ("symbol", "price", "size")
_QUOTE_COLUMNS: Final = ("symbol", "bid_price", "ask_price")


def bar_schema(schema: Schema) -> Schema:
    """Return the columns of the bars made of rows of a schema.

    Raises:
        SchemaError: If the rows are neither trades nor quotes.
    """
    quotes = "bid_price" in schema and "ask_price" in schema
    needed = _QUOTE_COLUMNS if quotes else _TRADE_COLUMNS
    for name in needed:
        if name not in schema:
            names = ", ".join(f"`{known}`" for known in schema.names)
            msg = (
                f"`bars` needs `symbol`, `price` and `size` of trades, or `symbol`, "
                f"`bid_price` and `ask_price` of quotes; there is no `{name}`"
                f"{nearest(name, schema.names)} (columns: {names})"
            )
            raise SchemaError(msg)
        if name != "symbol" and schema[name].kind is not Kind.FIXED:
            msg = f"`bars` needs `{name}` as a fixed-point number, was {schema[name]}"
            raise SchemaError(msg)
    if not schema.time:
        msg = f"`bars` needs rows with an event time, `{schema.name}` rows have none"
        raise SchemaError(msg)
    return _scaled(QUOTE_BAR, schema) if quotes else _scaled(BAR, schema)


def _scaled(bar: Schema, schema: Schema) -> Schema:
    """Give the prices and volumes of a bar the scales of the rows it is made of."""
    sources = {"volume": "size", "bid": "bid_price", "ask": "ask_price"}
    fields = []
    for field in bar:
        if field.kind is Kind.FIXED:
            source = sources.get(field.name) or sources.get(field.name.split("_")[0], "price")
            fields.append(Field(field.name, Kind.FIXED, schema[source].scale))
    return bar.having(*fields)
