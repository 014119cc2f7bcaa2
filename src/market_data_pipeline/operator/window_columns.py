"""What windows are made of: the columns that go in, and those that come out."""

from __future__ import annotations

__all__ = ("WindowColumns", "column_of")

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from market_data_pipeline.batch import Column
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ArithmeticOverflowError, SchemaError, SnapshotError
from market_data_pipeline.kernels import aggregates as operations
from market_data_pipeline.kernels import row_store as store
from market_data_pipeline.kernels.window_output import OUT_VALUES
from market_data_pipeline.operator.aggregates import BoundAggregate
from market_data_pipeline.operator.window_functions import results_of
from market_data_pipeline.operator.window_rows import WindowRows
from market_data_pipeline.records import Field, Kind, Schema

if TYPE_CHECKING:
    from market_data_pipeline.operator.windows import Windows

Int64s = npt.NDArray[np.int64]

_KINDS: Final = tuple(Kind)
_WORDS_OF_SUMS: Final = 4


class WindowColumns:
    """The aggregates over the columns of the rows, and the rows of open windows.

    Attributes:
        schema: The columns of the rows that came last.
        rows: The rows of open windows; None before the first row.
        bound: The aggregates.
        program: (P, 4) the aggregates, for kernels.
    """

    def __init__(self, settings: Windows, context: NodeContext, *, whole: bool) -> None:
        """Know no columns yet.

        Args:
            settings: The windows.
            context: The node.
            whole: Whether all columns of the rows are needed, not only those of the key
                and the aggregates.
        """
        self._settings = settings
        self._context = context
        self._whole = whole
        self._kept: Schema | None = None
        self.schema: Schema | None = None
        self.rows: WindowRows | None = None
        self.bound: list[BoundAggregate] = []
        self.program = np.empty((0, 4), np.int64)

    def of(self, schema: Schema) -> WindowRows:
        """Return the rows of open windows, once it is seen that more can be taken.

        Raises:
            SchemaError: If the columns are not those of the rows before.
        """
        if self.rows is not None and schema is self.schema:
            return self.rows
        bound = self._settings.bound(schema, self._context.node)
        read = dict.fromkeys(name for aggregate in bound for name in aggregate.columns)
        kept = schema if self._whole else schema.only({*read, *self._settings.key, schema.time})
        if self.rows is None:
            self._make(kept, bound, tuple(read))
        elif self._kept is None or set(kept) != set(self._kept):
            msg = f"`{self._context.node}` was given other columns than before: {schema.names}"
            raise SchemaError(msg, node=self._context.node)
        self.schema = schema
        return self._known()

    def _known(self) -> WindowRows:
        if self.rows is None:
            msg = "windows were asked for before their columns were known"
            raise SchemaError(msg, node=self._context.node)
        return self.rows

    @property
    def kept(self) -> Schema:
        """The columns that are needed.

        Raises:
            SchemaError: If there was no row yet.
        """
        self._known()
        return self._kept or Schema("", ())

    def _make(self, kept: Schema, bound: list[BoundAggregate], columns: tuple[str, ...]) -> None:
        place = {name: store.ROW_VALUES + i for i, name in enumerate(columns)}
        self.bound = bound
        self._kept = kept
        self.program = np.array([_line(aggregate, place) for aggregate in bound], np.int64)
        self.rows = WindowRows(
            kept,
            key=self._settings.key,
            columns=columns,
            aggregates=len(bound),
            gathers=any(aggregate.call is not None for aggregate in bound),
            sums=_WORDS_OF_SUMS * len(bound) if self._settings.sliding else 0,
            node=self._context.node,
            symbols=self._context.symbols,
        )

    def taken(self) -> tuple[Int64s, Int64s]:
        """Return the windows given, and their rows where a function needs them.

        Raises:
            ArithmeticOverflowError: If an aggregate left its range.
        """
        rows = self._known()
        wrong = int(rows.meta[store.META_OVERFLOW])
        if wrong:
            name = self.bound[wrong - 1].field.name
            msg = (
                f"`{name}` of `{self._context.node}` left the range of 64 bits; read the "
                f"column with fewer decimal places, or take shorter windows"
            )
            raise ArithmeticOverflowError(msg)
        return rows.taken()

    def results(self, given: Int64s, gathered: Int64s) -> dict[str, Column]:
        """Return the columns of the aggregates of windows."""
        rows = self._known()
        columns: dict[str, Column] = {}
        own = results_of(self.bound, self._kept, gathered, given, rows, self._context)
        for place, aggregate in enumerate(self.bound):
            field = aggregate.field
            if field.name in own:
                columns[field.name] = own[field.name]
                continue
            column = column_of(given, OUT_VALUES + place)
            columns[field.name] = (
                column.view(np.float64)
                if field.kind is Kind.FLOAT
                else column.astype(field.dtype, copy=False)
            )
        return columns

    # State

    def scalars(self) -> dict[str, int]:
        """Return the columns as they are saved."""
        kept = self.kept
        saved = {f"time.{kept.time}": 0, f"name.{kept.name}": 0}
        for field in kept:
            saved[f"kind.{field.name}"] = _KINDS.index(field.kind)
            saved[f"scale.{field.name}"] = field.scale
            if field.arrow is not None:
                # A state has only numbers by name, so the name says the type.
                text = pa.schema([pa.field(field.name, field.arrow)]).serialize()
                saved[f"arrow.{text.to_pybytes().hex()}"] = 0
        return saved

    def load(self, scalars: Mapping[str, int]) -> WindowRows:
        """Make room for rows of columns that were saved.

        Raises:
            SnapshotError: If no columns were saved.
        """
        arrows: dict[str, pa.DataType] = {}
        words = {"time": "", "name": ""}
        for name in scalars:
            word, _, rest = name.partition(".")
            if word == "arrow":
                arrow = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(rest))).field(0)
                arrows[arrow.name] = arrow.type
            elif word in words:
                words[word] = rest
        fields = [
            Field(name[5:], _KINDS[kind], scalars[f"scale.{name[5:]}"], arrows.get(name[5:]))
            for name, kind in scalars.items()
            if name.startswith("kind.")
        ]
        if not fields:
            msg = "the state is not one of windows: there are no columns"
            raise SnapshotError(msg)
        return self.of(Schema(words["name"], tuple(fields), words["time"]))


def column_of(given: Int64s, place: int) -> Int64s:
    """Return a column of the windows given."""
    return np.ascontiguousarray(given[:, place])


def _line(aggregate: BoundAggregate, place: dict[str, int]) -> tuple[int, int, int, int]:
    """Return the line of a program for an aggregate."""
    words: list[Any] = [place[name] for name in aggregate.columns]
    if aggregate.call is not None:
        return (operations.NOTHING, 0, 0, 0)
    word = aggregate.operation.upper()
    if word == "COUNT" and not words:
        word = "COUNT_ROWS"
    elif word == "COUNT_FLOAT":
        word = "COUNT_FLOATS"
    line = [getattr(operations, word), *words, *aggregate.parameters, 0, 0, 0]
    return (line[0], line[1], line[2], line[3])
