"""The settings of the checks of `quality`, and the columns that each check looks at."""

from __future__ import annotations

__all__ = (
    "Action",
    "ClockSkew",
    "OutOfSequence",
    "Outlier",
    "PriceBand",
    "SettingsOf",
    "Stale",
    "check_fits",
    "columns_needed",
    "columns_of",
    "kernel_settings",
    "sides_of",
    "size_of",
)

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.dataclasses import dataclass
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from market_data_pipeline.durations import Duration, duration_ns
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.records import Flaw, Kind, Schema

Action = Literal["reject", "flag"]

_CONFIG: Final = ConfigDict(extra="forbid")
# Ten thousand times what the median deviation of a normal distribution is multiplied by to
# estimate its standard deviation: 1 / (the inverse of the distribution at 3/4).
_DEVIATIONS: Final = 14_826


def _parts_per_million(percent: float) -> int:
    parts = Decimal(str(percent)) * 10_000
    if parts % 1:
        msg = f"must have at most four decimal places, was {percent}"
        raise ValueError(msg)
    return int(parts)


def _checked_percent(percent: float) -> float:
    _parts_per_million(percent)
    return percent


def _thousandths(threshold: float) -> int:
    thousandths = Decimal(str(threshold)) * 1_000
    if thousandths % 1:
        msg = f"must have at most three decimal places, was {threshold}"
        raise ValueError(msg)
    return int(thousandths)


def _checked_threshold(threshold: float) -> float:
    _thousandths(threshold)
    return threshold


_Percent = Annotated[float, Field(gt=0, le=1_000_000), AfterValidator(_checked_percent)]
_PercentOrNone = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_checked_percent)]
_Threshold = Annotated[float, Field(gt=0, le=1_000), AfterValidator(_checked_threshold)]


@dataclass(frozen=True, config=_CONFIG)
class ClockSkew:
    """Rows that were received before they happened.

    Attributes:
        over: How far `ts_event` may be above `ts_recv`.
        do: What becomes of the row.
    """

    over: Duration = "0s"
    do: Action = "reject"


@dataclass(frozen=True, config=_CONFIG)
class OutOfSequence:
    """Rows whose event time is below the highest of their symbol.

    Attributes:
        over: How far it may be below.
        do: What becomes of the row.
    """

    over: Duration = "0s"
    do: Action = "reject"


@dataclass(frozen=True, config=_CONFIG)
class Stale:
    """Quotes that repeat the last one of their symbol.

    Attributes:
        after: For how long, in event time, a quote may be repeated.
        do: What becomes of the row.
    """

    after: Duration
    do: Action = "reject"


@dataclass(frozen=True, config=_CONFIG)
class PriceBand:
    """Prices far from the last good one of their symbol.

    Attributes:
        percent: How far, in percent of the last price inside the band.
        confirm: The band moves to a new level once so many prices in a row were outside,
            each within `percent` of the one before; 0 for never.
        do: What becomes of the row.
    """

    percent: _Percent
    confirm: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    do: Action = "reject"


@dataclass(frozen=True, config=_CONFIG)
class Outlier:
    """Prices far from the median of the last ones of their symbol.

    Attributes:
        window: How many prices the median is taken of.
        threshold: How far, in standard deviations estimated as 1.4826 times the median
            distance from the median.
        min_percent: How far in percent of the median at least, so that the step of one
            tick after many equal prices is no outlier.
        do: What becomes of the row.
    """

    window: Annotated[int, Field(ge=3, le=1_001)] = 51
    threshold: _Threshold = 6.0
    min_percent: _PercentOrNone = 0.1
    do: Action = "reject"


class SettingsOf:
    """Marks a component's setting that is a mapping: the settings of a check.

    The component then holds the check.

    Args:
        check: The class of the check.
        or_action: Whether an action may stand for a check with that action.
    """

    def __init__(self, check: type[Any], *, or_action: bool) -> None:
        self._check = check
        self._or_action = or_action

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        check = core_schema.nullable_schema(handler.generate_schema(self._check))
        if not self._or_action:
            return check
        # A union would tell of a wrong setting that it should have been an action.
        return core_schema.no_info_before_validator_function(_spelled_out, check)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        if not self._or_action:
            return found
        return {"anyOf": [{"enum": list(get_args(Action))}, *found["anyOf"]]}


