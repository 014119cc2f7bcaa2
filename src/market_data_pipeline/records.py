"""What a row is: the columns of trades, quotes and bars, their types and units.

Times are int64 nanoseconds since the UNIX epoch, UTC. Prices and sizes are int64 fixed
point, `value * 10**scale`, with scale 9 unless the field says otherwise; `UNDEFINED`
stands for "none". Symbols are int32 codes into the run's `SymbolTable`. Columns of other
types ride along as Arrow arrays.
"""

from __future__ import annotations

__all__ = (
    "BAR",
    "CERTIFICATE",
    "DEFAULT_SCALE",
    "FILLED",
    "OP",
    "QUOTE",
    "QUOTE_BAR",
    "REJECTED",
    "TRADE",
    "TURNOVER",
    "UNDEFINED",
    "FeedState",
    "Field",
    "Flaw",
    "Kind",
    "Schema",
    "turnover_field",
)

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntFlag, StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DEFAULT_SCALE: Final = 9
"""Decimal places of a fixed-point column: one unit is 1e-9."""

UNDEFINED: Final = int(np.iinfo(np.int64).max)
"""The fixed-point value and the time that stand for "none"."""


class FeedState(StrEnum):
    """What a feed, or one symbol of it, is known to be doing; the source knows, nobody guesses.

    `live`: rows come as they happen. `quiet`: the feed is alive, and there is nothing to
    tell. `closed`: the market is not in session. `halted`: trading is suspended.
    `disconnected`: rows may exist and are not coming.
    """

    LIVE = "live"
    QUIET = "quiet"
    CLOSED = "closed"
    HALTED = "halted"
    DISCONNECTED = "disconnected"


class Kind(StrEnum):
    """How a column is held in a batch."""

    TIME = "time"
    SYMBOL = "symbol"
    FIXED = "fixed"
    INT = "int"
    CHAR = "char"
    FLOAT = "float"
    BOOL = "bool"
    ARROW = "arrow"


class Flaw(IntFlag):
    """What may be wrong with a row: bits of the column `quality` of the operator `quality`.

    In the order in which a reason is told.
    """

    CROSSED = 1
    LOCKED = 2
    ONE_SIDED = 4
    ZERO_SIZE = 8
    CLOCK_SKEW = 16
    OUT_OF_SEQUENCE = 32
    STALE = 64
    PRICE_BAND = 128
    OUTLIER = 256


