"""What an activity bar is measured by, as the kernels want it."""

from __future__ import annotations

__all__ = ("Adaptive", "Measure", "TickSize", "adaptive_of", "check_settings", "measure_of")

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from market_data_pipeline.errors import ConfigError, nearest
from market_data_pipeline.operator.bar_rows import MEASURES_SIZE, TICK_RULE
from market_data_pipeline.operator.bar_spec import BarKind, BarSpec
from market_data_pipeline.records import Schema

_VALUE: Final = frozenset({BarKind.VALUE, BarKind.VALUE_IMBALANCE, BarKind.VALUE_RUNS})
_PRICE: Final = frozenset({BarKind.RANGE, BarKind.RENKO})
_ONLY_TIME: Final = frozenset({BarKind.TIME})
_ACTIVITY: Final = frozenset(BarKind) - _ONLY_TIME
_GOES_WITH: Final[dict[str, frozenset[BarKind]]] = {
    "price": frozenset(BarKind),
    "parallelism": frozenset(BarKind),
    "adaptive": TICK_RULE,
    "split": frozenset({BarKind.VOLUME}),
    "partial": _ACTIVITY,
    "tick_size": frozenset({BarKind.RENKO}),
}
_DECIMAL: Final = re.compile(r"^\d{1,18}(\.\d{1,18})?$", re.ASCII)
_TICK_WEIGHT: Final = 1_000_000_000
_MILLION: Final = 1_000_000
_MOST_TICKS: Final = 10**12
_MOST_SPAN: Final = 10**9
_BOUND_FACTOR: Final = 10
_SIZE_SCALE_MAX: Final = 9


def _tick_size(value: object) -> str:
    text = str(value).strip()
    if isinstance(value, str | int) and not isinstance(value, bool) and _DECIMAL.fullmatch(text):
        number = Decimal(text)
        if number > 0:
            return f"{number.normalize():f}"
    msg = f"a smallest price step is a positive decimal number in quotes, as '0.01', was {value!r}"
    raise ValueError(msg)


TickSize: TypeAlias = Annotated[
    str,
    BeforeValidator(_tick_size),
    WithJsonSchema({"type": "string", "pattern": _DECIMAL.pattern, "examples": ["0.01"]}),
]
"""A setting that is the smallest step of a price, as an exact decimal."""


def check_settings(spec: BarSpec, given: Mapping[str, Any]) -> None:
    """Refuse settings that do not go with a kind of bars.

    Args:
        spec: The kind of bars.
        given: The settings that are not what they are by default.

    Raises:
        ConfigError: If there is one; says with which kind it goes.
    """
    price = given.get("price")
    if spec.price is not None and price not in {None, spec.price}:
        msg = f"`price` is `{price}`, but `{spec.text}` says `{spec.price}`"
        raise ConfigError(msg, parameter="price")
    for name in given:
        if name == "every":
            continue
        kinds = _GOES_WITH.get(name, _ONLY_TIME)
        if spec.kind not in kinds:
            msg = f"`{name}` does not go with `{spec.text}`, only with {_in_words(kinds)}"
            raise ConfigError(msg, parameter=name)
    adaptive = given.get("adaptive")
    if adaptive is not None:
        adaptive_of(adaptive)


def _in_words(kinds: frozenset[BarKind]) -> str:
    if kinds == _ONLY_TIME:
        return "bars of time"
    if kinds == _ACTIVITY:
        return "bars that no span of time closes"
    return ", ".join(f"`{kind}`" for kind in BarKind if kind in kinds)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """How the threshold of imbalance and run bars follows what is expected.

    Attributes:
        span: Bars that the moving averages look back: each new bar weighs 2 / (span + 1).
        ticks: Ticks expected in the first bar.
        ticks_min: Fewest ticks ever expected.
        ticks_max: Most ticks ever expected.
    """

    span: int
    ticks: int
    ticks_min: int
    ticks_max: int


