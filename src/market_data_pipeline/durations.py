"""Durations as people write them: `1s`, `500ms`, `5min`; nanoseconds inside."""

from __future__ import annotations

__all__ = (
    "Duration",
    "SignedDuration",
    "duration_ns",
    "format_duration",
    "signed_duration_ns",
)

import re
from datetime import timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from market_data_pipeline.errors import ConfigError

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_PATTERN: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|min|m|h|d)", re.ASCII)
# A window or bound of this length can be added to a time of these centuries within int64.
_LONGEST_NS: Final = 36_525 * 86_400_000_000_000
_LONGEST_TEXT: Final = 60
_WAY_OUT: Final = "write a number and a unit: ns, us, ms, s, min, h or d, as in `500ms`"


def duration_ns(value: str | timedelta) -> int:
    """Return a duration in nanoseconds.

    Args:
        value: Number and unit, one or several: `1s`, `1.5h`, `1h30min`; or a timedelta.

    Raises:
        ConfigError: If the text is no duration, or is finer than a nanosecond; if the
            duration is negative or longer than 100 years.
    """
    if isinstance(value, timedelta):
        whole = value.days * 86_400_000_000 + value.seconds * 1_000_000 + value.microseconds
        total = whole * 1_000
    else:
        total = _text_ns(value.strip())
    if not 0 <= total <= _LONGEST_NS:
        msg = f"a duration must be 0 to {_LONGEST_NS // _UNITS_NS['d']} days, was `{value}`"
        raise ConfigError(msg)
    return total


def signed_duration_ns(value: str | timedelta) -> int:
    """Return a duration that may be negative, as `-5s`, in nanoseconds.

    Raises:
        ConfigError: If it is no duration, as in `duration_ns`.
    """
    if isinstance(value, timedelta):
        return -duration_ns(-value) if value < timedelta() else duration_ns(value)
    text = value.strip()
    return -duration_ns(text[1:]) if text.startswith("-") else duration_ns(text)


def _text_ns(text: str) -> int:
    if text == "0":
        return 0
    total, position = 0, 0
    for found in _PATTERN.finditer(text) if len(text) <= _LONGEST_TEXT else ():
        if found.start() != position:
            break
        number, unit = found.groups()
        integer, _, fraction = number.partition(".")
        total += int(integer) * _UNITS_NS[unit]
        part, rest = divmod(int(fraction or 0) * _UNITS_NS[unit], 10 ** len(fraction))
        if rest:
            msg = f"duration `{text}` is finer than a nanosecond"
            raise ConfigError(msg)
        total += part
        position = found.end()
    if position == 0 or position != len(text):
        msg = f"`{text[:_LONGEST_TEXT]}` is not a duration; {_WAY_OUT}"
        raise ConfigError(msg)
    return total


def format_duration(ns: int) -> str:
    """Return the shortest text that `duration_ns` reads back as `ns`."""
    for unit in ("d", "h", "min", "s", "ms", "us"):
        if ns and ns % _UNITS_NS[unit] == 0:
            return f"{ns // _UNITS_NS[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def _normal(value: object) -> str:
    if isinstance(value, timedelta | str):
        return format_duration(duration_ns(value))
    msg = f"`{value!r}` is not a duration; {_WAY_OUT}"
    raise ValueError(msg)


def _signed(value: object) -> str:
    if isinstance(value, timedelta | str):
        ns = signed_duration_ns(value)
        return f"-{format_duration(-ns)}" if ns < 0 else format_duration(ns)
    return _normal(value)


Duration: TypeAlias = Annotated[
    str | timedelta,
    BeforeValidator(_normal),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(0|(\d+(\.\d+)?(ns|us|ms|s|min|m|h|d))+)$",
            "examples": ["1s", "500ms", "5min"],
        }
    ),
]
"""A setting that is a duration. It is kept in its shortest spelling; see `duration_ns`."""

SignedDuration: TypeAlias = Annotated[
    str | timedelta,
    BeforeValidator(_signed),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^-?(0|(\d+(\.\d+)?(ns|us|ms|s|min|m|h|d))+)$",
            "examples": ["-5s", "0s", "500ms"],
        }
    ),
]
"""The same for a duration that may be negative; see `signed_duration_ns`."""
