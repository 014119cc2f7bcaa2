"""How bars are named: `1s`, `500tick`, `1e6val`, `AAPL.XNAS-5-MINUTE-LAST`."""

from __future__ import annotations

__all__ = ("BarKind", "BarSpec", "Every", "Price", "bar_spec")

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from market_data_pipeline.durations import duration_ns, format_duration
from market_data_pipeline.errors import ConfigError, nearest

Price: TypeAlias = Literal["last", "bid", "ask", "mid"]
"""The price that bars are made of: of trades, of a side of quotes, or between the sides."""


class BarKind(StrEnum):
    """What closes a bar."""

    TIME = "time"
    TICK = "tick"
    VOLUME = "vol"
    VALUE = "val"
    TICK_IMBALANCE = "tick_imbalance"
    VOLUME_IMBALANCE = "vol_imbalance"
    VALUE_IMBALANCE = "val_imbalance"
    TICK_RUNS = "tick_run"
    VOLUME_RUNS = "vol_run"
    VALUE_RUNS = "val_run"
    RANGE = "range"
    RENKO = "renko"


@dataclass(frozen=True, slots=True)
class BarSpec:
    """What `every` says.

    Attributes:
        text: Its shortest spelling.
        kind: What closes a bar.
        amount: The threshold: ticks, size, value or price; nanoseconds of a time bar.
        instrument: The only symbol that bars are made of, with its venue, or None for all.
        price: The price if the text says which.
        in_increments: True if `amount` counts smallest price steps and no units of price.
    """

    text: str
    kind: BarKind
    amount: Decimal
    instrument: str | None = None
    price: Price | None = None
    in_increments: bool = False

    @property
    def width_ns(self) -> int:
        """The width of a time bar, nanoseconds."""
        return int(self.amount)


_PLURALS: Final = {
    "ticks": BarKind.TICK,
    "volume": BarKind.VOLUME,
    "value": BarKind.VALUE,
    "volume_imbalance": BarKind.VOLUME_IMBALANCE,
    "value_imbalance": BarKind.VALUE_IMBALANCE,
    "tick_runs": BarKind.TICK_RUNS,
    "vol_runs": BarKind.VOLUME_RUNS,
    "val_runs": BarKind.VALUE_RUNS,
    "volume_run": BarKind.VOLUME_RUNS,
    "volume_runs": BarKind.VOLUME_RUNS,
    "value_run": BarKind.VALUE_RUNS,
    "value_runs": BarKind.VALUE_RUNS,
}
_UNITS: Final[dict[str, BarKind]] = {
    **{kind.value: kind for kind in BarKind if kind is not BarKind.TIME},
    **_PLURALS,
}
_TIME_STEPS: Final = {
    "MILLISECOND": "ms",
    "SECOND": "s",
    "MINUTE": "min",
    "HOUR": "h",
    "DAY": "d",
}
_AGGREGATIONS: Final[dict[str, BarKind]] = {
    "TICK": BarKind.TICK,
    "VOLUME": BarKind.VOLUME,
    "VALUE": BarKind.VALUE,
    "TICK_IMBALANCE": BarKind.TICK_IMBALANCE,
    "VOLUME_IMBALANCE": BarKind.VOLUME_IMBALANCE,
    "VALUE_IMBALANCE": BarKind.VALUE_IMBALANCE,
    "TICK_RUNS": BarKind.TICK_RUNS,
    "VOLUME_RUNS": BarKind.VOLUME_RUNS,
    "VALUE_RUNS": BarKind.VALUE_RUNS,
    "RENKO": BarKind.RENKO,
}
_PRICES: Final[dict[str, Price]] = {"LAST": "last", "BID": "bid", "ASK": "ask", "MID": "mid"}
_WHOLE: Final = frozenset({BarKind.TICK, BarKind.TICK_IMBALANCE, BarKind.TICK_RUNS})
_DIGITS: Final = 18
_NUMBER: Final = rf"\d{{1,{_DIGITS}}}(?:\.\d{{1,{_DIGITS}}})?(?:e-?\d{{1,2}})?"
_AMOUNT: Final = re.compile(rf"({_NUMBER})\s*([a-z_]*)", re.ASCII)
_ANY_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?[a-z_]+", re.ASCII)
_NUMBER_FIRST: Final = re.compile(r"[\d.]+(?:e-?\d+)?\s*(?:[A-Za-z_]*)$", re.ASCII)
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|min|m|h|d))+", re.ASCII)
_LONG: Final = re.compile(
    r"(?P<instrument>[^\s@]+?)-(?P<step>[^-@\s]+)-(?P<aggregation>[A-Za-z_]+)-(?P<price>[A-Za-z]+)"
    r"(?:-(?P<source>INTERNAL|EXTERNAL))?(?P<made_of>@.*)?",
    re.ASCII,
)
_MOST_TEXT: Final = 200
_MANY_ZEROS: Final = 6
_EXAMPLES: Final = "as `1s`, `500tick`, `10000vol`, `1e6val` or `AAPL.XNAS-5-MINUTE-LAST`"


