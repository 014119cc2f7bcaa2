"""Rows as Parquet: one file, or a folder of files."""

from __future__ import annotations

__all__ = ("ParquetSink",)

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import PositiveInt

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError, OutputError, OutputExistsError
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows, Prices
from market_data_pipeline.sink.publish import (
    Draft,
    OutputPath,
    check_parent,
    check_vacant,
    reporting,
)
from market_data_pipeline.sink.writer import ThreadedWriter

Compression: TypeAlias = Literal["zstd", "snappy", "none"]

_GATHERED_ROWS: Final = 16_384
"""Fewer rows wait for more: converting a few bars takes as long as converting thousands."""
_GATHERED_BATCHES: Final = 64
"""Nor do more batches wait, since each may be a small part of a large piece of memory."""
_NEAR: Final = frozenset({Kind.TIME, Kind.INT})


@component("parquet")
class ParquetSink:
    """Writes a Parquet file, or a folder of them, published in one step at the end.

    Attributes:
        path: Where to: `NAME.parquet` is one file, `NAME/` a folder of part files.
        overwrite: Replace what is there; otherwise refuse.
        prices: Fixed-point columns as the nearest `float64`, or exact as `decimal`.
        compression: `zstd`, `snappy` or `none`.
        row_group_rows: Rows of a row group; all but the last have as many.
        part_rows: Rows of a part file in a folder.
    """

    path: OutputPath
    overwrite: bool = False
    prices: Prices = "float64"
    compression: Compression = "zstd"
    row_group_rows: PositiveInt = 100_000
    part_rows: PositiveInt = 10_000_000

    def __post_init__(self) -> None:
        path = str(self.path)
        if not path.endswith(("/", ".parquet")):
            msg = f"`path` must end in `.parquet` for a file or in `/` for a folder, was `{path}`"
            raise ConfigError(msg, parameter="path")

    @property
    def is_folder(self) -> bool:
        """True if the output is a folder of part files."""
        return str(self.path).endswith("/")

    def check(self) -> None:
        """Look at the output before anything runs.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written, or replacing it would delete other
                files than Parquet.
        """
        if self.is_folder:
            _check_folder(str(self.path), overwrite=self.overwrite)
        else:
            check_vacant(str(self.path), overwrite=self.overwrite)

    async def open(self, context: NodeContext, schema: Schema | None) -> ThreadedWriter:
        """Open the output under a hidden name.

        Args:
            context: The node's context.
            schema: The columns to come, None if unknown until the first batch.

        Raises:
            OutputExistsError: If it exists and may not be replaced.
            OutputError: If it cannot be written.
        """
        self.check()
        return ThreadedWriter(_ParquetOutput(self, schema), context)

    def read(self) -> pa.Table:
        """Return what is in the output."""
        return pq.read_table(str(self.path))

    def _draft(self) -> Draft:
        return Draft(str(self.path), overwrite=self.overwrite)


def _check_folder(path: str, *, overwrite: bool) -> None:
    check_parent(path)
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        msg = "cannot be written: it is a file; end the path in `.parquet`, or choose another"
        raise OutputError(msg, path=path)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if files and not overwrite:
        msg = (
            "exists already and is not empty; pass `--overwrite` or set `overwrite: true` to "
            "replace it, or choose another name"
        )
        raise OutputExistsError(msg, path=path)
    for file in files:
        if file.suffix != ".parquet" or not file.is_file():
            msg = (
                f"cannot be replaced: it holds `{file.name}`, which is not a Parquet file; "
                "delete it yourself, or choose another folder"
            )
            raise OutputError(msg, path=path)


