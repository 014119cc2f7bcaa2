"""CSV files, plain or packed."""

from __future__ import annotations

__all__ = ("CsvReader", "peek_schema")

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError, PipelineError
from market_data_pipeline.kernels.status import MALFORMED
from market_data_pipeline.records import TRADE, Kind, Schema
from market_data_pipeline.source.cells import Text, row_text, to_ints
from market_data_pipeline.source.chunks import ChunkReader, default_symbol
from market_data_pipeline.source.columns import Plan, plan_columns
from market_data_pipeline.source.conversion import Converter
from market_data_pipeline.source.delimited import DelimitedText, Rows
from market_data_pipeline.source.reader import ReadOptions, Rejects
from market_data_pipeline.source.unpack import Blocks, open_blocks
from market_data_pipeline.symbols import SymbolTable

_SAMPLE_ROWS: Final = 1_000


def peek_schema(path: Path, options: ReadOptions) -> Schema:
    """Return the columns that reading the file will give.

    Raises:
        InputError: If the file is missing, empty or damaged, or lacks a column.
    """
    blocks = open_blocks(path)[0]
    try:
        return _plan(path, blocks, DelimitedText(blocks), options).schema
    finally:
        blocks.close()


class CsvReader(ChunkReader):
    """Reads one CSV file with a header: plain, gzip, Zstandard, or zip.

    The members of a zip are read one after the other; each has its own header and must
    have the same columns of ours. The delimiter is told from the header. Rows with too
    few or too many fields are rejected. A file without a symbol column takes
    `options.symbol`, else its own name up to the first dot; so does each member of a
    zip of several. Trade identifiers, sequences and flags are numbers if those of the
    first 1,000 rows are, else text.

    Args:
        path: The file.
        options: How to read it.
        symbols: The symbol table of the run.

    Raises:
        InputError: If the file is missing, empty or damaged, or lacks a column.
    """

    def __init__(self, path: Path, options: ReadOptions, symbols: SymbolTable) -> None:
        super().__init__(str(path), options, symbols)
        self._path = path
        self._options = options
        self._members = open_blocks(path)
        self._member_count = len(self._members)
        self._text: DelimitedText
        self._start_member()
        self.schema = self._converter.plan.schema

    def _start_member(self) -> None:
        blocks = self._members[0]
        try:
            self._text = DelimitedText(blocks)
            plan = _plan(self._path, blocks, self._text, self._options)
            self._converter = Converter(plan, self._options, self._symbols, self._rejects)
        except PipelineError:
            self.close()
            raise
        self._text.want(plan.read)
        self._rejects.place = blocks.place

    def _next_chunk(self) -> Batch | None:
        while (rows := self._text.read(self._chunk_rows)) is None:
            self._text.close()
            if len(self._members) == 1:
                return None
            del self._members[0]
            self._start_member()
            if self._converter.plan.schema != self.schema:
                msg = f"the members have different columns: {self._members[0].place} has others"
                raise InputError(msg, place=str(self._path))
        return self._convert(rows)

    def _convert(self, rows: Rows) -> Batch:
        fields = len(self._text.names)
        odd = rows.counts != fields
        if not odd.any():
            return self._converter.convert(rows.columns, len(rows), rows.first)
        for row in np.flatnonzero(odd).tolist():
            raw = row_text(rows.columns, row)
            _reject(self._rejects, rows.first + row, int(rows.counts[row]), fields, raw)
        keep = np.flatnonzero(~odd)
        columns = {
            name: Text(text.starts[keep], text.ends[keep], text.data)
            for name, text in rows.columns.items()
        }
        return self._converter.convert(columns, len(keep), rows.first + keep)

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        done = self._member_count - len(self._members)
        return (done + self._text.fraction()) / self._member_count

    def close(self) -> None:
        """Close the file."""
        for member in self._members:
            member.close()


def _reject(rejects: Rejects, row: int, count: int, fields: int, raw: str | None) -> None:
    if count < 0:
        rejects.add(row, "malformed", "there is text after a closing quote", raw)
    else:
        rejects.add(row, "fields", f"the row has {count} fields, the header {fields}", raw)


def _plan(path: Path, blocks: Blocks, text: DelimitedText, options: ReadOptions) -> Plan:
    found = pa.schema([(name, pa.string()) for name in text.names])
    symbol = default_symbol(Path(blocks.place) if blocks.place != str(path) else path)
    plan = plan_columns(blocks.place, found, options, default_symbol=symbol)
    numbers = _number_columns(plan, text)
    if not numbers:
        return plan
    found = pa.schema(
        [(name, pa.int64() if name in numbers else pa.string()) for name in text.names]
    )
    return plan_columns(blocks.place, found, options, default_symbol=symbol)


def _number_columns(plan: Plan, text: DelimitedText) -> frozenset[str]:
    # Identifiers, sequences and flags are text at some venues.
    numbers = set()
    for field in TRADE:
        source = plan.sources.get(field.name)
        if field.kind is Kind.INT and source is not None:
            _, status = to_ints(text.sample(source, _SAMPLE_ROWS))
            if status is None or not (status == MALFORMED).any():
                numbers.add(source)
    return frozenset(numbers)
