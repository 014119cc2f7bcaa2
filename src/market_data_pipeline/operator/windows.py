"""Windows: rows of each key in windows of event time or of rows, with any aggregates."""

from __future__ import annotations

__all__ = ("Windows",)

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from market_data_pipeline.calendars import check_calendar
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext, Operator
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
    does not come out.

    A window comes out when the watermark reaches `ts_close`. With `lateness` it stays
    open to revision: a row that comes later gives it again at once with `revision` one
    higher, and when the watermark reaches `ts_close + lateness` it is given once more
    with `is_final` true. A row whose windows are all final goes to the output `late`.

    Aggregates are `first`, `last`, `min`, `max`, `sum`, `mean`, `std`, `count()`,
    `count(column)`, `vwap(price, size)` and `quantile(column, 0.95)`, or in Python a
    function whose parameters are named as columns, given the arrays of one window, or a
    Polars expression. They pass over undefined values and are undefined where there is
    none. First and last are in event time, rows of one instant in the order of arrival.
    Sums are exact, `mean` and `vwap` rounded half to even at the scale of the column (the
    mean of integers at scale 9), `quantile` is the nearest rank, `std` the float nearest
    the sample deviation to some 12 digits.

    Backpressure: holds each row, 12 to 24 bytes a column, until its last window is
    final; a row that comes d rows late in its key costs a move of d rows.

    Delivery: each window once, in the order of its end, and again for each revision.

    Attributes:
        aggregates: The columns to work out, by name.
        size: Width of a window.
        every: From the start of a window to that of the next; `size` by default.
        gap: How long a key is silent between two sessions of activity.
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
        results: What functions and expressions of your own give: int, float (the
            default) or decimal, an integer in units of 1e-9.
    """

    aggregates: dict[str, Any]
    size: PositiveDuration | None = None
    every: PositiveDuration | None = None
    gap: PositiveDuration | None = None
    key: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=lambda: ["symbol"])
    origin: str | None = None
    calendar: str | dict[str, Any] | None = None
    lateness: Duration = "0s"
    revisions: Revisions = "upsert"
    results: dict[str, Word] = Field(default_factory=dict)

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
        if (self.size is None) == (self.gap is None):
            msg = "`windows` needs `size`, or `gap` for sessions of activity"
            raise ConfigError(msg, parameter="size")
        for setting in ("every", "origin", "calendar"):
            if self.size is not None or getattr(self, setting) is None:
                continue
            msg = f"`{setting}` of `windows` goes with `size`, sessions follow the rows"
            raise ConfigError(msg, parameter=setting)
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
        return [aggregate.bind(schema, node) for aggregate in self.parsed()]

    def schema_of_windows(self, schema: Schema, bound: list[BoundAggregate]) -> Schema:
        """Return the columns of windows made of rows of a schema."""
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
        return Schema("window", tuple(fields), "ts_close" if self.gap else "ts_open")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of windows, and of late rows.

        Raises:
            SchemaError: If a column is missing, or of a type that does not fit.
        """
        bound = self.bound(schema, "windows")
        windows = self.schema_of_windows(schema, bound)
        return {"out": windows, "late": schema, "outside": schema}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:  # noqa: ARG002
        """Return the columns of the key and of the aggregates."""
        read = (name for aggregate in self.parsed() for name in aggregate.columns)
        return frozenset(("ts_event", "ts_open", "ts_close", *self.key, *read))

    def build(self, context: NodeContext) -> Operator:
        """Make the running half."""
        from market_data_pipeline.operator.window_run import WindowsOperator

        return WindowsOperator(self, context)
