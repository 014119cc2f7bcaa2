"""Comparisons of columns: exact, and false where a value is undefined."""

from __future__ import annotations

__all__ = ("compare", "time_ns")

import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from market_data_pipeline.batch import Batch
from market_data_pipeline.operator.terms import Evaluate, Term, compare_scaled
from market_data_pipeline.records import UNDEFINED, Kind
from market_data_pipeline.symbols import SymbolTable

_FUNCTIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARROW_FUNCTIONS: Final = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_BOTTOM: Final = -UNDEFINED - 1
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?))?(?:(Z)|([+-])(\d\d):?(\d\d))?"
)


def compare(a: Term, b: Term, sign: str) -> Evaluate:
    """Return what tells for each row whether a comparison holds.

    Raises:
        ValueError: If the two cannot be compared.
    """
    if a.constant is not None and b.constant is None:
        a, b, sign = b, a, _MIRRORED[sign]
    if a.constant is not None:
        return _literals(a, b, sign)
    if (a.exact and b.exact) or (a.kind is Kind.TIME and b.kind is Kind.INT):
        if b.constant is not None:
            return _with_number(a, Fraction(b.constant), sign)
        test = _numbers(a, b, sign)
    elif a.kind is Kind.FLOAT or b.kind is Kind.FLOAT:
        test = _floats(a, b, sign)
    elif a.kind is Kind.TIME and (b.kind is Kind.TIME or isinstance(b.constant, str)):
        test = _times(a, b, sign)
    elif a.kind is Kind.SYMBOL and isinstance(b.constant, str):
        return _symbol_with_text(a, b.constant, sign)
    elif a.kind is Kind.ARROW and b.kind is Kind.ARROW:
        return _texts(a, b, sign)
    elif a.kind is Kind.CHAR and isinstance(b.constant, str):
        return _letter_with_text(a, b, sign)
    elif a.kind is b.kind and (
        a.kind in {Kind.CHAR, Kind.BOOL} or (a.kind is Kind.SYMBOL and sign in {"==", "!="})
    ):
        return _plain(a, b, sign)
    else:
        msg = f"`{a.text}` ({_word(a)}) and `{b.text}` ({_word(b)}) cannot be compared by {sign}"
        raise ValueError(msg)
    return _where_defined(test, a, b)


def _word(term: Term) -> str:
    return "text" if term.kind is Kind.ARROW else term.kind.value


def _literals(a: Term, b: Term, sign: str) -> Evaluate:
    if a.exact != b.exact or (not a.exact and a.kind is not b.kind):
        msg = f"`{a.text}` and `{b.text}` cannot be compared"
        raise ValueError(msg)
    result = np.array([_FUNCTIONS[sign](a.constant, b.constant)])
    return lambda batch: result  # noqa: ARG005


def _where_defined(test: Evaluate, *terms: Term) -> Evaluate:
    nullable = [term.evaluate for term in terms if term.nullable]
    if not nullable:
        return test

    def evaluate(batch: Batch) -> Any:
        result = test(batch)
        for values in nullable:
            result = result & (values(batch) != UNDEFINED)
        return result

    return evaluate


def _plain(a: Term, b: Term, sign: str) -> Evaluate:
    function = _FUNCTIONS[sign]
    return lambda batch: function(a.evaluate(batch), b.evaluate(batch))


def _numbers(a: Term, b: Term, sign: str) -> Evaluate:
    function = _FUNCTIONS[sign]
    if a.scale == b.scale:
        return lambda batch: function(a.evaluate(batch), b.evaluate(batch))
    if a.scale > b.scale:
        a, b, sign = b, a, _MIRRORED[sign]
    factor = 10 ** (b.scale - a.scale)
    return lambda batch: compare_scaled(a.evaluate(batch), b.evaluate(batch), factor, sign)


def _with_number(a: Term, number: Fraction, sign: str) -> Evaluate:
    """Return what compares with a number, false where a value is undefined."""
    exact = number * 10**a.scale
    # A column between two neighbouring values of its scale is never equal to the number.
    below = exact.numerator // exact.denominator
    above = below if exact.denominator == 1 else below + 1
    top = UNDEFINED - 1 if a.nullable else UNDEFINED
    if sign == "!=":
        if above != below or not _BOTTOM <= below <= top:
            return _inside(a, _BOTTOM, top)
        limit = np.int64(below)
        return _where_defined(lambda batch: a.evaluate(batch) != limit, a)
    least = {"<": _BOTTOM, "<=": _BOTTOM, ">": below + 1}.get(sign, above)
    most = {">": top, ">=": top, "<": above - 1}.get(sign, below)
    return _inside(a, max(least, _BOTTOM), min(most, top))


