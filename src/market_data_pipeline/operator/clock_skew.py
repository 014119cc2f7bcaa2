"""Measure how far the receiving clock is from the venue's, row by row."""

from __future__ import annotations

__all__ = ("ClockSkew",)

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.records import Field as Column
from market_data_pipeline.records import Kind, Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.clock_following import ClockSkewOperator

RECEIVED: Final = "ts_recv"
OFFSET: Final = Column("clock_offset", Kind.INT)
SKEWED: Final = Column("is_skewed", Kind.BOOL)
_TOLD: Final = (
    Column(RECEIVED, Kind.TIME),
    Column("difference", Kind.INT),
    OFFSET,
    Column("drift_ppb", Kind.INT),
    Column("spans", Kind.INT),
    Column("rows", Kind.INT),
    Column("future_rows", Kind.INT),
)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _positive(value: Any) -> Any:
    if duration_ns(value) <= 0:
        msg = f"must be positive, was {value}"
        raise ValueError(msg)
    return value


def skew_schema(schema: Schema, by: list[str]) -> Schema:
    """Return the columns of a record: when, whose clock, what was estimated.

    Raises:
        SchemaError: If a column of the key is named as one that the record has anyway.
    """
    time = Column("ts_event", Kind.TIME)
    clash = {field.name for field in (time, *_TOLD)}.intersection(by)
    if clash:
        msg = f"`clock_skew` cannot have `{min(clash)}` in `by`: its records have such a column"
        raise SchemaError(msg, node="clock_skew")
    return Schema("clock_skew", (time, *(schema[name] for name in by), *_TOLD))


@component("clock_skew")
class ClockSkew:
    """Measure offset and drift between the venue's clock and the one that received rows.

    What is seen of a row is `ts_recv - ts_event`: the offset of the clocks plus the time
    the row was on its way. Of each span of `ts_recv` the least is kept, which is the row
    with the least delay, and a line is laid under the latest `spans` of these; spans that a
    wrong time has spoiled are left out, once there are three. The line tells the
    *difference* and its drift. It is estimated anew whenever a span is over and in effect
    until the next one is; in the first span it is the least that was seen so far, and no
    row is called skewed.

    The offset of the clocks and the least time on the way cannot be told apart from one
    side. Nothing is on its way for less than no time, though: a negative difference says
    that the receiving clock is behind by as much at least. So `clock_offset` is the
    difference where it is negative, else 0; or the difference minus `way`, where you know
    that.

    Each row gets `clock_offset`, nanoseconds by which `ts_recv` is ahead, and `is_skewed`:
    the row was received before it happened by more than `bound`, the offset taken off, so
    its own times are wrong. A row without one of the two times has an offset of its clock
    all the same, and is not measured. The output `skew` has a record each time the estimate
    changes.

    Source: minima as in NTP's clock filter (RFC 5905, section 10) and Paxson 1998, "On
    calibrating measurements of packet transit times"; the line as in Moon, Skelly and
    Towsley 1999, "Estimation and removal of clock skew from network delay measurements".
    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; rows are measured in the order in which they arrive.

    Delivery: the estimate is saved with a checkpoint.

    Memory: 88 bytes a key and 16 for each of `spans`.

    Attributes:
        by: Columns whose values have a clock each, such as `[venue]`; empty for one clock.
        bound: How far a row may be off.
        correct: Take `clock_offset` off `ts_recv`.
        way: The least time a row is on its way from the venue, if that is known.
        span: How long the least delay is looked for, by the receiving clock.
        spans: How many spans the line is laid under. A clock that was set forward is
            believed once half of them are newer than that.
        forget: A key without a row for so long, in event time, begins anew.
    """

    by: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=list)
    bound: Duration = "10ms"
    correct: bool = False
    way: Duration | None = None
    span: Annotated[Duration, AfterValidator(_positive)] = "10s"
    spans: int = Field(default=32, ge=3, le=256)
    forget: Annotated[Duration, AfterValidator(_positive)] = "7d"

    outputs: ClassVar[tuple[str, ...]] = ("out", "skew")
    side_outputs: ClassVar[tuple[str, ...]] = ("skew",)
    type_name: ClassVar[str]

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the rows with their offset, and the records.

        Raises:
            SchemaError: If rows lack a time, or a column of the key.
        """
        check_columns(schema, (*self.by, RECEIVED), "clock_skew")
        if schema[RECEIVED].kind is not Kind.TIME or schema.time in {"", RECEIVED}:
            msg = "`clock_skew` needs the times `ts_event` and `ts_recv` of rows"
            raise SchemaError(msg, node="clock_skew")
        return {"out": schema.having(OFFSET, SKEWED), "skew": skew_schema(schema, self.by)}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted, the times, and the key."""
        if wanted is None:
            return None
        return (wanted - {OFFSET.name, SKEWED.name}) | {*self.by, RECEIVED}

    def build(self, context: NodeContext) -> ClockSkewOperator:
        """Make the running half."""
        from market_data_pipeline.operator.clock_following import ClockSkewOperator

        return ClockSkewOperator(self, context)
