"""Aggregates of a window as they are written: `max(price)`, `quantile(size, 0.95)`."""

from __future__ import annotations

__all__ = ("Aggregate", "BoundAggregate", "Word")

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from market_data_pipeline.errors import ConfigError, SchemaError, nearest
from market_data_pipeline.operator.columns import check_columns
from market_data_pipeline.records import DEFAULT_SCALE, Field, Kind, Schema

Word = Literal["int", "float", "decimal"]
"""What a function of the user gives."""

_COLUMNS: Final[Mapping[str, tuple[int, ...]]] = {
    "first": (1,),
    "last": (1,),
    "min": (1,),
    "max": (1,),
    "sum": (1,),
    "count": (0, 1),
    "mean": (1,),
    "vwap": (2,),
    "std": (1,),
    "quantile": (1,),
}
_NUMBERS: Final = frozenset({Kind.FIXED, Kind.INT, Kind.FLOAT})
_ORDERED: Final = _NUMBERS | {Kind.TIME, Kind.CHAR, Kind.BOOL}
_KINDS: Final[Mapping[Word, tuple[Kind, int]]] = {
    "int": (Kind.INT, 0),
    "float": (Kind.FLOAT, 0),
    "decimal": (Kind.FIXED, DEFAULT_SCALE),
}
_MOST_PLACES: Final = 9
_WAY_OUT: Final = (
    "write `first`, `last`, `min`, `max`, `sum`, `mean` or `std` of a column, `count()`, "
    "`count(column)`, `vwap(price, size)` or `quantile(column, 0.95)`"
)


@dataclass(frozen=True, slots=True)
class BoundAggregate:
    """An aggregate over the columns of one schema.

    Attributes:
        field: The column it gives.
        operation: Its word, `function` or `polars`.
        columns: The columns it reads.
        parameters: Further words of its line in a program; see `kernels.aggregates`.
        call: The user's function or expression, or None.
    """

    field: Field
    operation: str
    columns: tuple[str, ...]
    parameters: tuple[int, ...] = ()
    call: Any = None


