"""Expressions against Python's `decimal`, row by row."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ArithmeticOverflowError
from market_data_pipeline.operator.expression import Expression
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

_LOWEST = -(2**63)
_CONTEXT = Context(prec=120, rounding=ROUND_HALF_EVEN)
_SCALES = {"a": 9, "b": 9, "c": 4, "i": 0}
_SCHEMA = Schema(
    "row",
    (
        Field("ts_event", Kind.TIME),
        *(Field(name, Kind.FIXED, scale) for name, scale in _SCALES.items() if scale),
        Field("i", Kind.INT),
    ),
)
_VALUES = st.one_of(
    st.integers(-(10**4), 10**4),
    st.integers(-(10**12), 10**12),
    st.integers(_LOWEST, UNDEFINED - 1),
    st.just(UNDEFINED),
)
_ROWS = st.lists(
    st.tuples(_VALUES, _VALUES, _VALUES, st.integers(-(10**10), 10**10)), min_size=1, max_size=8
)
_LITERALS = st.decimals(-1000, 1000, places=3, allow_nan=False).map(str)
_OPERANDS = st.one_of(st.sampled_from(list(_SCALES)), _LITERALS)


def _batch(rows: list[tuple[int, ...]]) -> Batch:
    columns: dict[str, Any] = {"ts_event": np.arange(len(rows))}
    for place, name in enumerate(_SCALES):
        columns[name] = np.array([row[place] for row in rows], np.int64)
    return Batch.from_columns(_SCHEMA, columns, SymbolTable())


def _value(operand: str, row: tuple[int, ...]) -> Decimal | None:
    if operand not in _SCALES:
        return Decimal(operand)
    value = row[list(_SCALES).index(operand)]
    scale = _SCALES[operand]
    return None if scale and value == UNDEFINED else Decimal(value).scaleb(-scale, _CONTEXT)


def _scale_of(operand: str) -> int:
    if operand in _SCALES:
        return _SCALES[operand]
    return 0 if Decimal(operand) == int(Decimal(operand)) else 9


def _too_large(value: Decimal | None, scale: int) -> bool:
    """Tell whether an operand cannot be held at the scale at which both are added."""
    return value is not None and not _LOWEST <= _CONTEXT.scaleb(value, scale) < UNDEFINED


def _computed(x: Decimal, sign: str, y: Decimal) -> Decimal | None:
    match sign:
        case "+":
            return _CONTEXT.add(x, y)
        case "-":
            return _CONTEXT.subtract(x, y)
        case "*":
            return _CONTEXT.multiply(x, y)
        case "%":
            if not y:
                return None
            rest = _CONTEXT.remainder(x, y)
            return rest + y if rest and (rest < 0) != (y < 0) else rest
    return _CONTEXT.divide(x, y) if y else None


def _results(
    rows: list[tuple[int, ...]], left: str, right: str, sign: str, scale: int
) -> list[int] | None:
    """Return the results at a scale, None if one is out of range."""
    results: list[int] = []
    for row in rows:
        x, y = _value(left, row), _value(right, row)
        if sign in "+-%" and any(
            _scale_of(name) < scale and _too_large(value, scale)
            for name, value in ((left, x), (right, y))
        ):
            return None
        exact = None if x is None or y is None else _computed(x, sign, y)
        if exact is None:
            if scale == 0 and sign == "%":
                return None
            results.append(UNDEFINED)
            continue
        whole = int(exact.scaleb(scale, _CONTEXT).to_integral_value(context=_CONTEXT))
        if not _LOWEST <= whole < UNDEFINED:
            return None
        results.append(whole)
    return results


@given(rows=_ROWS, left=_OPERANDS, right=_OPERANDS, sign=st.sampled_from("+-*/%"))
def test_arithmetic_is_that_of_decimals_rounded_once(
    rows: list[tuple[int, ...]], left: str, right: str, sign: str
) -> None:
    """Each result is the exact one, half to even at the larger scale, or an error."""
    assume(left in _SCALES or right in _SCALES)
    assume(not (sign in "/%" and right not in _SCALES and not Decimal(right)))
    scale = max(_scale_of(left), _scale_of(right))
    if sign == "/" and scale == 0:
        scale = 9
    if sign in "*/" and left not in _SCALES:
        scale = max(_scale_of(left) and 9, _scale_of(right), 9 if sign == "/" else 0)
    expected = _results(rows, left, right, sign, scale)
    bound = Expression(f"{left} {sign} ({right})", "x").bind(_SCHEMA, "n")
    assume(bound.scale >= scale)  # else a literal made the scale, of the oracle alone
    if expected is None:
        with pytest.raises(ArithmeticOverflowError):
            bound.evaluate(_batch(rows))
        return
    factor = 10 ** (bound.scale - scale)
    found = bound.evaluate(_batch(rows)).tolist()
    assert found == [v if v == UNDEFINED else v * factor for v in expected]


@given(
    rows=_ROWS,
    left=_OPERANDS,
    right=_OPERANDS,
    sign=st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
)
def test_comparisons_are_exact_at_any_scale_and_false_if_undefined(
    rows: list[tuple[int, ...]], left: str, right: str, sign: str
) -> None:
    """No operand is rounded or overflows on the way to a comparison."""
    assume(left in _SCALES or right in _SCALES)
    expected = []
    for row in rows:
        x, y = _value(left, row), _value(right, row)
        if x is None or y is None:
            expected.append(False)
        else:
            order = _CONTEXT.compare(x, y)
            expected.append(
                {
                    "==": order == 0,
                    "!=": order != 0,
                    "<": order < 0,
                    "<=": order <= 0,
                    ">": order > 0,
                    ">=": order >= 0,
                }[sign]
            )
    bound = Expression(f"{left} {sign} {right}", "x").bind_condition(_SCHEMA, "n")
    assert bound.evaluate(_batch(rows)).tolist() == expected


@given(
    a=st.integers(-(2**63), 2**63 - 1),
    b=st.integers(-(2**63), 2**63 - 1),
    c=st.integers(-(2**63), 2**63 - 1),
)
def test_a_product_divided_is_exact_through_128_bits(a: int, b: int, c: int) -> None:
    """`a * b / c` is what fractions give, rounded half to even, or out of range."""
    from fractions import Fraction

    from market_data_pipeline.kernels.muldiv import multiply_divide

    out = np.empty(1, np.int64)
    bad = multiply_divide(np.array([a]), np.array([b]), np.array([c]), out)
    if UNDEFINED in {a, b, c} or c == 0:
        assert out[0] == UNDEFINED
        return
    exact = round(Fraction(a * b, c))
    if not _LOWEST <= exact < UNDEFINED:
        assert bad == 0
    else:
        assert (bad, out[0]) == (-1, exact)
