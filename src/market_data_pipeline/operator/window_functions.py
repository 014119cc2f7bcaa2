"""Aggregates of a window that are functions or Polars expressions of the user."""

from __future__ import annotations

__all__ = ("results_of",)

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from market_data_pipeline.batch import Batch, Column
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import SchemaError
from market_data_pipeline.kernels.row_store import ROW_TIME, ROW_VALUES
from market_data_pipeline.kernels.window_output import OUT_ROWS
from market_data_pipeline.operator.aggregates import BoundAggregate
from market_data_pipeline.operator.frames import batch_of_frame, frame_of_batch, polars
from market_data_pipeline.operator.window_rows import WindowRows
from market_data_pipeline.records import UNDEFINED, Field, Kind, Schema

Int64s = npt.NDArray[np.int64]

_WINDOW: Final = "__window__"


def results_of(
    bound: Sequence[BoundAggregate],
    schema: Schema | None,
    gathered: Int64s,
    given: Int64s,
    rows: WindowRows,
    context: NodeContext,
) -> dict[str, Column]:
    """Return the columns of the aggregates that are the user's own.

    Args:
        bound: All aggregates.
        schema: The columns of the rows.
        gathered: (g, W) the rows of all windows, one window after the other.
        given: (m, C) the windows; see `kernels.window_output`.
        rows: What the columns of a row are.
        context: The node, for messages, and the symbol table.

    Raises:
        SchemaError: If what comes out is not what was declared.
    """
    own = [aggregate for aggregate in bound if aggregate.call is not None]
    if not own or schema is None:
        return {}
    counts = given[:, OUT_ROWS]
    columns: dict[str, Any] = {schema.time: np.ascontiguousarray(gathered[:, ROW_TIME])}
    for place, name in enumerate(rows.columns):
        column = np.ascontiguousarray(gathered[:, ROW_VALUES + place])
        field = schema[name]
        columns[name] = (
            column.view(np.float64)
            if field.kind is Kind.FLOAT
            else column.astype(field.dtype, copy=False)
        )
    results: dict[str, Column] = {}
    ends = np.cumsum(counts).tolist()
    spans = list(zip((0, *ends), ends, strict=False))
    for aggregate in own:
        if aggregate.operation == "function":
            results[aggregate.field.name] = _called(aggregate, columns, spans, context.node)
    frames = [aggregate for aggregate in own if aggregate.operation == "polars"]
    if frames:
        fields = tuple(schema[name] for name in columns)
        batch = Batch(Schema("window", fields, schema.time), columns, context.symbols)
        results |= _framed(frames, batch, np.repeat(np.arange(len(given)), counts), given, context)
    return results


def _called(
    aggregate: BoundAggregate,
    columns: dict[str, Any],
    spans: Sequence[tuple[int, int]],
    node: str,
) -> Column:
    field = aggregate.field
    arguments = [columns[name] for name in aggregate.columns]
    empty: Any = np.nan if field.kind is Kind.FLOAT else UNDEFINED
    values = [
        aggregate.call(*(argument[a:b] for argument in arguments)) if b > a else empty
        for a, b in spans
    ]
    values = [empty if value is None else value for value in values]
    if field.kind is not Kind.FLOAT and not all(
        isinstance(value, int | np.integer) for value in values
    ):
        msg = f"the function for `{field.name}` of `{node}` must return an int or None"
        raise SchemaError(msg, node=node)
    return np.array(values, field.dtype)


def _framed(
    frames: Sequence[BoundAggregate],
    batch: Batch,
    windows: Int64s,
    given: Int64s,
    context: NodeContext,
) -> dict[str, Column]:
    pl = polars()
    frame = frame_of_batch(batch, position=False).with_columns(pl.Series(_WINDOW, windows))
    grouped = frame.group_by(_WINDOW, maintain_order=True)
    made = grouped.agg(*(aggregate.call for aggregate in frames))
    # Windows without rows are in no group.
    found = made[_WINDOW].to_numpy()
    results: dict[str, Column] = {}
    for aggregate in frames:
        field = aggregate.field
        series = made.select(_cast(pl, field))
        held = _held(series, field, context)
        empty: Any = np.nan if field.kind is Kind.FLOAT else UNDEFINED
        column = np.full(len(given), empty, field.dtype)
        column[found] = held
        results[field.name] = column
    return results


def _cast(pl: Any, field: Field) -> Any:
    kinds = {Kind.FLOAT: pl.Float64, Kind.INT: pl.Int64, Kind.FIXED: pl.Decimal(38, field.scale)}
    return pl.col(field.name).cast(kinds[field.kind])


def _held(frame: Any, field: Field, context: NodeContext) -> npt.NDArray[Any]:
    """Return a column of a frame as it is held in a batch."""
    if field.kind is Kind.FLOAT:
        floats: npt.NDArray[Any] = frame[field.name].fill_null(float("nan")).to_numpy()
        return floats
    if field.kind is Kind.INT:
        ints: npt.NDArray[Any] = frame[field.name].fill_null(UNDEFINED).to_numpy()
        return ints
    empty = Batch(Schema("w", (field,), ""), {field.name: np.empty(0, np.int64)}, context.symbols)
    fixed: npt.NDArray[Any] = batch_of_frame(frame, empty, context.node)[field.name]
    return fixed
