"""Rows as light objects, for functions that look at one row at a time."""

from __future__ import annotations

__all__ = ("CHUNK_ROWS", "ChangedRow", "Row", "RowReader", "RowView", "explain")

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Context, Decimal
from functools import partial
from itertools import chain, repeat
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import nearest
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema
from market_data_pipeline.symbols import SymbolTable

CHUNK_ROWS: Final = 512
"""Rows made at a time: their objects stay in the processor's cache."""

_EXACT: Final = Context(prec=60)
_LETTERS: Final = np.array([chr(code) for code in range(256)], object)
_MOST_REMEMBERED: Final = 65_536
_VIEW: Final = 0
_INDEX: Final = 1


class Row(tuple[Any, ...]):
    """One row: an attribute, and an item, for each column.

    Prices and sizes are `Decimal`, symbols text, times int nanoseconds, letters such as
    `side` one-letter text; what is undefined is None. A row cannot be changed; `replace`
    gives another one.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        # Not at run time: attributes of a class that has this method are slow.
        def __getattr__(self, name: str) -> Any: ...

    def replace(self, **changes: Any) -> ChangedRow:
        """Return the row with other values in some columns, or with more columns."""
        return ChangedRow((self, changes))

    def to_dict(self) -> dict[str, Any]:
        """Return the values by column."""
        return {name: getattr(self, name) for name in self._names()}

    def _names(self) -> tuple[str, ...]:
        view: RowView = tuple.__getitem__(self, _VIEW)
        return view.names

    def __getitem__(self, name: Any) -> Any:
        view: RowView = tuple.__getitem__(self, _VIEW)
        if name not in view.names:
            raise KeyError(_unknown(name, view.names))
        return view.values(name)[tuple.__getitem__(self, _INDEX)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_dict().values())

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row | ChangedRow) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))

    def __repr__(self) -> str:
        return _spoken(self.to_dict())


_Pair = namedtuple("_Pair", ("row", "changes"))  # noqa: PYI024 - only for its descriptors


class ChangedRow(tuple[Any, ...]):
    """A row with other values in some columns, or with more columns."""

    __slots__ = ()

    # As in rows: reading an item of the tuple inside takes no Python call.
    original_row: Row = _Pair.__dict__["row"]
    changed_columns: dict[str, Any] = _Pair.__dict__["changes"]

    def replace(self, **changes: Any) -> ChangedRow:
        """Return the row with further values changed."""
        return ChangedRow((self.original_row, {**self.changed_columns, **changes}))

    def to_dict(self) -> dict[str, Any]:
        """Return the values by column."""
        return {**self.original_row.to_dict(), **self.changed_columns}

    def __getattr__(self, name: str) -> Any:
        if name in self.changed_columns:
            return self.changed_columns[name]
        return getattr(self.original_row, name)

    def __getitem__(self, name: Any) -> Any:
        changes = self.changed_columns
        return changes[name] if name in changes else self.original_row[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_dict().values())

    def __len__(self) -> int:
        return len(self.to_dict())

    def __contains__(self, name: object) -> bool:
        return name in self.changed_columns or name in self.original_row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row | ChangedRow) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))

    def __repr__(self) -> str:
        return _spoken(self.to_dict())


class RowView:
    """The columns of one batch as lists, each made when it is first asked for.

    Attributes:
        names: The columns.
    """

    __slots__ = ("_batch", "_lists", "_readers", "names")

    def __init__(self, batch: Batch, readers: Mapping[str, _ColumnReader]) -> None:
        self.names = tuple(readers)
        self._batch = batch
        self._readers = readers
        self._lists: dict[str, list[Any]] = {}

    def values(self, name: str) -> list[Any]:
        """Return the values of a column as a row shows them."""
        values = self._lists.get(name)
        if values is None:
            values = self._readers[name](self._batch[name], self._batch.symbols)
            self._lists[name] = values
        return values


_ColumnReader = Callable[[Any, SymbolTable], list[Any]]


class RowReader:
    """Makes the rows of batches of one schema for one function.

    The columns the function names in its code are put into the rows at once; others are
    made for the whole batch when a row is first asked for them.
    """

    def __init__(self, schema: Schema, fn: Callable[..., Any]) -> None:
        named = _names_in(fn)
        self._eager = [name for name in schema.names if name in named]
        self._readers = {field.name: _reader(field) for field in schema}
        self._make = partial(map, _row_class(schema.names, self._eager))

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Return the rows of a batch, in order."""
        if len(batch) <= CHUNK_ROWS:
            return self._chunk(batch)
        starts = range(0, len(batch), CHUNK_ROWS)
        return chain.from_iterable(
            self._chunk(batch.slice(start, start + CHUNK_ROWS)) for start in starts
        )

    def _chunk(self, batch: Batch) -> Iterator[Row]:
        view = RowView(batch, self._readers)
        columns = [view.values(name) for name in self._eager]
        return self._make(zip(repeat(view), range(len(batch)), *columns, strict=False))


