"""A source that does what a script says, for tests of pipelines and of operators."""

from __future__ import annotations

__all__ = ("Crash", "Pause", "ScriptedSource", "batch_of_rows")

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Final, final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Position
from market_data_pipeline.dag.messages import End, Idle, Status, Watermark
from market_data_pipeline.dag.nodes import NodeContext, SourceItem
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED, FeedState, Field, Kind, Schema
from market_data_pipeline.source.progress import FeedProgress, OnOutage
from market_data_pipeline.source.translation import Translation
from market_data_pipeline.symbols import SymbolTable

_PLAIN: Final = TRADE.only(["ts_event", "symbol", "price", "size"])


@final
@dataclass(frozen=True, slots=True)
class Pause:
    """Time in which a scripted source gives nothing.

    Attributes:
        seconds: How long, of the run's clock; infinite to wait until the run is stopped.
    """

    seconds: float


@final
@dataclass
class Crash:
    """A failure that happens the first time it is come by, and not again.

    So a run that goes on from a checkpoint gets beyond it.

    Attributes:
        error: What is raised.
        happened: True once it was.
    """

    error: Exception = field(default_factory=lambda: RuntimeError("as the script says"))

    def __post_init__(self) -> None:
        """Begin as one that has not happened."""
        # No field: what has happened is no setting, by which a checkpoint knows its source.
        self.happened = False

    def strike(self) -> Exception | None:
        """Return what to raise, None if it was raised before."""
        if self.happened:
            return None
        self.happened = True
        return self.error


