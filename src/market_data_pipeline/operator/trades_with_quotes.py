"""Give each trade the quote that prevailed."""

from __future__ import annotations

__all__ = ("TradesWithQuotes",)

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.asof_join import AsofJoin
from market_data_pipeline.records import Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.time_join import TimeJoinOperator

_PRICES: Final = ("bid_price", "ask_price")
_COLUMNS: Final = ("bid_price", "bid_size", "ask_price", "ask_size")


@component("trades_with_quotes")
class TradesWithQuotes:
    """Give each trade the quote of its symbol that prevailed: the last at or before it.

    `bid_price`, `bid_size`, `ask_price` and `ask_size` are added to the trade, as far as the
    quotes have them; they are undefined before the first quote. This is `asof_join` on
    `ts_event` by `symbol`, backward; quotes of one time count in the order of arrival.

    Backpressure: reads the input that is behind. Holds trades until the watermark of the
    quotes has passed them, and of the quotes the last one of each symbol and those after it.

    Lateness: a row below the watermark of its own input is late: it goes to `late` or
    `late_right`, and is not joined.

    Delivery: every trade once, in the order of event time. Quotes end under the reason
    `joined`.

    Memory: for each quote that is held 12 bytes and its prices and sizes, 8 bytes each, with
    room for up to four times as many; trades as they came.

    Attributes:
        strict: True if a quote of the trade's own time does not count.
        tolerance: How old a quote may be; null for any age.
        each_side: True to take bid and ask each from the last quote that has it, where a feed
            tells one side at a time; else a side that the last quote lacks is undefined.
        how: `left` keeps trades without a quote, `inner` sends them to `unmatched`.
    """

    strict: bool = False
    tolerance: Duration | None = None
    each_side: bool = False
    how: Literal["left", "inner"] = "left"

    inputs: ClassVar[tuple[str, str]] = ("trades", "quotes")
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "late_right", "unmatched")
    side_outputs: ClassVar[tuple[str, ...]] = ("late", "late_right", "unmatched")
    type_name: ClassVar[str]

    def _join(self, quotes: Schema | None) -> AsofJoin:
        known = [name for name in _COLUMNS if quotes is None or name in quotes]
        carry = known if self.each_side else []
        return AsofJoin(
            columns=known, carry=carry, strict=self.strict, tolerance=self.tolerance, how=self.how
        )

    def join_schemas(self, left: Schema, right: Schema) -> Mapping[str, Schema | None]:
        """Return the columns of trades with those of quotes.

        Raises:
            SchemaError: If the rows of the second input are no quotes.
        """
        missing = [name for name in _PRICES if name not in right]
        if missing:
            msg = f"`trades_with_quotes` needs quotes; {right.name} rows have no `{missing[0]}`"
            raise SchemaError(msg)
        return self._join(right).join_schemas(left, right)

    def required_inputs(
        self, wanted: frozenset[str] | None
    ) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        """Return the columns of trades that are wanted, and those of quotes that are added."""
        return self._join(None).required_inputs(wanted)

    def build(self, context: NodeContext) -> TimeJoinOperator:
        """Make the running half."""
        return self._join(context.schemas[1]).build(context)