def adaptive_of(settings: Mapping[str, int]) -> Adaptive:
    """Return the setting `adaptive`.

    Raises:
        ConfigError: If it lacks `span` or `ticks`, or holds what makes no sense.
    """
    known = ("span", "ticks", "ticks_min", "ticks_max")
    for name in settings:
        if name not in known:
            msg = f"`adaptive` has no `{name}`{nearest(name, known)} ({', '.join(known)})"
            raise ConfigError(msg, parameter="adaptive")
    if "span" not in settings or "ticks" not in settings:
        msg = "`adaptive` needs `span` and `ticks`, as in `{span: 20, ticks: 1000}`"
        raise ConfigError(msg, parameter="adaptive")
    ticks = settings["ticks"]
    found = Adaptive(
        settings["span"],
        ticks,
        settings.get("ticks_min", max(1, ticks // _BOUND_FACTOR)),
        settings.get("ticks_max", ticks * _BOUND_FACTOR),
    )
    if not 1 <= found.span <= _MOST_SPAN:
        msg = f"`span` of `adaptive` must be 1 to {_MOST_SPAN}, was {found.span}"
        raise ConfigError(msg, parameter="adaptive")
    if not 1 <= found.ticks_min <= ticks <= found.ticks_max <= _MOST_TICKS:
        msg = (
            f"`adaptive` needs 1 <= ticks_min <= ticks <= ticks_max <= {_MOST_TICKS}, was "
            f"{found.ticks_min}, {ticks}, {found.ticks_max}"
        )
        raise ConfigError(msg, parameter="adaptive")
    return found


@dataclass(frozen=True, slots=True)
class Measure:
    """Integers for the kernels.

    Attributes:
        threshold: In units of what is summed.
        unit: How many of these make one unit of an average.
        first_average: What a tick is expected to add at first, in units of an average.
    """

    threshold: int
    unit: int = 1
    first_average: int = 0


def measure_of(
    spec: BarSpec, schema: Schema, tick_size: Decimal | None, adaptive: Adaptive | None
) -> Measure:
    """Return what a bar is measured by, for rows with given scales.

    Args:
        spec: What was asked for.
        schema: Of `BarRows`.
        tick_size: The smallest price step, if it is known.
        adaptive: How the threshold moves, or None.

    Raises:
        ConfigError: If the threshold is finer or larger than the numbers it is compared to.
    """
    price_scale, size_scale = schema["price"].scale, schema["size"].scale
    amount = spec.amount
    unit = 1
    if spec.kind in _PRICE:
        if spec.in_increments:
            if tick_size is None:
                msg = (
                    f"`{spec.text}` counts smallest price steps; say with `tick_size` how large "
                    f"one is, or write the height as a price, as `1renko`"
                )
                raise ConfigError(msg, parameter="tick_size")
            amount *= tick_size
        scale, what = price_scale, "prices"
    elif spec.kind in _VALUE:
        scale, what, unit = price_scale + size_scale, "values", 10**size_scale
    elif spec.kind in MEASURES_SIZE:
        scale, what = size_scale, "sizes"
    else:
        scale, what = 0, "ticks"
    threshold = Fraction(amount) * 10**scale
    if spec.kind in TICK_RULE and spec.kind not in MEASURES_SIZE:
        threshold *= _TICK_WEIGHT
    if threshold.denominator != 1:
        msg = f"`{spec.text}` is finer than the {what}, which have {scale} decimal places"
        raise ConfigError(msg, parameter="every")
    most = 2**126 if spec.kind in TICK_RULE or spec.kind in _VALUE else 2**62
    if threshold > most:
        msg = f"`{spec.text}` is more than a sum of {what} can reach"
        raise ConfigError(msg, parameter="every")
    if adaptive is None:
        return Measure(int(threshold))
    if unit > 10**_SIZE_SCALE_MAX:
        msg = (
            f"`adaptive` takes sizes of at most {_SIZE_SCALE_MAX} decimal places, "
            f"they have {size_scale}"
        )
        raise ConfigError(msg, parameter="adaptive")
    # Python rounds a fraction half to even, as the kernels do.
    average = round(threshold / (adaptive.ticks * unit))
    if average >= 2**62:
        msg = f"`{spec.text}` in {adaptive.ticks} ticks is more than a tick can add"
        raise ConfigError(msg, parameter="adaptive")
    return Measure(int(threshold), unit, average)
