"""Rows as CSV."""

from __future__ import annotations

__all__ = ("CsvSink",)

from typing import Any, ClassVar, Final, final

import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from market_data_pipeline.arrow_text import column_text
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.epochs import Delivery
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.memory import reader_of
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.epoch_writer import EpochedWriter
from market_data_pipeline.sink.publish import OutputPath, check_vacant
from market_data_pipeline.sink.text_file import TextOutput, compression_of, open_text
from market_data_pipeline.sink.whole_file import open_file
from market_data_pipeline.sink.writer import ThreadedWriter

_pc: Any = compute  # its functions are made at run time, unseen by type checkers
_SUFFIX: Final = ".csv"


@component("csv")
class CsvSink:
    """Writes a CSV file, published in one step at the end.

    The first line names the columns. Times are ISO 8601 with nanoseconds and `Z`, which
    pandas and Arrow read back exactly by themselves, DuckDB as `TIMESTAMP_NS`. Prices
    and sizes are exact decimals without an exponent. "None" is an empty field; text is
    quoted only where it must be.

    Delivery: all rows once at the end, or none. In a run with checkpoints too: they are kept
    in the hidden folder `.NAME.epochs` until the end, and when the run is told to stop; a
    run that goes on replaces the file by a longer one.

    Attributes:
        path: Where to: `NAME.csv`, or compressed `NAME.csv.gz`, `NAME.csv.zst`.
        overwrite: Replace what is there; otherwise refuse.
    """

    path: OutputPath
    overwrite: bool = False

    delivery: ClassVar[Delivery] = "exactly_once"

    def __post_init__(self) -> None:
        compression_of(str(self.path), _SUFFIX)

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written.
        """
        check_vacant(str(self.path), overwrite=self.overwrite)

    async def open(
        self, context: NodeContext, schema: Schema | None
    ) -> ThreadedWriter | EpochedWriter:
        """Open the output under a hidden name.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written.
        """

        def make(*, overwrite: bool) -> TextOutput:
            path = str(self.path)
            return TextOutput(path, _SUFFIX, _CsvFormat(), schema, overwrite=overwrite)

        return await open_file(str(self.path), context, make, overwrite=self.overwrite)

    def read(self) -> pa.Table:
        """Return what is in the output, with the types that Arrow finds."""
        with open_text(str(self.path), _SUFFIX) as file:
            data = file.read()
        options = arrow_csv.ConvertOptions(
            strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        return arrow_csv.read_csv(reader_of(data), convert_options=options)


@final
class _CsvFormat:
    def header(self, schema: pa.Schema) -> pa.Buffer | bytes:
        # The names are formatted as if they were a row.
        row = {str(index): [name] for index, name in enumerate(schema.names)}
        return _lines(pa.table(row)) if row else b""

    def body(self, table: pa.Table) -> pa.Buffer | bytes:
        columns = {}
        for field, column in zip(table.schema, table.columns, strict=True):
            array = column.combine_chunks()
            own = pa.types.is_timestamp(field.type) or pa.types.is_decimal(field.type)
            columns[field.name] = column_text(array) if own else array
        return _lines(pa.table(columns))


def _lines(table: pa.Table) -> pa.Buffer:
    """Return rows as CSV; text is quoted where some of it must be."""
    if not any(_has_empty_text(column) for column in table.columns):
        try:
            return _formatted(table, "none")
        except pa.ArrowInvalid:  # some text holds a comma, a quote or a line end
            pass
    return _formatted(table, "needed")


def _has_empty_text(column: pa.ChunkedArray) -> bool:
    """Tell whether a column has empty text, which without quotes would read as null."""
    return bool(pa.types.is_string(column.type) and _pc.any(_pc.equal(column, "")).as_py())


def _formatted(table: pa.Table, quoting: str) -> pa.Buffer:
    options = arrow_csv.WriteOptions(include_header=False, quoting_style=quoting)
    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(table, sink, options)
    return sink.getvalue()