def bar_spec(value: str | timedelta) -> BarSpec:
    """Return what a text says of bars.

    Three spellings are known: a duration (`1s`, `1h30min`); a number and what is counted
    (`500tick`, `10000vol`, `1e6val`, `100tick_imbalance`, `1e6val_run`, `0.5range`,
    `1renko`); and NautilusTrader's `INSTRUMENT-STEP-AGGREGATION-PRICE`, with `-INTERNAL` or
    without.

    Args:
        value: The text, or a timedelta for bars of time.

    Raises:
        ConfigError: If it is none of them; names the nearest that is.
    """
    if isinstance(value, timedelta):
        return _time_spec(value)
    text = value.strip()
    if len(text) > _MOST_TEXT:
        msg = f"`{text[:_MOST_TEXT]}...` names no bars; write it {_EXAMPLES}"
        raise ConfigError(msg, parameter="every")
    if _DURATION.fullmatch(text) or text == "0":
        return _time_spec(text)
    if _NUMBER_FIRST.match(text):
        return _amount_spec(text)
    found = _LONG.fullmatch(text)
    if found is None:
        msg = f"`{text}` names no bars; write a number and a unit, {_EXAMPLES}"
        raise ConfigError(msg, parameter="every")
    return _long_spec(text, found)


def _time_spec(value: str | timedelta) -> BarSpec:
    ns = duration_ns(value)
    return BarSpec(format_duration(ns), BarKind.TIME, Decimal(ns))


def _amount_spec(text: str) -> BarSpec:
    found = _AMOUNT.fullmatch(text.lower())
    if found is None:
        if _ANY_NUMBER.fullmatch(text.lower().replace(" ", "")):
            raise _too_long(text)
        msg = f"`{text}` does not begin with a number such as `500`, `0.5` or `1e6`, {_EXAMPLES}"
        raise ConfigError(msg, parameter="every")
    number, unit = found.groups()
    kind = _UNITS.get(unit)
    if kind is None:
        if unit:
            units = [*_UNITS, *(() if "e" in number else ("ms", "s", "min", "h", "d"))]
            close = nearest(number + unit, [number + known for known in units])
            msg = f"`{text}` counts `{unit}`, which no bar does{close} (write it {_EXAMPLES})"
        else:
            msg = (
                f"`{text}` does not say of what; did you mean `{text}tick`? "
                f"Write a number and a unit, {_EXAMPLES}"
            )
        raise ConfigError(msg, parameter="every")
    amount = _checked_amount(text, kind, Decimal(number))
    return BarSpec(f"{_shortest(amount)}{kind}", kind, amount)


def _too_long(text: str) -> ConfigError:
    msg = (
        f"`{text}` has a number that no price or size can have, of more than {_DIGITS} digits "
        f"before or {_DIGITS} after the point; write it {_EXAMPLES}"
    )
    return ConfigError(msg, parameter="every")