@component("scripted")
class ScriptedSource:
    """Do what a script says, in order: rows, states, silence, failure, the end.

    Backpressure: waits.

    Delivery: every row once, each time the source is opened.

    Attributes:
        items: What to do. A mapping is a row, a list of mappings or a `Batch` several rows
            in one batch; `Status`, `Watermark` and `Idle` say how the feed is; `Pause` waits;
            an exception is raised, a `Crash` raises it the first time, `END` ends. After the
            last item the source ends. A run that goes on from a checkpoint goes on after the
            items that were played, be it an `END`.
        out_of_order: The watermark is the highest event time seen minus this.
        on_outage: While the feed is disconnected, `hold` lets others wait for its watermark;
            `close` lets them go on as if it were idle.
        row_schema: The columns of rows that are mappings; None for those of trades or quotes
            that the first row has.
    """

    items: Sequence[Any]
    out_of_order: Duration = "0s"
    on_outage: OnOutage = "hold"
    row_schema: Schema | None = None

    type_name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    side_outputs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be played.

        Raises:
            ConfigError: If an item is none of those above.
        """
        for place, item in enumerate(self.items):
            if isinstance(item, Status):
                _check_state(item, place)
            elif _rows_of(item) is None and not isinstance(
                item, Batch | Watermark | Idle | End | Pause | Exception | Crash
            ):
                msg = f"item {place} of `scripted` is no row, message or exception, was {item!r}"
                raise ConfigError(msg, parameter="items")
        schema = self.schema()
        names = set(schema.names)
        for place, item in enumerate(self.items):
            found = item.schema.names if isinstance(item, Batch) else None
            for row in _rows_of(item) or ():
                found = tuple(row)
            if found is not None and set(found) != names:
                odd = ", ".join(f"`{name}`" for name in sorted(set(found) ^ names))
                msg = f"item {place} of `scripted` has other columns than the rest: {odd}"
                raise ConfigError(msg, parameter="items")

    def schema(self) -> Schema:
        """Return the columns of the first rows of the script.

        Raises:
            ConfigError: If the rows are neither trades nor quotes, and nothing says what.
        """
        for item in self.items:
            if isinstance(item, Batch):
                return item.schema
            for row in _rows_of(item) or ():
                return self.row_schema or _schema_of(row)
        return self.row_schema or _PLAIN

    async def open(self, context: NodeContext) -> _ScriptedReader:
        """Start the script."""
        return _ScriptedReader(self, context)


class _ScriptedReader:
    def __init__(self, settings: ScriptedSource, context: NodeContext) -> None:
        self.schema = settings.schema()
        self._items = settings.items
        self._next = 0
        self._until: float | None = None
        self._context = context
        bound = duration_ns(settings.out_of_order)
        self._progress = FeedProgress(bound, on_outage=settings.on_outage)
        self._own = Translation(context.symbols).own
        if context.position is not None:
            self._go_to(int(context.position["items"]))

    def _go_to(self, place: int) -> None:
        """Go on after the first items of the script, which were played before."""
        for item in self._items[:place]:
            if not isinstance(item, Pause | Exception | Crash | End | Idle):
                self._told(item)
        self._next = place

    def position(self) -> Position:
        """Return how many items of the script were played."""
        return {"items": self._next}

    async def read(self) -> Sequence[tuple[str, SourceItem]] | None:
        """Do the next thing of the script.

        Raises:
            Exception: What the script says.
        """
        item = self._items[self._next] if self._next < len(self._items) else None
        if isinstance(item, Pause):
            await self._pause(item.seconds)
        self._next += item is not None
        if item is None or isinstance(item, End):
            return None
        if isinstance(item, Crash):
            item = item.strike()
        if isinstance(item, Exception):
            raise item
        if item is None or isinstance(item, Pause):
            return ()
        told = self._told(item)
        self._context.account.rows_in += sum([len(t) for t in told if isinstance(t, Batch)])
        return [("out", one) for one in told]

    def _told(self, item: Any) -> list[SourceItem]:
        """Return what an item that is a row or a message comes to."""
        if isinstance(item, Status):
            return self._progress.told(item)
        if isinstance(item, Watermark):
            return [self._progress.raise_to(item.time)]
        if isinstance(item, Idle):
            return [item]
        if isinstance(item, Batch):
            batch = self._own(item)
        else:
            batch = batch_of_rows(self.schema, _rows_of(item) or (), self._context.symbols)
        return [self._progress.stamped(batch)]

    async def _pause(self, seconds: float) -> None:
        if math.isinf(seconds):
            await asyncio.get_running_loop().create_future()
        clock = self._context.clock
        if self._until is None:
            self._until = clock.monotonic() + seconds
        # A read that is cancelled for a barrier and made again waits for what is left.
        await clock.sleep(max(self._until - clock.monotonic(), 0.0))
        self._until = None

    def fraction(self) -> float | None:
        """Return None: a script tells no one how long it is."""
        return None

    async def close(self) -> None:
        """Do nothing: nothing is held."""


def batch_of_rows(
    schema: Schema, rows: Sequence[Mapping[str, Any]], symbols: SymbolTable
) -> Batch:
    """Return rows written as mappings as a batch, without progress.

    Numbers of fixed-point columns are exact decimals: an integer, a `Decimal`, text, or a
    float that is taken as it is written. None is `UNDEFINED`.

    Args:
        schema: Their columns.
        rows: The rows, each with a value for every column.
        symbols: Takes their symbols.

    Raises:
        ConfigError: If a number has more places than its column.
    """
    columns: dict[str, Column] = {}
    for column in schema:
        values = [row[column.name] for row in rows]
        if column.kind is Kind.ARROW:
            columns[column.name] = pa.array(values, column.arrow)
        elif column.kind is Kind.SYMBOL:
            columns[column.name] = symbols.encode(values)
        else:
            made = [_number(column, value) for value in values]
            columns[column.name] = np.array(made, column.dtype)
    return Batch(schema, columns, symbols)


def _number(field: Field, value: Any) -> Any:
    if field.kind is Kind.CHAR:
        return ord(value)
    if field.kind in {Kind.FLOAT, Kind.BOOL}:
        return value
    if value is None:
        return UNDEFINED
    if field.kind is not Kind.FIXED:
        return int(value)
    scaled = Decimal(str(value)).scaleb(field.scale)
    if scaled != scaled.to_integral_value():
        msg = f"`{field.name}` must have no more than {field.scale} decimal places, was {value}"
        raise ConfigError(msg, parameter="items")
    return int(scaled)


def _rows_of(item: Any) -> Sequence[Mapping[str, Any]] | None:
    """Return the rows of an item that is one mapping or a list of them."""
    if isinstance(item, Mapping):
        return [item]
    if isinstance(item, list | tuple) and all(isinstance(row, Mapping) for row in item):
        return item
    return None


def _schema_of(row: Mapping[str, Any]) -> Schema:
    for schema in (TRADE, QUOTE):
        if set(row) <= set(schema.names):
            return schema.only(row)
    names = ", ".join(f"`{name}`" for name in row)
    msg = f"rows with {names} are neither trades nor quotes; say what they are with `row_schema`"
    raise ConfigError(msg, parameter="row_schema")


def _check_state(status: Status, place: int) -> None:
    states = [state.value for state in FeedState]
    if status.state not in states:
        known = ", ".join(f"`{state}`" for state in states)
        hint = nearest(status.state, states)
        msg = f"item {place} of `scripted`: no feed is `{status.state}`{hint} (states: {known})"
        raise ConfigError(msg, parameter="items")
