"""Follow the sequence numbers of a feed: gaps, duplicates, restarts, wraps."""

from __future__ import annotations

__all__ = ("SequenceTracker",)

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from market_data_pipeline.calendars import check_calendar
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.operator.sequence_records import MISSING, gap_schema
from market_data_pipeline.records import Kind, Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.sequence_tracking import SequenceOperator

_POWER: Final = re.compile(r"\s*(\d{1,3})\s*\*\*\s*(\d{1,2})\s*")
_LARGEST: Final = 2**62


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _power(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    power = _POWER.fullmatch(value)
    if power is not None:
        return int(power[1]) ** int(power[2])
    if value.strip().isdecimal():
        return int(value)
    msg = f"must be a number or a power such as `2**32`, was `{value}`"
    raise ValueError(msg)


def _checked_wrap(value: Any) -> Any:
    if value is not None and not 4 <= value <= _LARGEST:
        msg = f"must be 4 to 2**62, was {value}"
        raise ValueError(msg)
    return value


def _positive(value: Any) -> Any:
    if duration_ns(value) <= 0:
        msg = f"must be positive, was {value}"
        raise ValueError(msg)
    return value


Wrap: TypeAlias = Annotated[
    int | str | None, BeforeValidator(_power), AfterValidator(_checked_wrap)
]
"""How many numbers there are, also as a power."""


@component("sequence")
class SequenceTracker:
    """Follow sequence numbers: tell gaps, drop duplicates, see restarts and wraps.

    Numbers of one key count up by one. Each row gets the column `missing`: how many rows
    of its sequence are missing right before it, as far as that is known when it passes.
    A row that comes later and fills a gap passes with `missing` -1, so that the sum over
    all rows of a key is what is missing still. A gap in one key says nothing of others.

    A row is a *duplicate* if its number was seen; it goes to `duplicate`. It is *out of
    sequence* if its number is below the first that was seen, or below a gap that was
    forgotten, so that nobody knows whether it was seen; it passes, with `missing` 0. A
    row without a number passes, too.

    A sequence *restarts* where a row has a number not above the last, one that fills no
    gap and that `reset` allows, and is younger than all rows of its key so far. Rows
    older than a restart belong to the sequence before it. Where the numbers go on as if
    there had been no restart, there was none (a snapshot numbered 1 amid a stream).

    The output `gaps` has a record for each event, in the order of rows: `kind` is `gap`,
    `reset`, `wrap`, `filled`, `out_of_sequence`, `resumed`, or `duplicate` where those
    are kept. `first_missing` and `last_missing` tell the numbers, `rows` how many rows
    became missing (negative: came), `ts_before` and `ts_after` the event times of the
    rows around the gap, `sequence` the number of the row that told, `previous` the
    highest one before.

    With a `calendar`, sequences begin anew with the first row at or after the open of each
    session, whatever its number and however they go on; rows between two sessions belong to
    the one before. Rows of a session before the last two are out of sequence.

    Several inputs are read as one, so a second source with the rows that are missing is
    spliced in by reading both: `from: [live, backfill]`.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: no row is too late to pass. One that comes for a gap which is forgotten after
    `ttl` is out of sequence and fills nothing.

    Delivery: what was seen and what is missing is saved with a checkpoint.

    Memory: 192 bytes a key, 64 bytes for each gap that is open.

    Attributes:
        by: Columns whose values have a sequence each; empty for one over the whole feed.
        column: The column with the numbers, integers.
        reset: A row at this number or below may be a restart; `lower`: any number lower
            than the last may; `never`: none.
        first: The number of the first row of a sequence, if it is known. Rows before the
            first that is seen are then missing.
        wrap: How many numbers there are, as in `2**32`: after the last one comes 0. A
            number less than half of them ahead is ahead, whatever `reset` says.
        calendar: Name of an exchange's calendar, or a mapping that describes one (see
            `sessions`): when the venue begins to number anew.
        ttl: How long a gap can be filled, in event time.
        most_gaps: How many gaps of one key can be open; the oldest are forgotten.
        forget: A key without a row for so long, in event time, begins anew.
        duplicates: What happens to a row whose number was seen; one that is kept has a
            record.
    """

    by: Annotated[list[str], BeforeValidator(_listed)] = Field(default_factory=lambda: ["symbol"])
    column: str = "sequence"
    reset: int | Literal["lower", "never"] = 1
    first: int | None = None
    wrap: Annotated[int | str | None, BeforeValidator(_power), AfterValidator(_checked_wrap)] = (
        None
    )
    calendar: str | dict[str, Any] | None = None
    ttl: Annotated[Duration, AfterValidator(_positive)] = "1h"
    most_gaps: int = Field(default=10_000, ge=1, le=1_000_000)
    forget: Annotated[Duration, AfterValidator(_positive)] = "7d"
    duplicates: Literal["drop", "keep"] = "drop"

    outputs: ClassVar[tuple[str, ...]] = ("out", "gaps", "duplicate")
    side_outputs: ClassVar[tuple[str, ...]] = ("gaps", "duplicate")
    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse what is no calendar.

        Raises:
            ConfigError: If there is none of the name, or the mapping is none.
            MissingDependencyError: If it is named and exchange_calendars is not there.
        """
        if self.calendar is not None:
            check_calendar(self.calendar)

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the rows with `missing`, the records of gaps, and the duplicates.

        Raises:
            SchemaError: If there is no such column of integers, no key or no event time.
        """
        check_columns(schema, (*self.by, self.column), "sequence")
        if schema[self.column].kind is not Kind.INT:
            msg = f"`sequence` needs `{self.column}` as an integer, was {schema[self.column]}"
            raise SchemaError(msg, node="sequence")
        if not schema.time:
            msg = f"`sequence` needs an event time, and {schema.name} rows have none"
            raise SchemaError(msg, node="sequence")
        return {
            "out": schema.having(MISSING),
            "gaps": gap_schema(schema, self.by),
            "duplicate": schema,
        }

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted, the numbers, and the key."""
        if wanted is None:
            return None
        return (wanted - {MISSING.name}) | {*self.by, self.column, "symbol"}

    def build(self, context: NodeContext) -> SequenceOperator:
        """Make the running half."""
        from market_data_pipeline.operator.sequence_tracking import SequenceOperator

        return SequenceOperator(self, context)
