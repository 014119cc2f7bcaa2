"""Reject or flag rows that cannot be right."""

from __future__ import annotations

__all__ = ("Quality",)

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import pyarrow as pa
from pydantic import AfterValidator

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import ConfigError, SchemaError
from market_data_pipeline.operator.quality_checks import (
    Action,
    ClockSkew,
    Outlier,
    OutOfSequence,
    PriceBand,
    SettingsOf,
    Stale,
    check_fits,
    columns_of,
)
from market_data_pipeline.operator.quality_operator import QualityOperator
from market_data_pipeline.operator.quality_rows import RowChecks
from market_data_pipeline.records import Field, Flaw, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_Settings: TypeAlias = Mapping[str, Any]

_NAMES: Final = tuple(str(flaw.name).lower() for flaw in Flaw)
_MASK: Final = Field("quality", Kind.INT)
_REASON: Final = Field("reason", Kind.ARROW, arrow=pa.string())
_DETAIL: Final = Field("detail", Kind.ARROW, arrow=pa.string())


def _checked_ttl(value: Any) -> Any:
    if duration_ns(value) <= 0:
        msg = f"must be positive, was {value}"
        raise ValueError(msg)
    return value


@component("quality")
class Quality:
    """Reject or flag rows that cannot be right.

    Name the checks to make, each with what becomes of a row that fails it: `reject` sends
    it to the output `rejected`, `flag` lets it pass. A check that has settings of its own
    takes them with `do: reject` (the default) or `do: flag`.

    Where some check flags, rows get a column `quality`, whose bits name the checks a row
    failed: 1 crossed, 2 locked, 4 one_sided, 8 zero_size, 16 clock_skew, 32
    out_of_sequence, 64 stale, 128 price_band, 256 outlier (`Flaw` in Python). Rejected rows
    have it always, and besides a `reason`, the first check in this order for which they
    were rejected, and a `detail`, what was found.

    Rows are looked at in order of arrival; what is remembered is remembered by symbol. The
    memory of a check takes in the rows that no other check rejects: a crossed quote that is
    rejected moves no price band. Prices and times are compared exactly.

    Rows that repeat a key are for `dedupe`, missing numbers for `sequence`.

    Backpressure: holds no rows; takes none while a channel behind it is full.

    Lateness: none of its own; rows are looked at in the order in which they arrive, and how
    old one may be says `out_of_sequence`.

    Delivery: what is remembered is saved with a checkpoint.

    Memory: 128 bytes for each symbol seen within `ttl`, with `outlier` 32 bytes more for each
    price of the window; 4 bytes for each symbol of the run.
    Source: outliers by the median and its median deviation, Hampel (1974), "The influence
    curve and its role in robust estimation", with `min_percent` in the place of the
    granularity of Brownlees and Gallo (2006), "Financial econometric analysis at ultra-high
    frequency".

    Attributes:
        crossed: Quotes whose bid is above the ask.
        locked: Quotes whose bid is the ask.
        one_sided: Quotes without a bid or without an ask, or without both.
        zero_size: Trades of size zero or less; quotes with a price of which there is none.
        clock_skew: Rows received before they happened: `ts_event` is above `ts_recv` by more
            than `over`, 0s by default.
        out_of_sequence: Rows whose event time is below the highest of their symbol by more
            than `over`, 0s by default.
        stale: Quotes that repeat their symbol's last one, in price and size, for longer than
            `after` in event time.
        price_band: Prices further than `percent` from their symbol's last price that was not.
            After `confirm` prices in a row outside, each within `percent` of the one before,
            the last of them counts as inside: 10 by default, 0 for never. Each side of a
            quote is held against its own.
        outlier: Prices further than `threshold` (6) standard deviations, and `min_percent`
            (0.1), from the median of the symbol's last `window` (51) prices; the deviation is
            taken as 1.4826 times the median distance from the median. Outliers enter the
            window, so that a new level is taken for one only for half a window. Each side of
            a quote by itself; nothing is an outlier before the window is full.
        ttl: A symbol is forgotten once the watermark has moved on by this much since its last
            row.
    """

    crossed: Action | None = None
    locked: Action | None = None
    one_sided: Action | None = None
    zero_size: Action | None = None
    clock_skew: Annotated[Action | _Settings | None, SettingsOf(ClockSkew, or_action=True)] = None
    out_of_sequence: Annotated[
        Action | _Settings | None, SettingsOf(OutOfSequence, or_action=True)
    ] = None
    stale: Annotated[_Settings | None, SettingsOf(Stale, or_action=False)] = None
    price_band: Annotated[_Settings | None, SettingsOf(PriceBand, or_action=False)] = None
    outlier: Annotated[Action | _Settings | None, SettingsOf(Outlier, or_action=True)] = None
    ttl: Annotated[Duration, AfterValidator(_checked_ttl)] = "1d"

    outputs: ClassVar[tuple[str, ...]] = ("out", "rejected")
    side_outputs: ClassVar[tuple[str, ...]] = ("rejected",)
    type_name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse to check nothing.

        Raises:
            ConfigError: If no check is named.
        """
        if not self.enabled:
            names = ", ".join(f"`{name}`" for name in _NAMES)
            msg = f"`quality` needs at least one check, as in `crossed: reject` (checks: {names})"
            raise ConfigError(msg, parameter="crossed")

    @property
    def enabled(self) -> Flaw:
        """The checks that are made."""
        return _flaws(name for name in _NAMES if getattr(self, name) is not None)

    @property
    def rejecting(self) -> Flaw:
        """The checks whose rows are rejected."""
        checks = ((name, getattr(self, name)) for name in _NAMES)
        return _flaws(name for name, check in checks if getattr(check, "do", check) == "reject")

    def output_schemas(self, schema: Schema) -> Mapping[str, Schema | None]:
        """Return the columns as they come, and those of flags and reasons.

        Raises:
            SchemaError: If a column that is looked at is not there, or one that is added
                would replace another.
        """
        check_fits(schema, self.enabled, "quality")
        taken = [field.name for field in (_REASON, _DETAIL) if field.name in schema]
        if _MASK.name in schema and schema[_MASK.name] != _MASK:
            taken.append(_MASK.name)
        if taken:
            msg = f"`quality` adds a column `{taken[0]}`, and there is one; rename it before"
            raise SchemaError(msg, node="quality")
        flagged = schema.having(_MASK) if self.enabled != self.rejecting else schema
        return {"out": flagged, "rejected": schema.having(_MASK, _REASON, _DETAIL)}

    def required_columns(self, wanted: frozenset[str] | None) -> frozenset[str] | None:
        """Return the columns wanted and those looked at."""
        return None if wanted is None else wanted | columns_of(self.enabled)

    def build(self, context: NodeContext) -> QualityOperator:
        """Make the running half."""
        return QualityOperator(context, self.row_checks(context.symbols), self.enabled)

    def row_checks(self, symbols: SymbolTable) -> RowChecks:
        """Return the checks by themselves, for who only wants to know.

        Args:
            symbols: The symbol table of the run.
        """
        return RowChecks(
            [getattr(self, name) for name in _NAMES],
            enabled=self.enabled,
            rejecting=self.rejecting,
            ttl_ns=duration_ns(self.ttl),
            symbols=symbols,
        )


def _flaws(names: Iterable[str]) -> Flaw:
    found = Flaw(0)
    for name in names:
        found |= Flaw[name.upper()]
    return found
