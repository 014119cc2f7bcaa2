"""Pair each row of one stream with the rows of another around its time."""

from __future__ import annotations

__all__ = ("IntervalJoin",)

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import SignedDuration, signed_duration_ns
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.join_settings import (
    Names,
    OptionalNames,
    joined_sides,
    read_columns,
)
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.interval_matcher import IntervalRule
    from market_data_pipeline.operator.join_columns import JoinedColumns
    from market_data_pipeline.operator.time_join import TimeJoinOperator


@component("interval_join")
class IntervalJoin:
    """Pair each row of the left input with all rows of the right input around its time.

    A right row of the same key belongs to a left row if its event time is from the left
    row's time plus `lower` to that time plus `upper`, both ends counted. The pairs come out in
    the order of the left rows' event time, those of one left row in the order of the right's;
    each has the columns of both.

    A left row comes out once the watermarks of both inputs say that its pairs are complete,
    so it makes no difference which input is faster.

    Backpressure: reads the input that is behind. Holds left rows until the watermark of the
    right is behind their interval, of the right the rows that lie in the interval of a left
    row still to come, and at most as many again that are no longer needed.

    Lateness: a row below the watermark of its own input is late: it goes to `late` or
    `late_right`, and is not joined.

    Delivery: every pair once. Right rows end under the reason `joined`.

    Memory: for each row of the right that is held 12 bytes and the columns that are asked
    for, 8 bytes each, with room for up to four times as many; left rows as they came.

    Attributes:
        lower: Where the interval begins, from the left row's time; negative for before it.
        upper: Where it ends.
        by: Columns that are equal on both sides; an empty list for none.
        columns: Columns to take from the right; null for all but those in `by`.
        suffix: Added to the name of a right column that the left has too.
        how: `inner` sends left rows without a pair to `unmatched`; `left` keeps them, with
            nulls in the place of the right columns.
    """

    lower: SignedDuration
    upper: SignedDuration
    by: Names = Field(default_factory=lambda: ["symbol"])
    columns: OptionalNames = None
    suffix: str = "_right"
    how: Literal["inner", "left"] = "inner"

    inputs: ClassVar[tuple[str, str]] = ("left", "right")
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "late_right", "unmatched")
    side_outputs: ClassVar[tuple[str, ...]] = ("late", "late_right", "unmatched")
    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse an interval that ends before it begins.

        Raises:
            ConfigError: If `upper` is before `lower`.
        """
        if signed_duration_ns(self.upper) < signed_duration_ns(self.lower):
            msg = (
                f"`upper` of `interval_join` must not be before `lower`, "
                f"was {self.upper} with {self.lower}"
            )
            raise ConfigError(msg, parameter="upper")

    @property
    def look_ahead(self) -> bool:
        """False: there is no match by another time."""
        return False

    def rule(self) -> IntervalRule:
        """Return which right rows a left row is paired with."""
        from market_data_pipeline.operator.interval_matcher import IntervalRule

        return IntervalRule(signed_duration_ns(self.lower), signed_duration_ns(self.upper))

    def joined(self, left: Schema, right: Schema) -> JoinedColumns:
        """Return the columns of pairs.

        Raises:
            SchemaError: If a column is missing, or the two sides do not fit.
        """
        return joined_sides(
            left,
            right,
            self.type_name,
            by=self.by,
            times=(left.time, right.time),
            columns=self.columns,
            suffix=self.suffix,
        )

    def time_of(self, schema: Schema) -> str:
        """Return the event time, which decides."""
        return schema.time

    def join_schemas(self, left: Schema, right: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of pairs, and of rows that were not joined.

        Raises:
            SchemaError: If a column is missing, or the two sides do not fit.
        """
        joined = self.joined(left, right).schema
        return {"out": joined, "late": left, "late_right": right, "unmatched": left}

    def required_inputs(
        self, wanted: frozenset[str] | None
    ) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """Return the columns of each side that end in a column wanted, and those it needs."""
        needed = frozenset((*self.by, "ts_event", "ts_open"))
        return read_columns(wanted, needed, self.columns, self.suffix)

    def build(self, context: NodeContext) -> TimeJoinOperator:
        """Make the running half."""
        from market_data_pipeline.operator.time_join import TimeJoinOperator

        return TimeJoinOperator(self, context)
