"""The rows that bars are made of: one price and one size, of trades or of a side of quotes."""

from __future__ import annotations

__all__ = ("MEASURES_SIZE", "TICK_RULE", "BarRows", "columns_read")

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.errors import ArithmeticOverflowError, SchemaError, nearest
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec, Price
from market_data_pipeline.operator.trade_log import check_action
from market_data_pipeline.records import DEFAULT_SCALE, UNDEFINED, Field, Kind, Schema
from market_data_pipeline.trade_actions import CANCEL, REPLACE, action_codes

MEASURES_SIZE: Final = frozenset({
    BarKind.VOLUME,
    BarKind.VALUE,
    BarKind.VOLUME_IMBALANCE,
    BarKind.VALUE_IMBALANCE,
    BarKind.VOLUME_RUNS,
    BarKind.VALUE_RUNS,
})  # fmt: skip
TICK_RULE: Final = frozenset({
    BarKind.TICK_IMBALANCE,
    BarKind.VOLUME_IMBALANCE,
    BarKind.VALUE_IMBALANCE,
    BarKind.TICK_RUNS,
    BarKind.VOLUME_RUNS,
    BarKind.VALUE_RUNS,
})  # fmt: skip

Int64s = npt.NDArray[np.int64]

_NONE: Final = np.empty(0, np.int64)
_SCALE_MAX: Final = 18
# Half of the sum of two prices that can be taken times five, twice.
_MID_MOST: Final = UNDEFINED // 10 - 1


