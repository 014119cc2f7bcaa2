"""Expressions over columns, such as `price * size > 1000 and symbol in ['BTC', 'ETH']`.

The text is parsed into Python's syntax tree and never run: only the nodes listed here are
taken, and each becomes one operation on whole columns.
"""

from __future__ import annotations

__all__ = ("BoundExpression", "Expression")

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import Field, Kind, Schema

_MOST_CHARACTERS: Final = 4_000
_MOST_DEPTH: Final = 50
_MOST_EXPONENT: Final = 60
_ALLOWED: Final = (
    "allowed are column names, numbers, 'text', True, False, + - * / %, == != < <= > >=, "
    "in, not in, and, or, not, abs(), min(), max() and parentheses"
)
_FUNCTIONS: Final = ("abs", "min", "max")
_NODES: Final = (
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt),
    *(ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.Call),
    *(ast.List, ast.Tuple, ast.Set),
)


@dataclass(frozen=True, slots=True)
class BoundExpression:
    """An expression over the columns of one schema.

    Attributes:
        kind: What it gives; `ARROW` for text.
        scale: Decimal places of a `FIXED` result.
        evaluate: Gives the column for the rows of a batch.
    """

    kind: Kind
    scale: int
    evaluate: Callable[[Batch], Any]

    def field(self, name: str) -> Field:
        """Return the field for a column that holds the result."""
        import pyarrow as pa

        return Field(name, self.kind, self.scale, pa.string() if self.kind is Kind.ARROW else None)


class Expression:
    """A text that was found to be a sound expression.

    Numbers are exact: a literal is the decimal that was written, products and quotients of
    fixed-point columns are rounded half to even at the larger scale of the two (of two
    integers: quotients at scale 9), and what leaves its range is an error. A comparison
    with an undefined value is false; arithmetic with one, and division by zero, gives an
    undefined value. Times compare with ISO 8601 text, in UTC where it names no zone.

    Attributes:
        text: The text.
        names: The columns it reads.
    """

    __slots__ = ("names", "text", "tree")

    def __init__(self, text: str, parameter: str) -> None:
        """Check a text.

        Args:
            text: The expression.
            parameter: The setting it stands in, for the message.

        Raises:
            ConfigError: If the text is no expression; says where and what is allowed.
        """
        # As many characters as before, so that positions are those of the text.
        self.text = text.strip().replace("\n", " ")
        if not self.text or len(self.text) > _MOST_CHARACTERS:
            found = f"{len(self.text)} characters" if self.text else "nothing"
            msg = f"`{parameter}` must be an expression such as `price > 0`, was {found}"
            raise ConfigError(msg, parameter=parameter)
        self.tree = _parsed(self.text, parameter)
        self.names = frozenset(_checked(self.tree, self.text, parameter))

    def bind(self, schema: Schema, node: str) -> BoundExpression:
        """Return the expression over the columns of a schema.

        Args:
            schema: The columns.
            node: Name of the node it stands in, for the message.

        Raises:
            SchemaError: If a column is missing, or its type does not fit.
        """
        from market_data_pipeline.operator.binding import Binder

        return Binder(self.text, schema, node).bound(self.tree)

    def bind_condition(self, schema: Schema, node: str) -> BoundExpression:
        """Return the expression as `bind` does, if it is a condition.

        Raises:
            SchemaError: If a column is missing, its type does not fit, or the result is
                not true or false.
        """
        from market_data_pipeline.operator.binding import Binder

        return Binder(self.text, schema, node).condition(self.tree)

    @staticmethod
    def membership(column: str, values: Iterable[str | int | bool]) -> Expression:
        """Return the expression `column in [values]`."""
        listed = ", ".join(repr(value) for value in values)
        made = Expression.__new__(Expression)
        made.text = f"{column} in [{listed}]"
        name = ast.Name(column, ast.Load())
        constants: list[ast.expr] = [ast.Constant(value) for value in values]
        tree = ast.Compare(name, [ast.In()], [ast.List(constants, ast.Load())])
        made.tree = ast.fix_missing_locations(ast.Expression(tree)).body
        made.names = frozenset({column})
        return made


def _parsed(text: str, parameter: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as err:
        place = f" at position {err.offset}" if err.offset else ""
        msg = f"`{parameter}` is not an expression: {err.msg}{place} of `{text}`; {_ALLOWED}"
    except (RecursionError, MemoryError, ValueError) as err:
        msg = f"`{parameter}` is not an expression: {err or 'nested too deeply'}"
    raise ConfigError(msg, parameter=parameter)


def _checked(tree: ast.expr, text: str, parameter: str) -> set[str]:
    """Return the names of columns in a tree whose nodes are all allowed."""

    def refuse(node: ast.AST, what: str) -> NoReturn:
        part = ast.get_source_segment(text, node)
        at = getattr(node, "col_offset", 0) + 1
        msg = f"`{part or text}` at position {at} of `{parameter}` {what}; {_ALLOWED}"
        raise ConfigError(msg, parameter=parameter)

    names: set[str] = set()
    waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            refuse(node, "is nested too deeply")
        if not isinstance(node, _NODES):
            refuse(node, "is not allowed in an expression")
        if isinstance(node, ast.Call):
            function = node.func
            if not isinstance(function, ast.Name) or function.id not in _FUNCTIONS:
                refuse(node, "calls what is not one of abs(), min(), max()")
            if node.keywords:
                refuse(node, "has named arguments")
            waiting += [(argument, depth + 1) for argument in node.args]
            continue
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float):
            refuse(node, "is not a number or text")
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            written = Decimal(ast.get_source_segment(text, node) or "0")
            if written and abs(written.adjusted()) > _MOST_EXPONENT:
                refuse(node, "is out of range")
        if isinstance(node, ast.Name):
            names.add(node.id)
        waiting += [
            (child, depth + 1)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.operator | ast.boolop | ast.unaryop | ast.cmpop)
            or refuse_operator(child, node, refuse)
        ]
    return names


def refuse_operator(
    operator: ast.AST, node: ast.AST, refuse: Callable[[ast.AST, str], NoReturn]
) -> bool:
    """Refuse an operator that is not allowed; say False, as it needs no further look."""
    if not isinstance(operator, _NODES):
        refuse(node, "uses an operator that is not allowed")
    return False
