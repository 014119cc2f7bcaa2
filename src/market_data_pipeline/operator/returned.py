"""What a user's function returned, as columns; exactly, or an error that names the row."""

from __future__ import annotations

__all__ = ("BadValueError", "column_of", "field_for")

from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Column
from market_data_pipeline.records import DEFAULT_SCALE, UNDEFINED, Field, Kind
from market_data_pipeline.symbols import SymbolTable

_EXACT: Final = Context(prec=80)
_MOST_DIGITS: Final = 20
_LOWEST: Final = -UNDEFINED - 1
# Arrow takes decimals over faster than Python can multiply them; 18 places hold the
# product of two values with 9.
_WIDE_PLACES: Final = 18
_WIDE: Final = pa.decimal128(38, _WIDE_PLACES)


class BadValueError(Exception):
    """Raised for a value that its column cannot hold.

    Attributes:
        position: Which of the values it is.
        reason: What is wrong with it.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


def field_for(name: str, value: Any) -> Field | None:
    """Return the field for a column whose first value is this; None if there is none."""
    match value:
        case bool() | np.bool_():
            return Field(name, Kind.BOOL)
        case int() | np.integer():
            return Field(name, Kind.INT)
        case float():
            return Field(name, Kind.FLOAT)
        case Decimal():
            return Field(name, Kind.FIXED, DEFAULT_SCALE)
        case str():
            return Field(name, Kind.ARROW, arrow=pa.string())
    return None


def column_of(field: Field, values: Sequence[Any], symbols: SymbolTable) -> Column:
    """Return values as a column.

    Raises:
        BadValueError: If a value is of another type than the column, or out of range.
    """
    if field.kind is Kind.FIXED:
        return _fixed(field, values)
    if field.kind is Kind.ARROW:
        return _arrow(field, values)
    _check_types(field, values)
    match field.kind:
        case Kind.SYMBOL:
            return symbols.encode(values)
        case Kind.CHAR:
            return _letters(values)
        case Kind.FLOAT:
            return np.array([np.nan if v is None else v for v in values], np.float64)
        case Kind.BOOL:
            return np.array(values, np.bool_)
    try:
        return np.array([UNDEFINED if v is None else v for v in values], np.int64)
    except OverflowError:
        place = _first(values, lambda v: v is not None and not -(2**63) <= v < 2**63)
        raise BadValueError(place, f"is out of range: {values[place]}") from None


_TYPES: Final[dict[Kind, tuple[tuple[type, ...], str]]] = {
    Kind.SYMBOL: ((str,), "text"),
    Kind.CHAR: ((str,), "one letter"),
    Kind.FLOAT: ((float, int, np.floating, np.integer, type(None)), "a float"),
    Kind.BOOL: ((bool, np.bool_), "True or False"),
    Kind.INT: ((int, np.integer, type(None)), "an int"),
    Kind.TIME: ((int, np.integer, type(None)), "an int of nanoseconds"),
}


def _check_types(field: Field, values: Sequence[Any]) -> None:
    allowed, word = _TYPES[field.kind]

    def fits(kind: type) -> bool:
        return issubclass(kind, allowed) and (kind is not bool or bool in allowed)

    if all(fits(kind) for kind in set(map(type, values))):
        return
    place = _first(values, lambda v: not fits(type(v)))
    raise BadValueError(place, f"must be {word}, was {_shown(values[place])}")


def _first(values: Sequence[Any], test: Callable[[Any], bool]) -> int:
    return next(i for i, value in enumerate(values) if test(value))


def _shown(value: Any) -> str:
    return f"{value!r:.80} ({type(value).__name__})"


def _letters(values: Sequence[str]) -> npt.NDArray[np.uint8]:
    joined = "".join(values).encode("latin-1", "replace")
    wrong = [i for i, v in enumerate(values) if len(v) != 1 or ord(v) > 255]
    if wrong:
        raise BadValueError(wrong[0], f"must be one letter, was {_shown(values[wrong[0]])}")
    return np.frombuffer(joined, np.uint8)


def _arrow(field: Field, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_string(field.arrow):
        kinds = set(map(type, values))
        if not kinds <= {str, type(None)}:
            place = _first(values, lambda v: not isinstance(v, str | None))
            raise BadValueError(place, f"must be text, was {_shown(values[place])}")
    try:
        return pa.array(values, field.arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as err:
        reason = str(err)
    for place, value in enumerate(values):
        try:
            pa.array([value], field.arrow)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            raise BadValueError(place, f"must be {field.arrow}, was {_shown(value)}") from None
    raise BadValueError(0, reason)


def _fixed(field: Field, values: Sequence[Any]) -> npt.NDArray[np.int64]:
    kinds = set(map(type, values))
    if kinds <= {Decimal, int} and len(values) >= 16 and field.scale <= _WIDE_PLACES:
        from market_data_pipeline.kernels.narrow_decimals import narrow_decimals

        try:
            wide = pa.array(values, _WIDE)
        except (pa.ArrowInvalid, OverflowError):
            wide = None  # more places or digits than fit; one by one, with rounding
        if wide is not None:
            words = np.frombuffer(wide.buffers()[1], np.int64)
            out = np.empty(len(values), np.int64)
            if narrow_decimals(words, 10 ** (_WIDE_PLACES - field.scale), out) < 0:
                return out
    return np.fromiter(
        (_fixed_value(place, value, field.scale) for place, value in enumerate(values)),
        np.int64,
        len(values),
    )


def _fixed_value(place: int, value: Any, scale: int) -> int:
    if value is None:
        return UNDEFINED
    if isinstance(value, float):
        reason = (
            f"must be a Decimal or an int, was the float {value!r}, which is not exact; "
            "compute with Decimal, or write Decimal(str(x))"
        )
        raise BadValueError(place, reason)
    if isinstance(value, bool) or not isinstance(value, Decimal | int | np.integer):
        raise BadValueError(place, f"must be a Decimal or an int, was {_shown(value)}")
    number = value if isinstance(value, Decimal) else Decimal(int(value))
    if not number.is_finite():
        raise BadValueError(place, f"is no number that can be held: {value}")
    scaled = UNDEFINED
    if number.adjusted() < _MOST_DIGITS:  # else it need not even be computed
        scaled = int(number.scaleb(scale, _EXACT).to_integral_value(context=_EXACT))
    if not _LOWEST <= scaled < UNDEFINED:
        raise BadValueError(place, f"is out of range at scale {scale}: {value!s:.80}")
    return scaled
