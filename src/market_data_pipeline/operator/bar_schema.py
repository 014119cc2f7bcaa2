"""The columns of bars of time."""

from __future__ import annotations

__all__ = (
    "Fill",
    "Revisions",
    "bar_schema",
    "columns_of_bars",
    "is_bars",
    "with_requests",
)

from typing import Final, Literal, TypeAlias

from market_data_pipeline.errors import SchemaError, nearest
from market_data_pipeline.records import (
    BAR,
    CERTIFICATE,
    FILLED,
    OP,
    QUOTE_BAR,
    TURNOVER,
    Field,
    Kind,
    Schema,
    turnover_field,
)

Revisions: TypeAlias = Literal["upsert", "retract", "final"]
"""How a bar that changes after it was given out is told downstream."""

Fill: TypeAlias = Literal["flat", "null"]
"""What the prices of a bar are in whose window nothing happened."""

_TRADE_COLUMNS: Final = ("symbol", "price", "size")
_QUOTE_COLUMNS: Final = ("symbol", "bid_price", "ask_price")


def columns_of_bars() -> frozenset[str]:
    """Return the columns that are read of bars."""
    return frozenset((*BAR.names, *QUOTE_BAR.names, OP.name, FILLED.name, TURNOVER))


def is_bars(schema: Schema) -> bool:
    """Tell whether rows are bars, of trades or of quotes."""
    return schema.time == BAR.time and ("open" in schema or "bid_open" in schema)


def bar_schema(schema: Schema) -> Schema:
    """Return the columns of the bars made of rows of a schema.

    Raises:
        SchemaError: If the rows are neither trades nor quotes, nor bars of them.
    """
    if is_bars(schema):
        return _longer(schema)
    quotes = "bid_price" in schema and "ask_price" in schema
    needed = _QUOTE_COLUMNS if quotes else _TRADE_COLUMNS
    for name in needed:
        if name not in schema:
            names = ", ".join(f"`{known}`" for known in schema.names)
            msg = (
                f"`bars` needs `symbol`, `price` and `size` of trades, `symbol`, `bid_price` "
                f"and `ask_price` of quotes, or all columns of bars; there is no `{name}`"
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


def with_requests(bars: Schema, revisions: Revisions, *, turnover: bool, fill: bool) -> Schema:
    """Return the columns of bars with those that are there on request.

    Raises:
        SchemaError: If the bars are of quotes, and these have no turnover.
    """
    if turnover:
        if bars.name != BAR.name:
            msg = "bars of quotes have no `turnover`; leave it out, or say with `price` which"
            raise SchemaError(msg)
        bars = bars.having(turnover_field(bars))
    if fill:
        bars = bars.having(FILLED)
    return bars.having(OP) if revisions == "retract" else bars


def _longer(schema: Schema) -> Schema:
    """Return the columns of bars made of bars: the same, with the same scales."""
    bar = QUOTE_BAR if "bid_open" in schema else BAR
    own = {field.name for field in CERTIFICATE}
    for field in bar:
        if field.name not in schema:
            if field.name in own:
                continue
            names = ", ".join(f"`{known}`" for known in schema.names)
            msg = (
                f"bars that `bars` makes longer ones of need `{field.name}`, which is not there"
                f"{nearest(field.name, schema.names)} (columns: {names})"
            )
            raise SchemaError(msg)
        found = schema[field.name]
        if (found.kind, found.arrow) != (field.kind, field.arrow):
            msg = f"bars that `bars` makes longer ones of need `{field}`, was `{found}`"
            raise SchemaError(msg)
    fixed = [schema[field.name] for field in bar if field.kind is Kind.FIXED]
    bars = bar.having(*fixed)
    if bar is BAR and len({f.scale for f in fixed if f.name != "volume"}) > 1:
        msg = "the prices of bars must have the same number of decimal places"
        raise SchemaError(msg)
    if TURNOVER in schema and bar is BAR and schema[TURNOVER] != turnover_field(bars):
        msg = (
            f"the turnover of bars must be `{turnover_field(bars)}`, was `{schema[TURNOVER]}`; "
            f"leave the column out to take it from volume and vwap"
        )
        raise SchemaError(msg)
    return bars


def _scaled(bar: Schema, schema: Schema) -> Schema:
    """Give the prices and volumes of a bar the scales of the rows it is made of."""
    sources = {"volume": "size", "bid": "bid_price", "ask": "ask_price"}
    fields = []
    for field in bar:
        if field.kind is Kind.FIXED:
            source = sources.get(field.name) or sources.get(field.name.split("_")[0], "price")
            fields.append(Field(field.name, Kind.FIXED, schema[source].scale))
    return bar.having(*fields)