_DTYPES: Final[dict[Kind, npt.DTypeLike]] = {
    Kind.TIME: np.int64,
    Kind.SYMBOL: np.int32,
    Kind.FIXED: np.int64,
    Kind.INT: np.int64,
    Kind.CHAR: np.uint8,
    Kind.FLOAT: np.float64,
    Kind.BOOL: np.bool_,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Attributes:
        name: Column name.
        kind: How it is held.
        scale: Decimal places of a `FIXED` column, 0 to 18; 0 for other kinds.
        arrow: Type of an `ARROW` column; None for other kinds.
    """

    name: str
    kind: Kind
    scale: int = 0
    arrow: pa.DataType | None = None

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The NumPy type of the column; undefined for `ARROW` columns."""
        return np.dtype(_DTYPES[self.kind])

    def __str__(self) -> str:
        if self.kind is Kind.FIXED:
            return f"{self.name}: fixed({self.scale})"
        return f"{self.name}: {self.arrow if self.arrow is not None else self.kind}"


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a batch, in order.

    Attributes:
        name: What a row is: `trade`, `quote`, `bar`, `quote_bar`, or the user's own word.
        fields: The columns.
        time: Name of the column that holds the event time; empty if rows have none, as
            rows that were rejected.
        conflatable: True if the latest row of a key makes its earlier rows worthless,
            as with quotes; an edge may then conflate.
    """

    name: str
    fields: tuple[Field, ...]
    time: str = "ts_event"
    conflatable: bool = False

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: object) -> bool:
        return any(field.name == name for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(field.name for field in self.fields)

    def only(self, names: Iterable[str]) -> Schema:
        """Return the schema without the columns that are not in `names`; keeps its order."""
        wanted = set(names)
        return replace(self, fields=tuple(f for f in self.fields if f.name in wanted))

    def having(self, *fields: Field) -> Schema:
        """Return the schema with fields replaced where the name exists, else appended."""
        merged = {field.name: field for field in self.fields}
        merged.update({field.name: field for field in fields})
        return replace(self, fields=tuple(merged.values()))


def _fixed(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, Kind.FIXED, DEFAULT_SCALE) for name in names)


TRADE: Final = Schema(
    "trade",
    (
        Field("ts_event", Kind.TIME),
        Field("ts_recv", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        *_fixed("price", "size"),
        Field("side", Kind.CHAR),
        Field("trade_id", Kind.INT),
        Field("sequence", Kind.INT),
        Field("flags", Kind.INT),
    ),
)
"""A deal.

`ts_event` is the venue's time, `ts_recv` the time of capture. `price` may be negative
(spreads), `size` may be zero, not less. `side` is the aggressor: `B` bought, `A` sold
(hit the bid), `N` unknown. A source gives the columns it has; `ts_event`, `symbol`,
`price` and `size` are always there. `trade_id` is an `ARROW` string column where the
venue's identifiers are text.
"""

QUOTE: Final = Schema(
    "quote",
    (
        Field("ts_event", Kind.TIME),
        Field("ts_recv", Kind.TIME),
        Field("symbol", Kind.SYMBOL),
        *_fixed("bid_price", "bid_size", "ask_price", "ask_size"),
        Field("sequence", Kind.INT),
        Field("flags", Kind.INT),
    ),
    conflatable=True,
)
"""The best bid and the best ask; a side that is empty is `UNDEFINED` in price and size."""

CERTIFICATE: Final = (
    Field("is_final", Kind.BOOL),
    Field("revision", Kind.INT),
    Field("late_count", Kind.INT),
    Field("missing_seq", Kind.INT),
    Field("gap_ns", Kind.INT),
    Field("coverage", Kind.FLOAT),
    Field("feed_state", Kind.ARROW, arrow=pa.string()),
    Field("session", Kind.ARROW, arrow=pa.date32()),
)
"""What a bar says of itself.

`is_final` is true if the bar can change no more. `revision` counts how often it was given
out otherwise before. `late_count` is how many of its rows came after its window had
ended, `missing_seq` how many rows of the feed's numbering are missing in it (`UNDEFINED`
if nobody tracks them), `gap_ns` for how long of its window the feed was cut off and
`coverage` the share of the window for which it was not. `feed_state` is the worst state
of the feed in the window and `session` the date of the trading session (null without a
calendar).
"""

BAR: Final = Schema(
    "bar",
    (
        Field("symbol", Kind.SYMBOL),
        Field("ts_open", Kind.TIME),
        Field("ts_close", Kind.TIME),
        *_fixed("open", "high", "low", "close", "volume", "vwap"),
        Field("count", Kind.INT),
        *CERTIFICATE,
    ),
    time="ts_open",
)
"""Trades of one symbol in `[ts_open, ts_close)`.

`open` and `close` are the prices first and last in event time (rows of one instant: in
order of arrival). `vwap` is rounded half to even at its scale, `UNDEFINED` if the volume
is zero. After `count` follow the columns of `CERTIFICATE`.
"""

QUOTE_BAR: Final = Schema(
    "quote_bar",
    (
        Field("symbol", Kind.SYMBOL),
        Field("ts_open", Kind.TIME),
        Field("ts_close", Kind.TIME),
        *_fixed("bid_open", "bid_high", "bid_low", "bid_close"),
        *_fixed("ask_open", "ask_high", "ask_low", "ask_close"),
        Field("count", Kind.INT),
        *CERTIFICATE,
    ),
    time="ts_open",
)
"""Quotes of one symbol in `[ts_open, ts_close)`; a side never quoted is `UNDEFINED`."""

OP: Final = Field("op", Kind.INT)
"""1 for a bar that holds from now on, -1 for one that is taken back."""

FILLED: Final = Field("filled", Kind.BOOL)
"""True for the bar of a window in which nothing happened."""

TURNOVER: Final = "turnover"
"""Name of the column of the exact sum of price times size."""

_TURNOVER_DIGITS: Final = 38


def turnover_field(bars: Schema) -> Field:
    """Return the column `turnover` of bars of trades, whose sums are exact."""
    scale = bars["open"].scale + bars["volume"].scale
    return Field(TURNOVER, Kind.ARROW, arrow=pa.decimal128(_TURNOVER_DIGITS, scale))


REJECTED: Final = Schema(
    "rejected",
    (
        Field("place", Kind.ARROW, arrow=pa.string()),
        Field("row", Kind.INT),
        Field("reason", Kind.ARROW, arrow=pa.string()),
        Field("detail", Kind.ARROW, arrow=pa.string()),
        Field("raw", Kind.ARROW, arrow=pa.string()),
    ),
    time="",
)
"""A row that could not be taken.

`place` is the file (and member), `row` its number there, counted from 1 without a
header; `reason` one word for the kind of defect, `detail` what was found. `raw` is the row
as it came: its line in a text file, with bytes that are not UTF-8 as `\\xNN`; else its
cells as JSON; null if that is not known.
"""
