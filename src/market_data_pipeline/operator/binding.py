"""An expression's syntax tree over the columns of one schema."""

from __future__ import annotations

__all__ = ("Binder",)

import ast
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError, nearest
from market_data_pipeline.operator.comparing import compare
from market_data_pipeline.operator.expression import BoundExpression
from market_data_pipeline.operator.terms import (
    Evaluate,
    Term,
    absolute,
    aligned,
    combine,
    divide,
    multiply,
    places,
)
from market_data_pipeline.records import DEFAULT_SCALE, UNDEFINED, Kind, Schema

T = TypeVar("T")

_OPERATORS: Final[dict[type[ast.operator], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_FLOATS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.remainder,
}


class Binder:
    """Turns the nodes of one expression into operations on columns."""

    def __init__(self, text: str, schema: Schema, node: str) -> None:
        self._text = text
        self._schema = schema
        self._node = node

    def bound(self, tree: ast.expr) -> BoundExpression:
        """Return what gives the value of a tree for each row."""
        term = self._term(tree)
        if term.constant is None:
            evaluate = term.evaluate
        elif term.kind is Kind.ARROW:
            evaluate = _repeated_text(term.constant)
        elif term.kind is Kind.BOOL:
            evaluate = term.evaluate
        else:
            evaluate = self._fitting(tree, lambda: aligned(term, term.scale))
        arrow = term.kind is Kind.ARROW
        return BoundExpression(term.kind, term.scale, evaluate if arrow else _full(evaluate))

    def condition(self, tree: ast.expr) -> BoundExpression:
        """Return what gives true or false for each row."""
        return BoundExpression(Kind.BOOL, 0, _full(self._condition(tree)))

    def _refuse(self, node: ast.expr, what: str) -> NoReturn:
        msg = f"{what} at position {node.col_offset + 1} of `{self._text}`"
        raise SchemaError(msg, node=self._node)

    def _part(self, node: ast.expr) -> str:
        return ast.get_source_segment(self._text, node) or self._text

    def _fitting(self, node: ast.expr, make: Callable[[], T]) -> T:
        try:
            return make()
        except ValueError as err:
            reason = str(err)
        return self._refuse(node, reason)

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Constant():
                return self._literal(node)
            case ast.Name():
                return self._column(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                return self._signed(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp():
                return Term(Kind.BOOL, 0, self._condition(node), self._part(node))
        return self._refuse(node, "a list is only allowed after `in`")

    def _literal(self, node: ast.Constant) -> Term:
        text, value = self._part(node), node.value
        if isinstance(value, bool):
            flag = np.array([value])
            return Term(Kind.BOOL, 0, lambda batch: flag, text, constant=value)  # noqa: ARG005
        if isinstance(value, str):
            return Term(Kind.ARROW, 0, _no_values, text, constant=value)
        # The decimal that was written, not the float nearest to it.
        exact = Fraction(value) if isinstance(value, int) else Fraction(Decimal(text))
        return self._number(node, exact)

    def _number(self, node: ast.expr, value: Fraction) -> Term:
        count = places(value)
        # Without an end to its decimals it can still be a factor.
        scale = 0 if count == 0 else max(count or 0, DEFAULT_SCALE)
        return Term(
            Kind.FIXED if scale else Kind.INT, scale, _no_values, self._part(node), constant=value
        )

    def _column(self, node: ast.Name) -> Term:
        name = node.id
        if name not in self._schema:
            have = ", ".join(f"`{known}`" for known in self._schema.names)
            self._refuse(
                node,
                f"there is no column `{name}`{nearest(name, self._schema.names)} "
                f"(columns: {have});",
            )
        field = self._schema[name]
        if field.kind is Kind.ARROW:
            if not _is_text(field.arrow):
                self._refuse(node, f"`{name}` of type {field.arrow} cannot be computed with")
            return Term(Kind.ARROW, 0, lambda batch: _plain_text(batch[name]), name)
        return Term(field.kind, field.scale, lambda batch: batch[name], name)

    def _signed(self, node: ast.UnaryOp) -> Term:
        term = self._term(node.operand)
        if isinstance(node.op, ast.UAdd) and (term.exact or term.kind is Kind.FLOAT):
            return term
        if term.kind is Kind.FLOAT:
            return Term(Kind.FLOAT, 0, lambda batch: -term.evaluate(batch), self._part(node))
        if not term.exact:
            self._refuse(node, f"`{term.text}` is no number")
        if term.constant is not None:
            return self._number(node, -term.constant)
        zero = Term(Kind.INT, 0, _no_values, "0", constant=Fraction(0))
        return combine(zero, term, "-", self._part(node))

    def _arithmetic(self, node: ast.BinOp) -> Term:
        a, b = self._term(node.left), self._term(node.right)
        sign, text = _OPERATORS[type(node.op)], self._part(node)
        if a.exact and b.exact:
            if a.constant is not None and b.constant is not None:
                return self._folded(node, a.constant, b.constant, sign)
            if sign in {"/", "%"} and b.constant == 0:
                self._refuse(node, f"`{text}` divides by zero")
            if sign == "*":
                return self._fitting(node, lambda: multiply(a, b, text))
            if sign == "/":
                return self._fitting(node, lambda: divide(a, b, text))
            return self._fitting(node, lambda: combine(a, b, sign, text))
        if Kind.TIME in {a.kind, b.kind} and sign in {"+", "-"}:
            return self._time_arithmetic(node, a, b, sign)
        if Kind.FLOAT in {a.kind, b.kind}:
            return self._float_arithmetic(node, a, b, sign)
        return self._refuse(node, f"`{text}` needs numbers, has {_spoken(a)} and {_spoken(b)}")

    def _folded(self, node: ast.BinOp, a: Fraction, b: Fraction, sign: str) -> Term:
        if sign in {"/", "%"} and b == 0:
            self._refuse(node, f"`{self._part(node)}` divides by zero")
        value = {
            "+": lambda: a + b,
            "-": lambda: a - b,
            "*": lambda: a * b,
            "/": lambda: a / b,
            "%": lambda: a % b,
        }[sign]()
        return self._number(node, value)

    def _time_arithmetic(self, node: ast.BinOp, a: Term, b: Term, sign: str) -> Term:
        text = self._part(node)
        if a.kind is b.kind and sign == "-":
            # Nanoseconds, undefined where a time is; hence fixed, at scale 0.
            return combine(a, b, "-", text)
        steps = b if a.kind is Kind.TIME else a
        if steps.kind is not Kind.INT or (sign == "-" and steps is a):
            self._refuse(node, f"`{text}` is no time: add whole nanoseconds to a time")
        made = self._fitting(node, lambda: combine(a, b, sign, text))
        return Term(Kind.TIME, 0, made.evaluate, text)

    def _float_arithmetic(self, node: ast.expr, a: Term, b: Term, sign: str) -> Term:
        left, right = self._floats(node, a), self._floats(node, b)
        function = _FLOATS[sign]

        def evaluate(batch: Batch) -> Any:
            with np.errstate(all="ignore"):
                return function(left(batch), right(batch))

        return Term(Kind.FLOAT, 0, evaluate, self._part(node))

    def _floats(self, node: ast.expr, term: Term) -> Evaluate:
        if term.constant is not None and term.exact:
            number = np.array([float(term.constant)])
            return lambda batch: number  # noqa: ARG005
        if term.kind is Kind.FLOAT:
            return term.evaluate
        if term.kind is Kind.INT:
            return lambda batch: term.evaluate(batch).astype(np.float64)
        return self._refuse(
            node,
            f"`{term.text}` is {_spoken(term)} and does not mix with floats, which are not exact,",
        )

    def _call(self, node: ast.Call) -> Term:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        terms = [self._term(argument) for argument in node.args]
        if name == "abs":
            if len(terms) != 1 or not (terms[0].exact or terms[0].kind is Kind.FLOAT):
                self._refuse(node, "`abs` needs one number")
            return self._absolute(node, terms[0])
        if len(terms) < 2:
            self._refuse(node, f"`{name}` needs two values or more")
        return reduce(lambda a, b: self._extreme(node, name, a, b), terms)

    def _absolute(self, node: ast.Call, term: Term) -> Term:
        if term.constant is not None:
            return self._number(node, abs(term.constant))
        if term.kind is Kind.FLOAT:
            return Term(
                Kind.FLOAT, 0, lambda batch: np.abs(term.evaluate(batch)), self._part(node)
            )
        return absolute(term, self._part(node))

    def _extreme(self, node: ast.Call, name: str, a: Term, b: Term) -> Term:
        choose: Any = np.minimum if name == "min" else np.maximum
        if a.exact and b.exact:
            if a.constant is not None and b.constant is not None:
                return self._number(node, (min if name == "min" else max)(a.constant, b.constant))
            scale = max(a.scale, b.scale)
            left = self._fitting(node, lambda: aligned(a, scale))
            right = self._fitting(node, lambda: aligned(b, scale))
            kind = Kind.FIXED if Kind.FIXED in {a.kind, b.kind} else Kind.INT
        elif a.kind is b.kind is Kind.TIME:
            scale, kind, left, right = 0, Kind.TIME, a.evaluate, b.evaluate
        elif Kind.FLOAT in {a.kind, b.kind}:
            scale, kind = 0, Kind.FLOAT
            left, right = self._floats(node, a), self._floats(node, b)
        else:
            self._refuse(node, f"`{name}` of {_spoken(a)} and {_spoken(b)} is not defined")

        def evaluate(batch: Batch) -> Any:
            x, y = left(batch), right(batch)
            if kind is Kind.FLOAT or not (a.nullable or b.nullable):
                return choose(x, y)
            return np.where((x == UNDEFINED) | (y == UNDEFINED), UNDEFINED, choose(x, y))

        return Term(kind, scale, evaluate, self._part(node))

    def _condition(self, node: ast.expr) -> Evaluate:
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self._condition(value) for value in values]
                join: Any = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return lambda batch: reduce(join, [part(batch) for part in parts])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._condition(operand)
                return lambda batch: ~inner(batch)
            case ast.Compare():
                return self._comparison(node)
        term = self._term(node)
        if term.kind is not Kind.BOOL:
            self._refuse(node, f"`{term.text}` is {_spoken(term)}, neither true nor false,")
        return term.evaluate

    def _comparison(self, node: ast.Compare) -> Evaluate:
        parts: list[Evaluate] = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.In | ast.NotIn):
                parts.append(
                    self._membership(left, right, negated=isinstance(operator, ast.NotIn))
                )
            else:
                parts.append(self._pair(node, left, right, _COMPARISONS[type(operator)]))
            left = right
        return lambda batch: reduce(np.logical_and, [part(batch) for part in parts])

    def _pair(self, node: ast.expr, left: ast.expr, right: ast.expr, sign: str) -> Evaluate:
        a, b = self._term(left), self._term(right)
        return self._fitting(node, lambda: compare(a, b, sign))

    def _membership(self, left: ast.expr, right: ast.expr, *, negated: bool) -> Evaluate:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set):
            self._refuse(right, "`in` needs a list such as ['BTC', 'ETH']")
        term = self._term(left)
        tests = [self._pair(item, left, item, "==") for item in right.elts]
        # An undefined value is neither in the list nor out of it.
        defined: Evaluate = self._fitting(left, lambda: compare(term, term, "=="))

        def evaluate(batch: Batch) -> Any:
            found: Any = np.zeros(len(batch), np.bool_)
            for test in tests:
                found = found | test(batch)
            return defined(batch) & ~found if negated else found

        return evaluate


def _no_values(batch: Batch) -> Any:  # noqa: ARG001
    msg = "a literal has no column"
    raise AssertionError(msg)


def _full(evaluate: Evaluate) -> Evaluate:
    """Return what gives a value for each row, also where it is the same in each."""

    def full(batch: Batch) -> Any:
        values = evaluate(batch)
        if len(values) == len(batch):
            return values
        return np.full(len(batch), values[0], values.dtype)

    return full


def _repeated_text(value: str) -> Evaluate:
    return lambda batch: pa.repeat(pa.scalar(value, pa.string()), len(batch))


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _plain_text(column: Any) -> Any:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _spoken(term: Term) -> str:
    return {
        Kind.TIME: "a time",
        Kind.SYMBOL: "a symbol",
        Kind.FIXED: "a fixed-point number",
        Kind.INT: "an integer",
        Kind.CHAR: "a letter",
        Kind.FLOAT: "a float",
        Kind.BOOL: "true or false",
        Kind.ARROW: "a text",
    }[term.kind]