def _row_class(names: Iterable[str], eager: list[str]) -> type[Row]:
    # The descriptors of a named tuple read an item of any tuple without a Python call.
    places = [f"item{i}" for i in range(2 + len(eager))]
    items = namedtuple("items", places)  # type: ignore[misc]  # noqa: PYI024
    namespace: dict[str, Any] = {"__slots__": ()}
    for name in names:
        if name in eager:
            namespace[name] = items.__dict__[places[2 + eager.index(name)]]
        elif name not in Row.__dict__:
            namespace[name] = property(partial(_value_of, name))
    return type("Row", (Row,), namespace)


def _value_of(name: str, row: Row) -> Any:
    view: RowView = tuple.__getitem__(row, _VIEW)
    return view.values(name)[tuple.__getitem__(row, _INDEX)]


def _names_in(fn: Callable[..., Any]) -> set[str]:
    """Return the attribute names in a function's code, functions inside it included."""
    code = getattr(fn, "__code__", None)
    waiting = [code] if isinstance(code, CodeType) else []
    names: set[str] = set()
    while waiting:
        code = waiting.pop()
        names.update(code.co_names)
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return names


def _reader(field: Field) -> _ColumnReader:
    match field.kind:
        case Kind.FIXED:
            return _Decimals(field.scale)
        case Kind.SYMBOL:
            return _Symbols()
        case Kind.TIME | Kind.INT:
            return _integers
        case Kind.CHAR:
            return lambda column, _: _LETTERS[column].tolist()
        case Kind.ARROW:
            return lambda column, _: column.to_pylist()
        case _:
            return lambda column, _: column.tolist()


def _integers(column: Any, symbols: SymbolTable) -> list[Any]:  # noqa: ARG001
    values: list[Any] = column.tolist()
    if len(column) and column.max() == UNDEFINED:
        return [None if value == UNDEFINED else value for value in values]
    return values


class _Symbols:
    """Codes to names."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names = np.empty(0, object)

    def __call__(self, column: Any, symbols: SymbolTable) -> list[Any]:
        if len(self._names) != len(symbols):
            self._names = np.array(symbols.names, object)
        values: list[Any] = self._names[column].tolist()
        return values


class _Decimals:
    """Fixed point to `Decimal`; values that come again, as prices do, are remembered."""

    __slots__ = ("_known", "_unit")

    def __init__(self, scale: int) -> None:
        self._unit = Decimal(1).scaleb(-scale)
        self._known: _Remembered | None = _Remembered(self._unit)

    def __call__(self, column: Any, symbols: SymbolTable) -> list[Any]:  # noqa: ARG002
        values = column.tolist()
        known = self._known
        if known is None:
            made: list[Any] = list(map(_EXACT.multiply, values, repeat(self._unit)))
            if len(column) and column.max() == UNDEFINED:
                return [None if v == UNDEFINED else d for v, d in zip(values, made, strict=True)]
            return made
        before = len(known)
        decimals = list(map(known.__getitem__, values))
        if len(known) > _MOST_REMEMBERED:
            # Values that do not come again are not worth looking up.
            rare = (len(known) - before) * 4 > len(values)
            self._known = None if rare else _Remembered(self._unit)
        return decimals


class _Remembered(dict[int, Any]):
    def __init__(self, unit: Decimal) -> None:
        super().__init__({UNDEFINED: None})
        self._unit = unit

    def __missing__(self, value: int) -> Decimal:
        decimal = self[value] = _EXACT.multiply(Decimal(value), self._unit)
        return decimal


def explain(error: Exception) -> None:
    """Add to an error what a row has, if it was asked for a column it has not."""
    if isinstance(error, AttributeError) and isinstance(error.obj, Row):
        error.add_note(_unknown(error.name, error.obj.to_dict()))


def _unknown(name: object, names: Iterable[str]) -> str:
    have = ", ".join(f"`{known}`" for known in names)
    return f"a row has no column `{name}`{nearest(str(name), names)} (columns: {have})"


def _spoken(values: Mapping[str, Any]) -> str:
    return f"Row({', '.join(f'{name}={value!r}' for name, value in values.items())})"
