"""Rows as JSON lines."""

from __future__ import annotations

__all__ = ("JsonlSink",)

import json
from typing import Any, ClassVar, Final, final

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import json as arrow_json

from market_data_pipeline.arrow_text import json_text
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
_TIME: Final = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$"
_SUFFIX: Final = ".jsonl"


@component("jsonl")
class JsonlSink:
    """Writes one JSON object a line, published in one step at the end.

    Times are ISO 8601 with nanoseconds and `Z`; prices and sizes are exact decimal
    numbers without an exponent; "none" is `null`.

    Delivery: all rows once at the end, or none. In a run with checkpoints too: they are kept
    in the hidden folder `.NAME.epochs` until the end, and when the run is told to stop; a
    run that goes on replaces the file by a longer one.

    Attributes:
        path: Where to: `NAME.jsonl`, or compressed `NAME.jsonl.gz`, `NAME.jsonl.zst`.
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
            return TextOutput(path, _SUFFIX, _JsonlFormat(), schema, overwrite=overwrite)

        return await open_file(str(self.path), context, make, overwrite=self.overwrite)

    def read(self) -> pa.Table:
        """Return what is in the output, with the types that Arrow finds; times are times."""
        with open_text(str(self.path), _SUFFIX) as file:
            data = file.read()
        if not data:
            return pa.table({})
        table = arrow_json.read_json(reader_of(data))
        for index, field in enumerate(table.schema):
            if pa.types.is_string(field.type) and _all_times(table.column(index)):
                times = table.column(index).cast(pa.timestamp("ns", "UTC"))
                table = table.set_column(index, field.name, times)
        return table


def _all_times(column: pa.ChunkedArray) -> bool:
    """Tell whether all values are times as this sink writes them."""
    return bool(_pc.all(_pc.match_substring_regex(column, _TIME)).as_py())


@final
class _JsonlFormat:
    def header(self, schema: pa.Schema) -> bytes:  # noqa: ARG002
        return b""

    def body(self, table: pa.Table) -> pa.Buffer | bytes:
        parts: list[object] = []
        before = "{"
        for name, column in zip(table.column_names, table.columns, strict=True):
            parts += [f"{before}{json.dumps(name, ensure_ascii=False)}:"]
            parts += [json_text(column.combine_chunks())]
            before = ","
        lines = _pc.binary_join_element_wise(*parts, "}\n", "")
        return _bytes(lines)


def _bytes(lines: pa.Array) -> pa.Buffer | bytes:
    """Return the text of all lines, which lies in one piece in an Arrow array."""
    if not len(lines):
        return b""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)
    start, stop = int(ends[lines.offset]), int(ends[lines.offset + len(lines)])
    return data.slice(start, stop - start)