class Aggregate:
    """An aggregate that was found to be sound.

    Attributes:
        name: The column it gives.
        columns: The columns it reads.
    """

    __slots__ = ("_call", "_function", "_parameters", "_word", "columns", "name")

    def __init__(self, name: str, written: Any, word: Word | None = None) -> None:
        """Check an aggregate.

        Args:
            name: The column it gives.
            written: A text such as `max(price)`, a function whose parameters are named as
                columns, or a Polars expression.
            word: What a function or an expression of the user gives.

        Raises:
            ConfigError: If it is no aggregate; says what can be written.
        """
        self.name = name
        self._word: Word = word or "float"
        self._call: Any = None
        self._parameters: tuple[int, ...] = ()
        if isinstance(written, str):
            if word is not None:
                msg = f"`results` is for functions of your own; `{name}` is `{written}`"
                raise ConfigError(msg, parameter="results")
            self._function, self.columns, self._parameters = _parsed(name, written)
        elif hasattr(written, "meta"):
            self._function, self._call = "polars", written.alias(name)
            self.columns = tuple(dict.fromkeys(written.meta.root_names()))
        elif callable(written):
            self._function, self._call = "function", written
            self.columns = _parameters_of(name, written)
        else:
            msg = f"the aggregate `{name}` must be a text, a function or a Polars expression"
            raise ConfigError(msg, parameter="aggregates")

    def bind(self, schema: Schema, node: str) -> BoundAggregate:
        """Return the aggregate over the columns of a schema.

        Raises:
            SchemaError: If a column is missing, or its type does not fit.
        """
        check_columns(schema, self.columns, node)
        fields = tuple(schema[column] for column in self.columns)
        if self._call is not None:
            self._check(fields, _ORDERED, node)
            kind, scale = _KINDS[self._word]
            field = Field(self.name, kind, scale)
            return BoundAggregate(field, self._function, self.columns, (), self._call)
        if self._function == "count":
            self._check(fields, _ORDERED | {Kind.SYMBOL}, node)
            return self._bound(Kind.INT, fields)
        ordered = self._function in {"first", "last", "min", "max"}
        self._check(fields, _ORDERED if ordered else _NUMBERS, node)
        first = fields[0]
        if self._function == "vwap" and (
            first.kind is Kind.INT
            or (Kind.FLOAT in {f.kind for f in fields})
            != all(f.kind is Kind.FLOAT for f in fields)
        ):
            msg = (
                f"`{self.name}` of `{node}` needs a fixed-point price and a size that is no "
                f"float, or floats for both; they were {first} and {fields[1]}"
            )
            raise SchemaError(msg, node=node)
        if self._function == "std":
            return self._bound(Kind.FLOAT, fields, parameters=(first.scale,))
        if self._function == "mean" and first.kind is Kind.INT:
            return self._bound(Kind.FIXED, fields, DEFAULT_SCALE, (10**DEFAULT_SCALE,))
        parameters = (1,) if self._function == "mean" else self._parameters
        return self._bound(first.kind, fields, first.scale, parameters)

    def _bound(
        self,
        kind: Kind,
        fields: tuple[Field, ...],
        scale: int = 0,
        parameters: tuple[int, ...] = (),
    ) -> BoundAggregate:
        floats = bool(fields) and fields[0].kind is Kind.FLOAT
        operation = f"{self._function}_float" if floats else self._function
        return BoundAggregate(Field(self.name, kind, scale), operation, self.columns, parameters)

    def _check(self, fields: tuple[Field, ...], kinds: frozenset[Kind], node: str) -> None:
        for field in fields:
            if field.kind not in kinds:
                msg = f"`{self.name}` of `{node}` cannot aggregate `{field}`"
                raise SchemaError(msg, node=node)


def _parsed(name: str, text: str) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        msg = f"the aggregate `{name}` is `{text}`; {_WAY_OUT}"
        raise ConfigError(msg, parameter="aggregates")
    function = call.func.id
    if function not in _COLUMNS:
        msg = f"there is no aggregate `{function}`{nearest(function, _COLUMNS)}; {_WAY_OUT}"
        raise ConfigError(msg, parameter="aggregates")
    arguments = list(call.args)
    parameters: tuple[int, ...] = ()
    if function == "quantile" and len(arguments) == 2:
        parameters = _fraction(name, ast.get_source_segment(text.strip(), arguments.pop()) or "")
    elif function == "quantile":
        arguments = []
    columns = tuple(a.id for a in arguments if isinstance(a, ast.Name))
    if len(columns) != len(arguments) or len(columns) not in _COLUMNS[function]:
        msg = f"the aggregate `{name}` is `{text}`; {_WAY_OUT}"
        raise ConfigError(msg, parameter="aggregates")
    return function, columns, parameters


def _fraction(name: str, text: str) -> tuple[int, int]:
    """Return a number from 0 to 1 as numerator and denominator."""
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not (share.is_finite() and 0 <= share <= 1) or round(share, _MOST_PLACES) != share:
        msg = (
            f"the quantile `{name}` needs a number from 0 to 1 with at most {_MOST_PLACES} "
            f"decimal places, was `{text}`"
        )
        raise ConfigError(msg, parameter="aggregates")
    return share.as_integer_ratio()


def _parameters_of(name: str, function: Callable[..., Any]) -> tuple[str, ...]:
    # A function compiled by numba keeps the one it was made of.
    plain = getattr(function, "py_func", function)
    parameters = inspect.signature(plain).parameters.values()
    if not parameters or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
        msg = (
            f"the function for `{name}` must name columns as its parameters, as in "
            f"`def spread(price, size)`"
        )
        raise ConfigError(msg, parameter="aggregates")
    return tuple(parameter.name for parameter in parameters)
