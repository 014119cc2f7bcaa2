"""Rows of a batch as plain values, so that runs with other symbol codes can be compared."""

from __future__ import annotations

__all__ = ("Rows", "renamed", "rows_of")

from typing import Any

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import TIME_MIN, Batch, Column
from market_data_pipeline.records import Kind
from market_data_pipeline.symbols import SymbolTable

Rows = dict[str, list[tuple[Any, ...]]]
"""Rows by port."""


def rows_of(batch: Batch) -> list[tuple[Any, ...]]:
    """Return rows with the watermark after each, symbols by name."""
    columns: list[list[Any]] = []
    for field in batch.schema:
        values: list[Any] = _listed(batch[field.name])
        if field.kind is Kind.SYMBOL:
            values = [batch.symbols.name(code) for code in values]
        elif field.kind is Kind.FLOAT:
            values = [repr(value) for value in values]  # so that NaN equals itself
        columns.append(values)
    if batch.progress is not None and batch.schema.time:
        columns.append(batch.progress.watermarks(batch.times).tolist())
    else:
        columns.append([TIME_MIN] * len(batch))
    return list(zip(*columns, strict=True))


def _listed(column: Column) -> list[Any]:
    listed: list[Any] = column.to_pylist() if isinstance(column, pa.Array) else column.tolist()
    return listed


def renamed(batch: Batch, table: SymbolTable) -> Batch:
    """Return a batch over another symbol table, in which the symbols have other codes."""
    codes = np.array([table.code(name) for name in reversed(batch.symbols.names)][::-1], np.int32)
    columns: dict[str, Column] = {
        field.name: codes[batch[field.name]] if field.kind is Kind.SYMBOL else batch[field.name]
        for field in batch.schema
    }
    return Batch(batch.schema, columns, table, batch.progress)
