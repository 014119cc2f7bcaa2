"""Operations on exact numbers as columns: the arithmetic behind expressions."""

from __future__ import annotations

__all__ = (
    "Evaluate",
    "Term",
    "absolute",
    "aligned",
    "combine",
    "compare_scaled",
    "divide",
    "multiply",
)

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ArithmeticOverflowError
from market_data_pipeline.records import DEFAULT_SCALE, UNDEFINED, Kind

Evaluate = Callable[[Batch], Any]
Int64s = npt.NDArray[np.int64]
_LIMIT: Final = UNDEFINED


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an expression, over the columns of one schema.

    Attributes:
        kind: What it gives; `ARROW` for text.
        scale: Decimal places of exact numbers.
        evaluate: Gives (n,) values for n rows, or (1,) for the same value in each.
        constant: The value of a literal, or None.
        text: How it was written, for messages.
    """

    kind: Kind
    scale: int
    evaluate: Evaluate
    text: str
    constant: Any = None

    @property
    def exact(self) -> bool:
        """True for numbers that are no floats."""
        return self.kind in {Kind.FIXED, Kind.INT}

    @property
    def nullable(self) -> bool:
        """True if a value may be `UNDEFINED`."""
        return self.constant is None and self.kind in {Kind.FIXED, Kind.TIME}


def constant_values(value: int) -> Evaluate:
    """Return what gives the same integer for each row."""
    array = np.array([value], np.int64)
    return lambda batch: array  # noqa: ARG005


def places(value: Fraction) -> int | None:
    """Return the decimal places of a number, None if there is no end to them."""
    for count in range(19):
        if value.denominator == 1:
            return count
        value *= 10
    return None


def aligned(term: Term, scale: int) -> Evaluate:
    """Return the values of an exact number at a scale that is not less than its own.

    Raises:
        ValueError: If it is a literal that has more places, or is out of range.
    """
    if term.constant is not None:
        value = Fraction(term.constant) * 10**scale
        if value.denominator != 1:
            msg = f"`{term.text}` is finer than 1e-{scale}"
            raise ValueError(msg)
        if abs(value) >= _LIMIT:
            msg = f"`{term.text}` is out of range at scale {scale}"
            raise ValueError(msg)
        return constant_values(int(value))
    if scale == term.scale:
        return term.evaluate
    return _rescaled(term.text, term.evaluate, 10 ** (scale - term.scale), 1)


def combine(a: Term, b: Term, operation: str, text: str) -> Term:
    """Return the sum, difference or remainder of exact numbers.

    Raises:
        ValueError: If a literal does not fit the scale.
    """
    scale = max(a.scale, b.scale)
    left, right = aligned(a, scale), aligned(b, scale)
    function = {"+": _add, "-": _subtract, "%": _remainder}[operation]
    nullable = a.nullable or b.nullable or (operation == "%" and scale > 0)

    def evaluate(batch: Batch) -> Any:
        x, y = left(batch), right(batch)
        undefined = (x == UNDEFINED) | (y == UNDEFINED) if a.nullable or b.nullable else None
        return function(x, y, undefined, batch, text)

    kind = Kind.FIXED if nullable or scale else Kind.INT
    return Term(kind, scale, evaluate, text)


def absolute(term: Term, text: str) -> Term:
    """Return the magnitude of an exact number."""

    def evaluate(batch: Batch) -> Any:
        values = term.evaluate(batch)
        undefined = values == UNDEFINED if term.nullable else None
        out = np.abs(values)
        # The lowest int64 has no magnitude in int64: NumPy gives it back as it is.
        return _settled(out, out < 0, undefined, batch, text)

    return Term(term.kind, term.scale, evaluate, text)


def multiply(a: Term, b: Term, text: str) -> Term:
    """Return the product of exact numbers, rounded half to even at the larger scale.

    Raises:
        ValueError: If a literal is out of range.
    """
    if b.constant is None and a.constant is not None:
        a, b = b, a
    if b.constant is None:
        scale = max(a.scale, b.scale)
        divisor = 10 ** (a.scale + b.scale - scale)
        return _term(scale, _ternary(a.evaluate, b.evaluate, constant_values(divisor), text), text)
    return _multiplied(a, Fraction(b.constant), text)


def divide(a: Term, b: Term, text: str) -> Term:
    """Return the quotient of exact numbers, rounded half to even at the larger scale.

    Raises:
        ValueError: If a literal is zero or out of range, or the scales are too far apart.
    """
    if b.constant is not None:
        if b.constant == 0:
            msg = f"`{text}` divides by zero"
            raise ValueError(msg)
        return _multiplied(a, 1 / Fraction(b.constant), text, least=DEFAULT_SCALE)
    if a.constant is None:
        numerator, own = a.evaluate, a.scale
    else:
        own_places = places(Fraction(a.constant))
        if own_places is None:
            msg = f"`{a.text}` has no end to its decimals"
            raise ValueError(msg)
        numerator, own = aligned(a, own_places), own_places
    scale = max(a.scale, b.scale, 0 if a.scale or b.scale else DEFAULT_SCALE)
    shift = scale + b.scale - own
    if not 0 <= shift <= 18:
        msg = f"`{text}` has operands of scales too far apart"
        raise ValueError(msg)
    values = _ternary(numerator, constant_values(10**shift), b.evaluate, text)
    return _term(scale, values, text)


def compare_scaled(x: Int64s, y: Int64s, factor: int, operation: str) -> Any:
    """Return `x * factor` compared with `y`, without the product that might overflow."""
    whole, rest = np.divmod(y, factor)
    if operation in {"==", "!="}:
        equal = (x == whole) & (rest == 0)
        return equal if operation == "==" else ~equal
    if operation in {"<=", ">"}:
        return x <= whole if operation == "<=" else x > whole
    # x * factor < y: x is below y / factor, rounded up.
    below = (x < whole) | ((x == whole) & (rest > 0))
    return below if operation == "<" else ~below


def _multiplied(a: Term, factor: Fraction, text: str, least: int = 0) -> Term:
    scale = a.scale
    if scale == 0 and (least or factor.denominator != 1):
        scale = DEFAULT_SCALE
    numerator = factor.numerator * 10 ** (scale - a.scale)
    if abs(numerator) >= _LIMIT or factor.denominator >= _LIMIT:
        msg = f"`{text}` has a literal that is out of range"
        raise ValueError(msg)
    return _term(scale, _rescaled(text, a.evaluate, numerator, factor.denominator), text)


def _term(scale: int, values: Evaluate, text: str) -> Term:
    return Term(Kind.FIXED if scale else Kind.INT, scale, values, text)


def _rescaled(text: str, values: Evaluate, numerator: int, denominator: int) -> Evaluate:
    return _ternary(values, constant_values(numerator), constant_values(denominator), text)


def _ternary(a: Evaluate, b: Evaluate, c: Evaluate, text: str) -> Evaluate:
    """Return what gives `a * b / c` for each row."""
    from market_data_pipeline.kernels.muldiv import multiply_divide

    def evaluate(batch: Batch) -> Int64s:
        x, y, z = (np.ascontiguousarray(part(batch), np.int64) for part in (a, b, c))
        out = np.empty(max(len(x), len(y), len(z)), np.int64)
        bad = multiply_divide(x, y, z, out)
        if bad >= 0:
            raise _overflow(text, batch, bad)
        return out

    return evaluate


def _overflow(text: str, batch: Batch, row: int) -> ArithmeticOverflowError:
    time = batch.schema.time
    place = f" in the row of {time} {batch.times[row]}" if time else ""
    return ArithmeticOverflowError(f"`{text}` is out of range{place}")


def _settled(out: Any, wrong: Any, undefined: Any, batch: Batch, text: str) -> Any:
    # The value that stands for "none" is out of range as a result, too.
    wrong = wrong | (out == UNDEFINED)
    if undefined is not None:
        wrong &= ~undefined
    if wrong.any():
        raise _overflow(text, batch, int(np.argmax(wrong)))
    return out if undefined is None else np.where(undefined, UNDEFINED, out)


def _add(x: Int64s, y: Int64s, undefined: Any, batch: Batch, text: str) -> Any:
    out = x + y
    return _settled(out, ((x ^ out) & (y ^ out)) < 0, undefined, batch, text)


def _subtract(x: Int64s, y: Int64s, undefined: Any, batch: Batch, text: str) -> Any:
    out = x - y
    return _settled(out, ((x ^ y) & (x ^ out)) < 0, undefined, batch, text)


def _remainder(x: Int64s, y: Int64s, undefined: Any, batch: Batch, text: str) -> Any:
    zero = np.broadcast_to(y == 0, np.broadcast_shapes(x.shape, y.shape))
    if undefined is None and zero.any():
        place = f" in the row of event time {batch.times[int(np.argmax(zero))]}"
        msg = f"`{text}` divides by zero{place}"
        raise ArithmeticOverflowError(msg)
    out = np.remainder(x, np.where(y == 0, 1, y))
    return out if undefined is None else np.where(undefined | zero, UNDEFINED, out)