class BarRows:
    """Picks symbol, price and size of rows with given columns.

    `last` is the price and size of trades; `bid` and `ask` those of one side of quotes;
    `mid` is half the sum of both prices, exact with one more decimal place, and the sum of
    both sizes. Quotes without sizes have size 0.

    Attributes:
        schema: `ts_event`, `symbol`, `price`, `size`, and where they are read `side` and
            `missing`.
    """

    def __init__(self, spec: BarSpec, price: Price | None, schema: Schema) -> None:
        """Look at the columns.

        Raises:
            SchemaError: If a column is missing or of the wrong type.
        """
        self._instrument = spec.instrument
        self._time = schema.time
        if not schema.time:
            msg = f"`bars` needs rows with an event time, `{schema.name}` rows have none"
            raise SchemaError(msg)
        self._prices, self._sizes = _columns(spec, price, schema)
        _check(schema, "symbol", Kind.SYMBOL)
        for name in (*self._prices, *self._sizes):
            _check(schema, name, Kind.FIXED)
        price_scale = _common_scale(schema, self._prices) + (len(self._prices) == 2)
        if price_scale > _SCALE_MAX:
            msg = f"`mid` needs a decimal place more than the {_SCALE_MAX} that prices can have"
            raise SchemaError(msg)
        size_scale = _common_scale(schema, self._sizes) if self._sizes else DEFAULT_SCALE
        fields = [
            Field("ts_event", Kind.TIME),
            Field("symbol", Kind.SYMBOL),
            Field("price", Kind.FIXED, price_scale),
            Field("size", Kind.FIXED, size_scale),
        ]
        self._more = []
        if spec.kind in TICK_RULE and self._prices == ("price",) and "side" in schema:
            _check(schema, "side", Kind.CHAR)
            self._more.append("side")
        if spec.kind is not BarKind.TIME and "missing" in schema:
            _check(schema, "missing", Kind.INT)
            self._more.append("missing")
        fields.extend(schema[name] for name in self._more)
        self._has_actions = (
            self._prices == ("price",) and "action" in schema and "trade_id" in schema
        )
        if self._has_actions:
            check_action(schema)
        self.schema = Schema("trade", tuple(fields))

    def only(self, batch: Batch, account: Account) -> Batch:
        """Return the rows of the instrument; count the others as filtered."""
        if self._instrument is None:
            return batch
        # It loads kernels, for which a graph that is only described should not wait.
        from market_data_pipeline.operator.compaction import keep_rows

        codes = batch["symbol"]
        keep = np.zeros(len(batch), np.bool_)
        for name in _names(self._instrument):
            code = batch.symbols.code(name)
            keep |= codes == code
        count = int(np.count_nonzero(keep))
        account.add("filtered", len(batch) - count)
        return keep_rows(batch, keep, count)

    def corrections(self, batch: Batch) -> Int64s:
        """Return the positions of rows that are no trades: they cancel or replace others."""
        if not self._has_actions:
            return _NONE
        actions = action_codes(batch.columns["action"])
        return np.flatnonzero((actions == CANCEL) | (actions == REPLACE))

    def cancels(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Return which rows cancel a trade; they need no price."""
        if not self._has_actions:
            return np.zeros(len(batch), np.bool_)
        cancels: npt.NDArray[np.bool_] = action_codes(batch.columns["action"]) == CANCEL
        return cancels

    def pick(self, batch: Batch) -> Batch:
        """Return the columns of `schema`.

        Raises:
            ArithmeticOverflowError: If the middle of two prices leaves the range.
        """
        columns: dict[str, Column] = {
            "ts_event": batch.columns[self._time],
            "symbol": batch.columns["symbol"],
            "price": _price([batch.columns[name] for name in self._prices]),
            "size": _size([batch.columns[name] for name in self._sizes], len(batch)),
        }
        for name in self._more:
            columns[name] = batch.columns[name]
        return Batch(self.schema, columns, batch.symbols, batch.progress)


def columns_read(spec: BarSpec, price: Price | None) -> tuple[str, ...]:
    """Return the columns that bars may read, whatever rows they are given."""
    sided = ("side",) if spec.kind in TICK_RULE else ()
    match price or spec.price:
        case None:
            return ("symbol", "price", "size", "bid_price", "ask_price", *sided)
        case "last":
            return ("symbol", "price", "size", *sided)
        case "mid":
            return ("symbol", "bid_price", "ask_price", "bid_size", "ask_size")
        case side:
            return ("symbol", f"{side}_price", f"{side}_size")


def _names(instrument: str) -> tuple[str, ...]:
    """Return the symbols an instrument may have: with its venue, or without."""
    symbol, _, venue = instrument.rpartition(".")
    return (instrument, symbol) if symbol and venue else (instrument,)


def _columns(
    spec: BarSpec, price: Price | None, schema: Schema
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of price and of size."""
    quotes = "bid_price" in schema and "ask_price" in schema
    if price is None and quotes and "price" not in schema:
        msg = (
            f"`bars` of `{spec.text}` needs to know which price of a quote to take; "
            f"say `price: bid`, `ask` or `mid`"
        )
        raise SchemaError(msg)
    if price in {None, "last"}:
        if quotes and "price" not in schema:
            msg = (
                "`price: last` is the price of trades, and these are quotes; say `bid`, "
                "`ask` or `mid`"
            )
            raise SchemaError(msg)
        return ("price",), ("size",)
    sides = ("bid", "ask") if price == "mid" else (str(price),)
    sizes = tuple(f"{side}_size" for side in sides)
    if spec.kind not in MEASURES_SIZE and not all(name in schema for name in sizes):
        sizes = ()
    return tuple(f"{side}_price" for side in sides), sizes


def _check(schema: Schema, name: str, kind: Kind) -> None:
    if name not in schema:
        names = ", ".join(f"`{known}`" for known in schema.names)
        close = nearest(name, schema.names)
        msg = f"`bars` needs `{name}`, which is not there{close} (columns: {names})"
        raise SchemaError(msg)
    if schema[name].kind is not kind:
        what = "a fixed-point number" if kind is Kind.FIXED else f"of kind {kind}"
        msg = f"`bars` needs `{name}` as {what}, was {schema[name]}"
        raise SchemaError(msg)


def _common_scale(schema: Schema, names: tuple[str, ...]) -> int:
    scales = {schema[name].scale for name in names}
    if len(scales) > 1:
        msg = f"`{names[0]}` and `{names[1]}` must have the same decimal places, were {scales}"
        raise SchemaError(msg)
    return scales.pop()


def _price(columns: list[Any]) -> npt.NDArray[np.int64]:
    first: npt.NDArray[np.int64] = columns[0]
    if len(columns) == 1:
        return first
    bid, ask = columns
    none = (bid == UNDEFINED) | (ask == UNDEFINED)
    # Halves first, so that the sum of two large prices does not wrap round.
    half = (bid >> 1) + (ask >> 1)
    if (~none & ((half >= _MID_MOST) | (half <= -_MID_MOST))).any():
        msg = "the middle of bid and ask leaves the range of 64 bits with one more decimal place"
        raise ArithmeticOverflowError(msg)
    with np.errstate(over="ignore"):
        return np.where(none, UNDEFINED, (bid + ask) * 5)


def _size(columns: list[Any], rows: int) -> npt.NDArray[np.int64]:
    if not columns:
        return np.zeros(rows, np.int64)
    first: npt.NDArray[np.int64] = columns[0]
    if len(columns) == 1:
        return first
    bid, ask = columns
    none = (bid == UNDEFINED) | (ask == UNDEFINED)
    with np.errstate(over="ignore"):
        total = bid + ask
    if (~none & (total < 0)).any():
        msg = "the sizes of bid and ask together leave the range of 64 bits"
        raise ArithmeticOverflowError(msg)
    return np.where(none, UNDEFINED, total)