def _spelled_out(value: Any) -> Any:
    return {"do": value} if isinstance(value, str) else value


_OF_QUOTES: Final = Flaw.CROSSED | Flaw.LOCKED | Flaw.ONE_SIDED | Flaw.STALE
_OF_PRICES: Final = Flaw.PRICE_BAND | Flaw.OUTLIER
_OF_SYMBOLS: Final = Flaw.OUT_OF_SEQUENCE | Flaw.STALE | Flaw.PRICE_BAND | Flaw.OUTLIER
_BID_ASK: Final = ("bid_price", "ask_price")


def sides_of(schema: Schema) -> tuple[str, ...]:
    """Return the prices that are checked: those of both sides of a quote, or of a trade."""
    if all(name in schema for name in _BID_ASK):
        return _BID_ASK
    return ("price",) if "price" in schema else ()


def columns_needed(schema: Schema, checks: Flaw) -> list[str]:
    """Return the columns that must be there for the checks; of quotes or of trades."""
    sides = sides_of(schema)
    needed: list[str] = []
    if checks & _OF_QUOTES:
        needed += _BID_ASK
    if checks & _OF_PRICES:
        needed += sides or ("price",)
    if checks & Flaw.ZERO_SIZE and not any(size_of(name) in schema for name in sides):
        needed += map(size_of, sides or ("price",))
    if checks & Flaw.CLOCK_SKEW:
        needed.append("ts_recv")
    if checks & _OF_SYMBOLS:
        needed.append("symbol")
    return list(dict.fromkeys(needed))


def check_fits(schema: Schema, checks: Flaw, node: str) -> None:
    """Do nothing if the rows have all columns that the checks look at.

    Raises:
        SchemaError: If one is missing or no fixed-point number, or rows have no time.
    """
    needed = columns_needed(schema, checks)
    check_columns(schema, needed, node)
    for name in needed:
        if name.endswith(("price", "size")) and schema[name].kind is not Kind.FIXED:
            msg = f"`{node}` needs `{name}` as a fixed-point number, was {schema[name]}"
            raise SchemaError(msg, node=node)
    if not schema.time:
        msg = f"`{node}` needs an event time, and {schema.name} rows have none"
        raise SchemaError(msg, node=node)


def columns_of(checks: Flaw) -> frozenset[str]:
    """Return the columns that the checks look at, those of trades and those of quotes."""
    names = {"symbol"} if checks & _OF_SYMBOLS else set[str]()
    if checks & (_OF_QUOTES | _OF_PRICES | Flaw.ZERO_SIZE):
        names.update(_BID_ASK)
    if checks & (_OF_PRICES | Flaw.ZERO_SIZE):
        names.add("price")
    if checks & (Flaw.ZERO_SIZE | Flaw.STALE):
        names.update(map(size_of, (*_BID_ASK, "price")))
    if checks & Flaw.CLOCK_SKEW:
        names.add("ts_recv")
    return frozenset(names)


def kernel_settings(checks: Iterable[object], ttl_ns: int) -> dict[str, int]:
    """Return the settings of checks in whole numbers, as `kernels.quality` takes them.

    Args:
        checks: The checks; those without settings are passed over.
        ttl_ns: How long a symbol is remembered.
    """
    found = {"ttl": ttl_ns}
    for check in checks:
        if isinstance(check, ClockSkew):
            found["skew"] = duration_ns(check.over)
        elif isinstance(check, OutOfSequence):
            found["disorder"] = duration_ns(check.over)
        elif isinstance(check, Stale):
            found["stale"] = duration_ns(check.after)
        elif isinstance(check, PriceBand):
            found |= {"band": _parts_per_million(check.percent), "confirm": check.confirm}
        elif isinstance(check, Outlier):
            found["window"] = check.window
            found["factor"] = _thousandths(check.threshold) * _DEVIATIONS
            found["least"] = _parts_per_million(check.min_percent)
    return found


def size_of(price: str) -> str:
    """Return the name of the size that goes with a price."""
    return price.removesuffix("price") + "size"