def _checked_amount(text: str, kind: BarKind, amount: Decimal) -> Decimal:
    if amount <= 0:
        msg = f"a bar must take more than nothing, was `{text}`"
        raise ConfigError(msg, parameter="every")
    if kind in _WHOLE and amount != amount.to_integral_value():
        msg = f"ticks are counted in whole numbers, was `{text}`"
        raise ConfigError(msg, parameter="every")
    if len(_shortest(amount).partition(".")[2]) > _DIGITS:
        raise _too_long(text)
    return amount


def _shortest(amount: Decimal) -> str:
    """Return a number without an exponent, but `1e6` for a million."""
    text = f"{amount:f}"
    if "." in text:
        return text.rstrip("0").rstrip(".")
    digits = text.rstrip("0")
    zeros = len(text) - len(digits)
    return f"{digits}e{zeros}" if zeros >= _MANY_ZEROS else text


def _long_spec(text: str, found: re.Match[str]) -> BarSpec:
    instrument, step, aggregation, price = found.group(
        "instrument", "step", "aggregation", "price"
    )
    if found["source"] == "EXTERNAL" or found["made_of"]:
        way_out = (
            "make bars of bars with a second node that reads the first"
            if found["made_of"]
            else "bars that the venue made are read by a source; leave out `-EXTERNAL`"
        )
        msg = f"`{text}` asks for bars that are not made of ticks here; {way_out}"
        raise ConfigError(msg, parameter="every")
    if price not in _PRICES:
        close = nearest(price.upper(), _PRICES)
        msg = f"`{price}` of `{text}` is no price to make bars of{close} (LAST, BID, ASK or MID)"
        raise ConfigError(msg, parameter="every")
    if not step.isascii() or not step.isdigit() or int(step) == 0 or len(step) > len("1" * 18):
        msg = f"`{step}` of `{text}` must be a whole number above 0"
        raise ConfigError(msg, parameter="every")
    plain = f"{instrument}-{int(step)}-{aggregation}-{price}"
    unit = _TIME_STEPS.get(aggregation)
    if unit is not None:
        short = _time_spec(f"{int(step)}{unit}")
    elif aggregation in _AGGREGATIONS:
        kind = _AGGREGATIONS[aggregation]
        short = BarSpec("", kind, Decimal(step), in_increments=kind is BarKind.RENKO)
    else:
        known = (*_TIME_STEPS, *_AGGREGATIONS)
        close = nearest(aggregation.upper(), known)
        msg = f"`{aggregation}` of `{text}` is no kind of bars{close} ({', '.join(known)})"
        raise ConfigError(msg, parameter="every")
    return replace(short, text=plain, instrument=instrument, price=_PRICES[price])


def _normal(value: object) -> str:
    if isinstance(value, timedelta | str):
        return bar_spec(value).text
    msg = f"`{value!r}` names no bars; write it {_EXAMPLES}"
    raise ValueError(msg)


_UNIT_PATTERN: Final = "|".join(sorted(_UNITS, key=len, reverse=True))

Every: TypeAlias = Annotated[
    str | timedelta,
    BeforeValidator(_normal),
    WithJsonSchema(
        {
            "type": "string",
            "anyOf": [
                {"pattern": r"^(0|(\d+(\.\d+)?(ns|us|ms|s|min|m|h|d))+)$"},
                {"pattern": rf"^\d+(\.\d+)?(e\d+)?({_UNIT_PATTERN})$"},
                {
                    "pattern": rf"^.+-\d+-({'|'.join((*_TIME_STEPS, *_AGGREGATIONS))})"
                    rf"-({'|'.join(_PRICES)})(-INTERNAL)?$"
                },
            ],
            "examples": ["1s", "5min", "500tick", "1e6val", "AAPL.XNAS-5-MINUTE-LAST"],
        }
    ),
]
"""A setting that says what closes a bar. It is kept in its shortest spelling; see `bar_spec`."""
