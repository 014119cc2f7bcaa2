"""Tell the trading session of each row."""

from __future__ import annotations

__all__ = ("SessionsOperator", "TradingSessions")

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.calendars import SessionTable, check_calendar
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.compaction import keep_rows
from market_data_pipeline.operator.stateless import Stateless
from market_data_pipeline.records import Field, Kind, Schema

_SESSION: Final = Field("session", Kind.ARROW, arrow=pa.date32())


@component("sessions")
class TradingSessions:
    """Add the date of the trading session to each row, and sort out rows outside of any.

    A row belongs to the session in one of whose intervals `[open, close)` its event time
    lies; the column `session` holds the session's date, which for trading overnight is
    that of its end. A lunch break is outside. With `outside: drop` rows outside go to the
    output `outside` and are counted under that word; left unconnected, they end there. With
    `outside: keep` they stay, and their `session` is null.

    A calendar is named, as `XNYS`, and then comes from exchange_calendars (extra
    `calendars`); or it says when trading is: weekly hours as `{timezone: Europe/Berlin,
    open: "09:00", close: "17:30", days: mon-fri, holidays: [2024-12-25]}`, or `{sessions:
    [{open: ..., close: ..., date: ...}]}`. Closing auctions are reported after the close:
    `{exchange: XNYS, before_open: 5h30min, after_close: 5min}` makes sessions longer.
    A row of a time that the calendar does not know of, as a year whose holidays are not
    fixed, ends the run.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; a row keeps the watermark it came with.

    Delivery: every row once, in order.

    Memory: the calendar's intervals for the decades seen, about 100 kB each.

    Attributes:
        calendar: Name of the exchange's calendar, or a mapping that describes one.
        outside: What is done with rows in no session: `keep` or `drop`.
    """

    calendar: str | dict[str, Any]
    outside: Literal["keep", "drop"] = "keep"

    outputs: ClassVar[tuple[str, ...]] = ("out", "outside")
    side_outputs: ClassVar[tuple[str, ...]] = ("outside",)

    def __post_init__(self) -> None:
        """Refuse what is no calendar.

        Raises:
            ConfigError: If there is none of the name, or the mapping is none.
            MissingDependencyError: If it is named and exchange_calendars is not there.
        """
        check_calendar(self.calendar)

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns with `session`; rows outside are as they came.

        Raises:
            SchemaError: If rows have no event time.
        """
        if not schema.time:
            msg = f"`sessions` needs an event time, and {schema.name} rows have none"
            raise SchemaError(msg, node="sessions")
        return {"out": schema.having(_SESSION), "outside": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted that are not made here."""
        return None if wanted is None else wanted - {_SESSION.name}

    def build(self, context: NodeContext) -> SessionsOperator:
        """Make the running half."""
        return SessionsOperator(self, context)


class SessionsOperator(Stateless):
    """The running half of `TradingSessions`."""

    def __init__(self, settings: TradingSessions, context: NodeContext) -> None:
        self._table = SessionTable(settings.calendar)
        self._drops = settings.outside == "drop"
        self._account = context.account
        self._is_read = context.is_read("outside")
        self._input: Schema | None = None
        self._output: Schema | None = None

    def process(self, batch: Batch) -> Outputs:
        """Return the rows with their session, and those outside if they are not kept."""
        rows = len(batch)
        if not rows:
            return ()
        positions, outside = self._table.find(batch.times)
        if not outside:
            return (("out", self._dated(batch, positions, None)),)
        if not self._drops:
            return (("out", self._kept(batch, positions, outside)),)
        self._account.add("outside", outside)
        if outside == rows:
            return (("outside", batch),)
        inside = positions >= 0
        kept = keep_rows(batch, inside, rows - outside)
        out = ("out", self._dated(kept, positions[inside], None))
        if not self._is_read:
            return (out,)
        return (out, ("outside", keep_rows(batch, ~inside, outside)))

    def _kept(self, batch: Batch, positions: npt.NDArray[np.int64], outside: int) -> Batch:
        if outside == len(batch):
            return self._with_column(batch, pa.nulls(outside, pa.date32()))
        return self._dated(batch, positions, positions < 0)

    def _dated(
        self,
        batch: Batch,
        positions: npt.NDArray[np.int64],
        missing: npt.NDArray[np.bool_] | None,
    ) -> Batch:
        days = pa.array(self._table.session[positions], mask=missing)
        return self._with_column(batch, days.view(pa.date32()))

    def _with_column(self, batch: Batch, column: pa.Array) -> Batch:
        if batch.schema is not self._input or self._output is None:
            self._input, self._output = batch.schema, batch.schema.having(_SESSION)
        columns = {**batch.columns, _SESSION.name: column}
        return Batch(self._output, columns, batch.symbols, batch.progress)
