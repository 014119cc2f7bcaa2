"""Give each row of one stream the row of another as of its time."""

from __future__ import annotations

__all__ = ("AsofJoin",)

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.join_settings import (
    Names,
    OptionalNames,
    joined_sides,
    read_columns,
)
from market_data_pipeline.records import Field as Column
from market_data_pipeline.records import Kind, Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.asof_matcher import AsofRule
    from market_data_pipeline.operator.join_columns import JoinedColumns
    from market_data_pipeline.operator.time_join import TimeJoinOperator

LOOKED_AHEAD = Column("looked_ahead", Kind.BOOL)


@component("asof_join")
class AsofJoin:
    """Give each row of the left input the row of the right input as of its time.

    `backward` takes the last right row of the same key at or before the left row's time;
    of right rows of one time the one that arrived last. `forward` takes the first one at or
    after it, of one time the one that arrived first. `nearest` takes the nearer of the row
    before and the row after, at equal distance the one before.

    Left rows come out in the order of event time, with the columns of the right row added.
    Without a match these are null: undefined numbers, NaN, and null in Arrow columns, which
    booleans and symbols of the right become. A left row comes out once the watermarks of
    both inputs say that no row can come that would change its match. So it makes no
    difference which input is faster, and rows may arrive in any order within the sources'
    bounds.

    Backpressure: reads the input that is behind. Holds left rows until they are decided, of
    the right the last row of each key before them, all rows after it, and at most as many
    again that are no longer needed.

    Lateness: a row below the watermark of its own input is late: it goes to `late` or
    `late_right`, and is not joined.

    Delivery: every left row once. Right rows end under the reason `joined`.

    Memory: for each row of the right that is held 12 bytes and the columns that are asked
    for, 8 bytes each, with room for up to four times as many; left rows as they came.

    Attributes:
        by: Columns that are equal on both sides; an empty list for none.
        direction: Which row of the right is taken: `backward`, `forward` or `nearest`.
        tolerance: Most time between the two rows; needed unless `direction` is `backward`.
        strict: True if a right row of the very same time does not count.
        on: The time that decides: `ts_event`, when things happened, or `ts_recv`, what was
            known when the left row was received. A clock that stamps `ts_recv` before
            `ts_event` needs an `out_of_order` at least as long as it is behind. Rows without
            the time are late.
        look_ahead: With `on: ts_recv`, add the column `looked_ahead`: true where the match by
            `ts_event` was received only after the left row.
        columns: Columns to take from the right; null for all but those in `by`.
        carry: Columns of the right, of numbers, in which a row without a value is given the last
            one of its key: a quote of one side keeps the other side.
        suffix: Added to the name of a right column that the left has too.
        how: `left` keeps left rows without a match, `inner` sends them to `unmatched`.
    """

    by: Names = Field(default_factory=lambda: ["symbol"])
    direction: Literal["backward", "forward", "nearest"] = "backward"
    tolerance: Duration | None = None
    strict: bool = False
    on: Literal["ts_event", "ts_recv"] = "ts_event"
    look_ahead: bool = False
    columns: OptionalNames = None
    carry: Names = Field(default_factory=list)
    suffix: str = "_right"
    how: Literal["left", "inner"] = "left"

    inputs: ClassVar[tuple[str, str]] = ("left", "right")
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "late_right", "unmatched")
    side_outputs: ClassVar[tuple[str, ...]] = ("late", "late_right", "unmatched")
    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse what would hold rows without bound, or means nothing.

        Raises:
            ConfigError: If rows after the left row are wanted without a tolerance, or
                `look_ahead` is asked for where nothing can look ahead.
        """
        if self.direction != "backward" and self.tolerance is None:
            msg = (
                f"`direction: {self.direction}` of `asof_join` needs a `tolerance`: how long "
                f"to wait for a row after the left one"
            )
            raise ConfigError(msg, parameter="tolerance")
        if self.look_ahead and (self.on != "ts_recv" or self.direction != "backward"):
            msg = "`look_ahead` of `asof_join` needs `on: ts_recv` and `direction: backward`"
            raise ConfigError(msg, parameter="look_ahead")

    def joined(self, left: Schema, right: Schema) -> JoinedColumns:
        """Return the columns of joined rows.

        Raises:
            SchemaError: If a column is missing, or the two sides do not fit.
        """
        check_columns(right, self.carry, self.type_name)
        for name in self.carry:
            if right[name].kind not in {Kind.FIXED, Kind.INT, Kind.TIME}:
                msg = f"`carry` of `{self.type_name}` is for numbers, `{name}` is {right[name]}"
                raise SchemaError(msg, node=self.type_name)
        return joined_sides(
            left,
            right,
            self.type_name,
            by=self.by,
            times=(self.time_of(left), self.time_of(right)),
            columns=self.columns,
            suffix=self.suffix,
            added=[LOOKED_AHEAD] if self.look_ahead else [],
        )

    def time_of(self, schema: Schema) -> str:
        """Return the column of a side that decides."""
        return schema.time if self.on == "ts_event" else self.on

    def rule(self) -> AsofRule:
        """Return which right row a left row is given."""
        from market_data_pipeline.operator.asof_matcher import AsofRule

        tolerance = None if self.tolerance is None else duration_ns(self.tolerance)
        return AsofRule(self.direction, self.strict, tolerance, tuple(self.carry))

    def join_schemas(self, left: Schema, right: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of joined rows, and of those that were not joined.

        Raises:
            SchemaError: If a column is missing, or the two sides do not fit.
        """
        joined = self.joined(left, right).schema
        return {"out": joined, "late": left, "late_right": right, "unmatched": left}

    def required_inputs(
        self, wanted: frozenset[str] | None
    ) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """Return the columns of each side that end in a column wanted, and those it needs."""
        needed = frozenset((*self.by, self.on, "ts_event", "ts_open"))
        return read_columns(wanted, needed, self.columns, self.suffix)

    def build(self, context: NodeContext) -> TimeJoinOperator:
        """Make the running half."""
        from market_data_pipeline.operator.time_join import TimeJoinOperator

        return TimeJoinOperator(self, context)