def _inside(a: Term, least: int, most: int) -> Evaluate:
    from market_data_pipeline.kernels.in_range import in_range

    if least > most:
        none = np.array([False])
        return lambda batch: none  # noqa: ARG005

    def evaluate(batch: Batch) -> Any:
        values = np.ascontiguousarray(a.evaluate(batch))
        result = np.empty(len(values), np.bool_)
        in_range(values, least, most, result)
        return result

    return evaluate


def _floats(a: Term, b: Term, sign: str) -> Evaluate:
    for term in (a, b):
        if term.constant is None and term.kind not in {Kind.FLOAT, Kind.INT}:
            msg = f"`{term.text}` ({_word(term)}) does not mix with floats, which are not exact,"
            raise ValueError(msg)
        if isinstance(term.constant, str | bool):
            msg = f"`{term.text}` is no number"
            raise ValueError(msg)  # noqa: TRY004
    function = _FUNCTIONS[sign]
    if b.constant is not None:
        number = float(b.constant)
        return lambda batch: function(a.evaluate(batch), number)
    return lambda batch: function(a.evaluate(batch), b.evaluate(batch))


def _times(a: Term, b: Term, sign: str) -> Evaluate:
    function = _FUNCTIONS[sign]
    if b.constant is None:
        return lambda batch: function(a.evaluate(batch), b.evaluate(batch))
    limit = np.int64(time_ns(b.constant))
    return lambda batch: function(a.evaluate(batch), limit)


def time_ns(text: str) -> int:
    """Return a time written as ISO 8601 text, nanoseconds since the UNIX epoch, UTC.

    Raises:
        ValueError: If it is none, or out of range.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        msg = f"'{text}' is no time; write it as '2024-01-05T14:30:00.5Z'"
        raise ValueError(msg)
    day, clock, _, sign, hours, minutes = found.groups()
    # In seconds first: as nanoseconds NumPy lets a far year wrap round.
    seconds, _, fraction = (clock or "00:00").partition(".")
    at = int(np.datetime64(f"{day}T{seconds}", "s").astype(np.int64))
    if sign:
        offset = (int(hours) * 60 + int(minutes)) * 60
        at -= offset if sign == "+" else -offset
    ns = at * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    if not -UNDEFINED <= ns < UNDEFINED:
        msg = f"'{text}' is too far from 1970 for nanoseconds"
        raise ValueError(msg)
    return ns


def _symbol_with_text(a: Term, text: str, sign: str) -> Evaluate:
    function = _FUNCTIONS[sign]
    answers = _Answers(lambda name: function(name, text))
    return lambda batch: answers.of(batch.symbols)[a.evaluate(batch)]


class _Answers:
    """Whether a test holds for each symbol of a table, asked once a symbol."""

    def __init__(self, test: Callable[[str], bool]) -> None:
        self._test = test
        self._table: SymbolTable | None = None
        self._known: npt.NDArray[np.bool_] = np.empty(0, np.bool_)

    def of(self, symbols: SymbolTable) -> npt.NDArray[np.bool_]:
        """Return (m,) bool for the m symbols of a table."""
        if symbols is not self._table:
            self._table, self._known = symbols, np.empty(0, np.bool_)
        if len(self._known) < len(symbols):
            added = [self._test(name) for name in symbols.names[len(self._known) :]]
            self._known = np.concatenate([self._known, np.array(added, np.bool_)])
        return self._known


def _letter_with_text(a: Term, b: Term, sign: str) -> Evaluate:
    if len(b.constant) != 1 or ord(b.constant) > 255:
        msg = f"`{a.text}` is one letter and cannot be compared with {b.text}"
        raise ValueError(msg)
    function, code = _FUNCTIONS[sign], np.uint8(ord(b.constant))
    return lambda batch: function(a.evaluate(batch), code)


def _texts(a: Term, b: Term, sign: str) -> Evaluate:
    function = _ARROW_FUNCTIONS[sign]
    scalar = None if b.constant is None else pa.scalar(b.constant, pa.string())

    def evaluate(batch: Batch) -> Any:
        other = b.evaluate(batch) if scalar is None else scalar
        result = pc.call_function(function, [a.evaluate(batch), other])
        return pc.fill_null(result, False).to_numpy(zero_copy_only=False)

    return evaluate