@final
class _ParquetOutput:
    def __init__(self, sink: ParquetSink, schema: Schema | None) -> None:
        self._sink = sink
        self._path = str(sink.path)
        self._schema = schema
        self._rows: ArrowRows | None = None
        self._part: _PartFile | None = None
        self._part_count = 0
        self._gathered: list[Batch] = []
        self._gathered_rows = 0
        self._draft = Draft(self._path, overwrite=sink.overwrite)
        with reporting(self._path):
            if sink.is_folder:
                self._draft.temporary.mkdir()
            else:
                self._draft.temporary.touch(exist_ok=False)

    def write(self, batches: Sequence[Batch]) -> None:
        if self._rows is None:
            self._rows = _rows(batches[0].schema, self._sink)
        self._rows.check(batches)
        self._gathered += batches
        self._gathered_rows += sum([len(batch) for batch in batches])
        if self._gathered_rows >= _GATHERED_ROWS or len(self._gathered) >= _GATHERED_BATCHES:
            self._write_gathered(self._rows)

    def _write_gathered(self, rows: ArrowRows) -> None:
        table = rows.table(self._gathered)
        self._gathered, self._gathered_rows = [], 0
        with reporting(self._path):
            while table.num_rows:
                part = self._open_part()
                room = self._sink.part_rows - part.rows
                if not self._sink.is_folder:
                    room = table.num_rows
                part.write(table.slice(0, room))
                table = table.slice(room)
                if self._sink.is_folder and part.rows == self._sink.part_rows:
                    self._close_part()

    def _open_part(self) -> _PartFile:
        if self._part is None:
            if self._rows is None:
                self._rows = _rows(self._schema, self._sink)
            file = self._draft.temporary
            if self._sink.is_folder:
                file = file / f"part-{self._part_count:05d}.parquet"
            self._part = _PartFile(file, self._rows, self._sink)
            self._part_count += 1
        return self._part

    def _close_part(self) -> None:
        self._open_part().close()
        self._part = None

    def complete(self) -> None:
        try:
            if self._rows is not None:
                self._write_gathered(self._rows)
            with reporting(self._path):
                if self._part is not None or self._part_count == 0:
                    self._close_part()
            if self._sink.is_folder:
                self._draft.complete_folder()
            else:
                self._draft.complete_file()
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        try:
            if self._sink.is_folder:
                self._draft.publish_folder()
            else:
                self._draft.publish_file()
        finally:
            self.discard()

    def discard(self) -> None:
        self._gathered, self._gathered_rows = [], 0
        if self._part is not None:
            self._part.give_up()
            self._part = None
        self._draft.discard()


def _rows(schema: Schema | None, sink: ParquetSink) -> ArrowRows:
    schema = Schema("empty", (), time="") if schema is None else schema
    return ArrowRows(schema, prices=sink.prices, dictionary=not _has_arrow(schema))


def _has_arrow(schema: Schema) -> bool:
    return any(field.kind is Kind.ARROW for field in schema)


@final
class _PartFile:
    """One Parquet file; gathers rows to row groups of equal size."""

    def __init__(self, path: Path, rows: ArrowRows, sink: ParquetSink) -> None:
        self.rows = 0
        self._path = path
        self._group_rows = sink.row_group_rows
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._file = pa.OSFile(str(path), "wb")
        # Symbols are written from dictionaries, which is several times faster, but read
        # as plain strings; types that Parquet does not know need the Arrow schema.
        # Times and counts are near their neighbours: differences are smaller than any
        # dictionary. The others repeat.
        differences = [f.name for f in rows.source if f.kind in _NEAR]
        repeats: Any = [f.name for f in rows.source if f.kind not in _NEAR] or False
        self._writer = pq.ParquetWriter(
            self._file,
            rows.schema,
            compression=sink.compression,
            use_dictionary=repeats,
            column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED") or None,
            store_schema=_has_arrow(rows.source),
        )

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= self._group_rows:
            gathered = pa.concat_tables(self._waiting)
            full = gathered.num_rows - gathered.num_rows % self._group_rows
            self._writer.write_table(gathered.slice(0, full), self._group_rows)
            rest = gathered.slice(full)
            self._waiting, self._waiting_rows = [rest], rest.num_rows

    def close(self) -> None:
        if self._waiting_rows:
            self._writer.write_table(pa.concat_tables(self._waiting), self._group_rows)
        self._waiting = []
        self._writer.close()
        self._file.close()
        found = pq.read_metadata(self._path).num_rows
        if found != self.rows:
            msg = f"the file holds {found} rows after {self.rows} were written"
            raise OSError(errno.EIO, msg)

    def give_up(self) -> None:
        # Otherwise the writer would try to complete the file when it is collected.
        self._writer.is_open = False
        self._file.close()
