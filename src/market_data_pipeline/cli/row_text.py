"""Rows as lines of text: a table that goes on for ever, or JSON lines."""

from __future__ import annotations

__all__ = ("RowPrinter",)

import json
from typing import Any

import pyarrow as pa
from pyarrow import compute

from market_data_pipeline.arrow_text import column_text, json_text
from market_data_pipeline.batch import Batch
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows

_pc: Any = compute  # its functions are made at run time, unseen by type checkers


class RowPrinter:
    """Turns batches of one schema into text.

    Columns of a table are as wide as their widest value so far, so that they may step
    outwards but text never waits for rows to come.
    """

    def __init__(self, schema: Schema, *, as_json: bool) -> None:
        self._rows = ArrowRows(schema, prices="decimal")
        self._as_json = as_json
        self._widths = [len(name) for name in schema.names]
        self._header_due = not as_json

    def text(self, batch: Batch) -> str:
        """Return the rows, each with its line end."""
        if not len(batch):
            return ""
        table = self._rows.table([batch])
        return _json_lines(table) if self._as_json else self._table_lines(table)

    def _table_lines(self, table: pa.Table) -> str:
        columns = [
            column_text(column.combine_chunks()).fill_null("-").to_pylist()
            for column in table.columns
        ]
        for i, column in enumerate(columns):
            self._widths[i] = max(self._widths[i], *map(len, column))
        rows = list(zip(*columns, strict=True))
        if self._header_due:
            self._header_due = False
            rows.insert(0, tuple(table.column_names))
        lines = ["  ".join(map(str.ljust, row, self._widths)).rstrip() + "\n" for row in rows]
        return "".join(lines)


def _json_lines(table: pa.Table) -> str:
    parts: list[Any] = []
    before = "{"
    for name, column in zip(table.column_names, table.columns, strict=True):
        parts += [f"{before}{json.dumps(name)}:", json_text(column.combine_chunks())]
        before = ","
    lines = _pc.binary_join_element_wise(*parts, "}\n", "")
    return "".join(lines.to_pylist())
