"""Records of a provider to batches: any objects with the right attributes, or mappings.

The attributes are those of market_data_core's `Quote`, `Trade` and `Bar`; our own column
names do as well. Numbers may be `Decimal`, whole numbers, text or floats (a float stands
for its shortest decimal), and become fixed point exactly or cost the row. A time without
a zone is UTC.
"""

from __future__ import annotations

__all__ = ("BarTime", "Kinds", "ProviderRows", "provider_schema")

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.records import BAR, DEFAULT_SCALE, QUOTE, TRADE, Field, Kind, Schema
from market_data_pipeline.source.columns import Plan
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.symbols import SymbolTable

Kinds: TypeAlias = Literal["quotes", "trades", "bars"]
"""What a provider streams."""
BarTime: TypeAlias = Literal["end", "start"]
"""Which end of a bar its time is."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DELAYED: Final = Field("delayed", Kind.BOOL)
_TEXT: Final = {
    name: Field(name, Kind.ARROW, arrow=pa.string()) for name in ("exchange", "condition")
}
_MARK: Final = "ts_recv"
_INT64: Final = 2**63

_SCHEMAS: Final[dict[Kinds, Schema]] = {
    "quotes": QUOTE.only(
        [*("ts_event", "ts_recv", "symbol"), *("bid_price", "bid_size", "ask_price", "ask_size")]
    ).having(
        Field("last", Kind.FIXED, DEFAULT_SCALE),
        Field("volume", Kind.FIXED, DEFAULT_SCALE),
        _DELAYED,
    ),
    "trades": TRADE.only(["ts_event", "ts_recv", "symbol", "price", "size"]).having(
        *_TEXT.values()
    ),
    "bars": BAR.only(
        [*("symbol", "ts_open", "ts_close"), *("open", "high", "low", "close", "volume")]
    ).having(Field("ts_recv", Kind.TIME), _DELAYED),
}
# The names a value may have on a record; the first that is there is taken.
_ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "ts_event": ("timestamp", "ts", "ts_event"),
    "ts_open": ("ts", "timestamp", "ts_open"),
    "bid_price": ("bid", "bid_price"),
    "ask_price": ("ask", "ask_price"),
    "condition": ("conditions", "condition"),
}


def provider_schema(kind: Kinds) -> Schema:
    """Return the columns that records of a kind give.

    A bar has no `vwap` and no `count`: providers do not tell, and none is made up.
    """
    return _SCHEMAS[kind]


class ProviderRows:
    """Turns the records of one provider into batches, in order.

    Args:
        kind: What the records are.
        symbols: The symbol table of the run.
        place: Where they come from, for messages.
        wanted: The columns that are read by somebody, None for all.
        strict: Raise on the first record that cannot be taken, instead of rejecting it.
        length_ns: For bars: how long each is.
        bar_time: For bars: which end their time is.

    Attributes:
        schema: The columns of the batches.
        taken: How many records it was given.
    """

    def __init__(
        self,
        kind: Kinds,
        symbols: SymbolTable,
        *,
        place: str,
        wanted: frozenset[str] | None = None,
        strict: bool = False,
        length_ns: int = 0,
        bar_time: BarTime = "end",
    ) -> None:
        schema = _SCHEMAS[kind]
        if wanted is not None:
            schema = schema.only({*wanted, schema.time})
        self.schema = schema
        self.taken = 0
        self._symbols = symbols
        self._rejects = Rejects(place, strict=strict)
        self._length_ns = length_ns
        self._bar_time = bar_time
        self._is_bars = kind == "bars"
        # The converter reads one time; those of a bar follow from it, that of receipt is ours.
        made = tuple(field for field in schema if field.kind is not Kind.TIME)
        fields = (Field(schema.time, Kind.TIME), *made)
        plan_schema = replace(schema, fields=fields)
        names = plan_schema.names
        self._converter = Converter(
            Plan(plan_schema, {name: name for name in names}, ""),
            # What a market's provider says its prices are is not ours to doubt.
            ReadOptions(strict=strict, negative_prices=True),
            symbols,
            self._rejects,
        )
        self._names = names
        self._readers: dict[type, dict[str, str | None]] = {}

    def convert(self, items: Sequence[Any], received_ns: int) -> Batch:
        """Return the records that can be taken, without progress.

        Args:
            items: Records, in order.
            received_ns: When they were received.

        Raises:
            RecordError: In strict mode, for the first record that cannot be taken.
        """
        columns = {
            name: _CONVERT.get(name, _numbers)(self._values(items, name)) for name in self._names
        }
        batch = self._converter.convert(columns, len(items), self.taken + 1)
        self.taken += len(items)
        self._rejects.settle()
        return self._finished(batch, received_ns)

    def take_rejected(self) -> Batch | None:
        """Return the records that could not be taken since the last call, or None."""
        return self._rejects.take(self._symbols)

    def _finished(self, batch: Batch, received_ns: int) -> Batch:
        columns = dict(batch.columns)
        if self._is_bars:
            told, length = columns["ts_open"], self._length_ns
            opened = told - length if self._bar_time == "end" else told
            columns.update(ts_open=opened, ts_close=opened + length)
        if _MARK in self.schema:
            columns[_MARK] = np.full(len(batch), received_ns, np.int64)
        kept = {name: columns[name] for name in self.schema.names}
        return Batch(self.schema, kept, self._symbols)

    def _values(self, items: Sequence[Any], name: str) -> list[Any]:
        values = []
        for item in items:
            if isinstance(item, Mapping):
                found = next((item[n] for n in _ATTRIBUTES.get(name, (name,)) if n in item), None)
            else:
                attribute = self._attribute(item, name)
                found = None if attribute is None else getattr(item, attribute)
            values.append(found)
        return values

    def _attribute(self, item: Any, name: str) -> str | None:
        known = self._readers.setdefault(type(item), {})
        if name not in known:
            names = _ATTRIBUTES.get(name, (name,))
            known[name] = next((n for n in names if hasattr(item, n)), None)
        return known[name]


def _numbers(values: list[Any]) -> pa.Array:
    return _texts(values)


def _times(values: list[Any]) -> pa.Array:
    if all(isinstance(value, datetime) for value in values):
        return pa.array([_microseconds(value) for value in values], pa.timestamp("us", "UTC"))
    if all(isinstance(value, int) and abs(value) < _INT64 for value in values):
        return pa.array(values, pa.int64())
    texts = [v.isoformat() if isinstance(v, datetime) else v for v in values]
    return pa.array([None if text is None else str(text) for text in texts], pa.string())


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _texts(values: list[Any]) -> pa.Array:
    texts = [None if value is None else str(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half a character, which no text of Arrow can hold
        safe = [t if t is None else t.encode("utf-8", "backslashreplace") for t in texts]
        return pa.array(safe, pa.binary()).cast(pa.string())


def _joined(values: list[Any]) -> pa.Array:
    texts = [
        " ".join(map(str, value))
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
        for value in values
    ]
    return _texts(texts)


def _truths(values: list[Any]) -> pa.Array:
    return pa.array([bool(value) for value in values], pa.bool_())


_CONVERT: Final[dict[str, Callable[[list[Any]], pa.Array]]] = {
    "ts_event": _times,
    "ts_open": _times,
    "symbol": _texts,
    "exchange": _texts,
    "condition": _joined,
    "delayed": _truths,
}
