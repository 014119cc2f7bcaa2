"""Values as they travel in messages, checked one by one when they are read."""

from __future__ import annotations

__all__ = ("bad", "decimal_of", "decimal_text", "fixed_of", "fixed_text", "int_of", "text_of")

import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from market_data_pipeline.errors import RecordError

_DECIMAL: Final = re.compile(r"(-?)(\d{1,40})(?:\.(\d{1,40}))?", re.ASCII)
_PLACES_MAX: Final = 40
_INT_MAX: Final = 2**63 - 1


def bad(reason: str, what: str) -> NoReturn:
    """Raise the error for a message that cannot be taken.

    Raises:
        RecordError: Always.
    """
    raise RecordError(what, reason=reason)


def text_of(value: Any, place: str) -> str:
    """Return text that can be written down as UTF-8.

    Raises:
        RecordError: If it is none.
    """
    if type(value) is not str:
        bad("type", f"`{place}` must be text, was {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            bad("text", f"`{place}` holds half a character")
    text: str = value
    return text


def int_of(value: Any, place: str, *, low: int = -_INT_MAX - 1, high: int = _INT_MAX) -> int:
    """Return a whole number of 64 bits.

    Raises:
        RecordError: If it is none, or out of range.
    """
    if type(value) is not int:
        bad("type", f"`{place}` must be a whole number, was {type(value).__name__}")
    if not low <= value <= high:
        bad("range", f"`{place}` must lie between {low} and {high}")
    number: int = value
    return number


def fixed_text(value: int, scale: int) -> str:
    """Return a fixed-point number as decimal text with as few digits as say it exactly."""
    sign, digits = ("-", -value) if value < 0 else ("", value)
    whole, part = divmod(digits, 10**scale)
    places = f"{part:0{scale}d}".rstrip("0") if part else ""
    return f"{sign}{whole}.{places}" if places else f"{sign}{whole}"


def fixed_of(value: Any, scale: int, place: str) -> int:
    """Return a fixed-point number from decimal text, exactly.

    Raises:
        RecordError: If it is no decimal number, or does not fit.
    """
    found = _DECIMAL.fullmatch(text_of(value, place))
    if found is None:
        bad("number", f"`{place}` must be a decimal number without an exponent")
    sign, whole, part = found[1], found[2], (found[3] or "").rstrip("0")
    if len(part) > scale:
        bad("range", f"`{place}` must have at most {scale} decimal places, had {len(part)}")
    number = int(whole + part.ljust(scale, "0"))
    number = -number if sign else number
    # The highest of 64 bits stands for "none".
    if not -_INT_MAX <= number < _INT_MAX:
        bad("range", f"`{place}` is too large for a number with {scale} decimal places")
    return number


def decimal_text(value: Decimal, place: str) -> str:
    """Return a decimal as text without an exponent, with the digits it has.

    Raises:
        RecordError: If it is not finite, or has more digits than can be read back.
    """
    if not isinstance(value, Decimal) or not value.is_finite():
        bad("number", f"`{place}` must be a finite decimal, was {value!r}")
    exponent = value.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or exponent < -_PLACES_MAX
        or value.adjusted() >= _PLACES_MAX
        or exponent > _PLACES_MAX
    ):
        bad("range", f"`{place}` must have at most {_PLACES_MAX} digits each side of the point")
    return format(value, "f")


def decimal_of(value: Any, place: str) -> Decimal:
    """Return a decimal from text, exactly.

    Raises:
        RecordError: If it is no decimal number, or too long.
    """
    text = text_of(value, place)
    if _DECIMAL.fullmatch(text) is None:
        bad("number", f"`{place}` must be a decimal number without an exponent")
    return Decimal(text)
