"""Windows: rows of each key in windows of event time or of rows, with any aggregates."""

from __future__ import annotations

__all__ = ("Windows",)

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import AfterValidator, BeforeValidator, Field

from market_data_pipeline.calendars import check_calendar
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Operator
from market_data_pipeline.dag.partitioned import Parallelism, check_spread, partitioned
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.aggregates import Aggregate, BoundAggregate, Word
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.comparing import time_ns
from market_data_pipeline.records import Field as Column
from market_data_pipeline.records import Kind, Schema

Revisions = Literal["upsert", "retract", "final"]

_OWN_COLUMNS: Final = ("ts_open", "ts_close", "is_final", "revision", "op")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _positive(value: Any) -> Any:
    if value is not None and duration_ns(value) <= 0:
        msg = f"must be longer than zero, was {value}"
        raise ValueError(msg)
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


@component("windows")
class Windows:
    """Gather the rows of each key in windows, and work out aggregates of each window.

    Which windows there are is told by the settings. `size` alone gives tumbling windows,
    `size` and `every` hopping ones, `gap` sessions of activity: a row belongs to the
    session of its key if it is less than `gap` from one of its rows. All are half-open,
    `[ts_open, ts_close)`; a session ends `gap` after its last row. A window without rows
    does not come out. `rows` gives a window for each so many rows of a key, in the order
    of event time; what is left at the end, or after `ttl`, is counted as `incomplete`.

    With `sliding` each row comes out with the aggregates of a window that ends with it:
    of the rows of its key up to this one whose event time is after that of the row less
    `size`, or of the last `rows`. Rows come in the order of event time; a row below the
    watermark is late.

    Aggregates are `first`, `last`, `min`, `max`, `sum`, `mean`, `std`, `count()`,
    `count(column)`, `vwap(price, size)` and `quantile(column, 0.95)`, or in Python a
    function whose parameters are named as columns, given the arrays of one window, or a
    Polars expression. They pass over undefined values and are undefined where there is
    none. First and last are in event time, rows of one instant in the order of arrival.
    Sums are exact, `mean` and `vwap` rounded half to even at the scale of the column (the
    mean of integers at scale 9), `quantile` is the nearest rank, `std` the float nearest
    the sample deviation to some 12 digits.

    Backpressure: rows wait here for their windows; none are taken while a channel behind is
    full.

    Lateness: a window comes out when the watermark reaches `ts_close`. With `lateness` it
    stays open to revision: a row that comes later gives it again at once with `revision` one
    higher, and when the watermark reaches `ts_close + lateness` it is given once more with
    `is_final` true. A row whose windows are all final goes to the output `late`.

    Delivery: each window once, in the order of its end, and again for each revision.

    Memory: each row until its last window is final, 16 bytes and 8 for each column that is
    aggregated, with room for half as many more. A row that comes d rows late in its key
    costs a move of d rows.

    Attributes:
        aggregates: The columns to work out, by name.
        size: Width of a window.
        every: From the start of a window to that of the next; `size` by default.
        gap: How long a key is silent between two sessions of activity.
        rows: How many rows of a key make a window.
        sliding: Whether each row is given, in the order of event time, with the
            aggregates of the window that ends with it.
        key: Columns that tell rows apart; an empty list puts all rows together.
        origin: A start of a window, as ISO 8601 text, in UTC if it names no zone; the
            UNIX epoch by default.
        calendar: Trading sessions to align windows to, as in `sessions`: the first starts
            at the open, the last is cut at the close. Rows in no session go to the
            output `outside`.
        lateness: How long after its end a window is open to revision.
        revisions: `upsert` gives a revised row under the same key and `ts_open`;
            `retract` takes the old row back first, in a column `op` of -1 and 1; `final`
            lets only final rows out.
        ttl: How long the rows of a silent key are kept for a window of `rows`; for ever by
            default.
        results: What functions and expressions of your own give: int, float (the
            default) or decimal, an integer in units of 1e-9.
        parallelism: Threads that symbols are spread over, by their key groups. The rows that
            come out are the same; those of different symbols may come in another order.
    """

    aggregates: dict[str, Any]
    size: PositiveDuration | None = None
    every: PositiveDuration | None = None
    gap: PositiveDuration | None = None
    rows: Annotated[int, Field(ge=1)] | None = None
    sliding: bool = False
    key: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=lambda: ["symbol"])
    origin: str | None = None
    calendar: str | dict[str, Any] | None = None
    lateness: Duration = "0s"
    revisions: Revisions = "upsert"
    ttl: PositiveDuration | None = None
    results: dict[str, Word] = Field(default_factory=dict)
    parallelism: Parallelism = 1

    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "outside")
    side_outputs: ClassVar[tuple[str, ...]] = ("late", "outside")
    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse settings that are no windows.

        Raises:
            ConfigError: If settings are missing or do not go together, or an aggregate or
                the calendar is none.
            MissingDependencyError: If the calendar is an exchange's and exchange_calendars
                is not there.
        """
        self._check_kind()
        if self.size is not None and self.step_ns > duration_ns(self.size):
            msg = (
                f"`every` of `windows` must not be longer than `size`, or rows fall between "
                f"windows; it was `{self.every}` and `size` `{self.size}`"
            )
            raise ConfigError(msg, parameter="every")
        if len(set(self.key)) != len(self.key):
            msg = f"`key` of `windows` names a column twice: {', '.join(self.key)}"
            raise ConfigError(msg, parameter="key")
        if not self.aggregates:
            msg = "`windows` needs aggregates, such as `{high: max(price), n: count()}`"
            raise ConfigError(msg, parameter="aggregates")
        for name in self.aggregates:
            if name in {*_OWN_COLUMNS, *self.key}:
                msg = f"`{name}` is a column of every window; call the aggregate otherwise"
                raise ConfigError(msg, parameter="aggregates")
        for name in self.results:
            if name not in self.aggregates:
                msg = f"`results` of `windows` names `{name}`, which is no aggregate"
                raise ConfigError(msg, parameter="results")
        if self.calendar is not None:
            if self.origin is not None:
                msg = "`origin` and `calendar` of `windows` both say where windows start"
                raise ConfigError(msg, parameter="origin")
            check_calendar(self.calendar)
        self.parsed()
        self.origin_ns()
        check_spread(self, self.key)

    def _check_kind(self) -> None:
        """Refuse settings that are of different kinds of windows.

        Raises:
            ConfigError: If there is not one of `size`, `gap` and `rows`, or another
                setting does not go with it.
        """
        kinds = [name for name in ("size", "gap", "rows") if getattr(self, name) is not None]
        if len(kinds) != 1:
            found = " and ".join(f"`{name}`" for name in kinds) or "none of them"
            msg = (
                f"`windows` needs `size`, `gap` for sessions of activity, or `rows` for "
                f"windows of so many rows; there was {found}"
            )
            raise ConfigError(msg, parameter=kinds[-1] if kinds else "size")
        (kind,) = kinds
        fixed = {"size"} if not self.sliding else set[str]()
        revisable = {"size", "gap"} if not self.sliding else set[str]()
        only: dict[str, set[str]] = {
            "every": fixed,
            "origin": fixed,
            "calendar": fixed,
            "lateness": revisable,
            "revisions": revisable,
            "sliding": {"size", "rows"},
            "ttl": {"rows"},
        }
        plain = {"sliding": False, "lateness": "0s", "revisions": "upsert"}
        for setting, with_kinds in only.items():
            if getattr(self, setting) != plain.get(setting) and kind not in with_kinds:
                what = "sliding windows" if self.sliding else f"`{kind}`"
                msg = f"`{setting}` of `windows` does not go with {what}"
                raise ConfigError(msg, parameter=setting)

    @property
    def step_ns(self) -> int:
        """From the start of a window to that of the next, nanoseconds; 0 for sessions."""
        return duration_ns(self.every or self.size or "0s")

    def origin_ns(self) -> int:
        """Return a start of a window.

        Raises:
            ConfigError: If the text is no time.
        """
        if self.origin is None:
            return 0
        try:
            return time_ns(self.origin)
        except ValueError as err:
            msg = f"`origin` of `windows`: {err}"
            raise ConfigError(msg, parameter="origin") from None

    def parsed(self) -> list[Aggregate]:
        """Return the aggregates, checked.

        Raises:
            ConfigError: If one is none.
        """
        return [
            Aggregate(name, written, self.results.get(name))
            for name, written in self.aggregates.items()
        ]

    def bound(self, schema: Schema, node: str) -> list[BoundAggregate]:
        """Return the aggregates over the columns of a schema.

        Raises:
            SchemaError: If the rows have no event time, lack a column, or have one of a
                type that does not fit.
        """
        if not schema.time:
            msg = f"`{node}` needs an event time, and {schema.name} rows have none"
            raise SchemaError(msg, node=node)
        check_columns(schema, self.key, node)
        for name in self.key:
            arrow = schema[name].arrow
            if arrow is not None and arrow not in {pa.string(), pa.large_string()}:
                msg = f"`{name}` of type {arrow} cannot be part of the key of `{node}`"
                raise SchemaError(msg, node=node)
        return [aggregate.bind(schema, node) for aggregate in self.parsed()]

    def schema_of_windows(self, schema: Schema, bound: list[BoundAggregate]) -> Schema:
        """Return the columns of windows made of rows of a schema.

        Raises:
            SchemaError: If rows have a column of the name of an aggregate.
        """
        if self.sliding:
            for aggregate in bound:
                if aggregate.field.name in schema:
                    name = aggregate.field.name
                    msg = f"rows have a column `{name}` already; call the aggregate otherwise"
                    raise SchemaError(msg, node="windows")
            return schema.having(*(aggregate.field for aggregate in bound))
        fields = [
            *(schema[name] for name in self.key),
            Column("ts_open", Kind.TIME),
            Column("ts_close", Kind.TIME),
            *(aggregate.field for aggregate in bound),
            Column("is_final", Kind.BOOL),
            Column("revision", Kind.INT),
        ]
        if self.revisions == "retract":
            fields.append(Column("op", Kind.INT))
        return Schema("window", tuple(fields), "ts_open" if self.size else "ts_close")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of windows, and of late rows.

        Raises:
            SchemaError: If a column is missing, or of a type that does not fit.
        """
        bound = self.bound(schema, "windows")
        windows = self.schema_of_windows(schema, bound)
        return {"out": windows, "late": schema, "outside": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns of the key and of the aggregates; if sliding, those wanted too."""
        read = {name for aggregate in self.parsed() for name in aggregate.columns}
        read.update(("ts_event", "ts_open", "ts_close", *self.key))
        if not self.sliding:
            return frozenset(read)
        return None if wanted is None else (wanted - self.aggregates.keys()) | read

    def build(self, context: NodeContext) -> Operator:
        """Make the running half."""
        return partitioned(self.parallelism, context, self._build)

    def _build(self, context: NodeContext) -> Operator:
        if self.sliding or self.rows is not None:
            from market_data_pipeline.operator.window_ordered import OrderedWindowsOperator

            return OrderedWindowsOperator(self, context)
        from market_data_pipeline.operator.window_run import WindowsOperator

        return WindowsOperator(self, context)
