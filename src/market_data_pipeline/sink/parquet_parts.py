"""Parquet files on their way: by number of rows, or by the values of some columns."""

from __future__ import annotations

__all__ = ("Layout", "Part", "PartFiles", "check_partition", "partition_schema")

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import SchemaError, nearest
from market_data_pipeline.records import Kind, Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows, Prices

_pc: Any = compute  # its functions are made at run time, unseen by type checkers

DATE: Final = "date"
"""A partition of this name is the day of the event time, UTC, where no column has the name."""

_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_TYPES: Final = b"mdp.partition"
_GATHERED_ROWS: Final = 16_384
"""Fewer rows wait for more: converting a few bars takes as long as converting thousands."""
_GATHERED_BATCHES: Final = 64
"""Nor do more batches wait, since each may be a small part of a large piece of memory."""
_SPREAD_ROWS: Final = 1_048_576
"""Rows that wait until they are spread over the partitions, so that files are not small."""
_NEAR: Final = frozenset({Kind.TIME, Kind.INT})
_HARDLY_REPEAT: Final = frozenset({"volume", "vwap", "turnover"})
"""Sums and averages: a dictionary of them takes longer to make, and is larger, than they are."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is complete.

    Attributes:
        path: Where it is.
        partition: The folder it belongs to, as `date=2024-01-02/symbol=ES`; empty for none.
        rows: How many rows it has.
        nbytes: How many bytes it has.
    """

    path: Path
    partition: str
    rows: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows become files.

    Attributes:
        prices: Fixed point as `float64` or as `decimal`.
        compression: Of the columns.
        row_group_rows: Rows of a row group.
        part_rows: Rows of a file.
        partition: Columns whose values are folders.
    """

    prices: Prices
    compression: str
    row_group_rows: int
    part_rows: int | None
    partition: tuple[str, ...] = ()


def check_partition(partition: Sequence[str], schema: Schema) -> None:
    """Refuse partitions that the rows cannot be spread by.

    Raises:
        SchemaError: If a column is not there, or its values are no names of folders.
    """
    for name in partition:
        if name not in schema:
            if name == DATE and schema.time:
                continue
            names = ", ".join(f"`{known}`" for known in schema.names)
            close = nearest(name, schema.names)
            msg = f"`partition` names `{name}`, which is not there{close} (columns: {names})"
            raise SchemaError(msg)
        field = schema[name]
        arrow: Any = field.arrow
        if field.kind not in {Kind.SYMBOL, Kind.CHAR} and not (
            arrow is not None and (pa.types.is_string(arrow) or pa.types.is_date32(arrow))
        ):
            msg = f"`partition` must name columns of symbols, text or dates, `{field}` is none"
            raise SchemaError(msg)


def partition_schema(path: Path) -> pa.Schema:
    """Return the columns that are not in a file but in the names of its folders."""
    metadata = pq.read_metadata(path).metadata or {}
    told = json.loads(metadata.get(_TYPES, b"[]"))
    return pa.schema(
        [(name, pa.date32() if kind == "date" else pa.string()) for name, kind in told]
    )


@final
class PartFiles:
    """Writes rows into files; each is checked once it is complete.

    Attributes:
        schema: The columns of the rows.
        made: Every file that was begun.
        parts: The files that are complete.
        rows_waiting: Rows that are in none of them.
    """

    def __init__(self, schema: Schema, layout: Layout, path: Callable[[int, str], Path]) -> None:
        """Write nothing yet.

        Args:
            schema: The columns of the rows.
            layout: How they become files.
            path: Gives the path of a new file for its number and its partition.
        """
        check_partition(layout.partition, schema)
        self.schema = self._schema = schema
        self._layout = layout
        self._path = path
        self.made: list[Path] = []
        has_arrow = any(field.kind is Kind.ARROW for field in schema)
        self._rows = ArrowRows(schema, prices=layout.prices, dictionary=not has_arrow)
        self._gathered: list[Batch] = []
        self._gathered_rows = 0
        self._waiting: list[pa.Table] = []
        self._open: _PartFile | None = None
        self._count = 0
        self.parts: list[Part] = []
        self.rows_waiting = 0

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            SchemaError: If they have other columns.
            OSError: If they cannot be written.
        """
        self._rows.check(batches)
        rows = sum([len(batch) for batch in batches])
        self._gathered += batches
        self._gathered_rows += rows
        self.rows_waiting += rows
        if self._gathered_rows >= _GATHERED_ROWS or len(self._gathered) >= _GATHERED_BATCHES:
            self._write_gathered()

    def _write_gathered(self) -> None:
        table = self._rows.table(self._gathered)
        self._gathered, self._gathered_rows = [], 0
        if not self._layout.partition:
            self._write(table, "")
            return
        self._waiting.append(table)
        if sum(waiting.num_rows for waiting in self._waiting) >= _SPREAD_ROWS:
            self._spread()

    def _write(self, table: pa.Table, partition: str) -> None:
        most = self._layout.part_rows
        while table.num_rows:
            part = self._opened(partition, table.schema)
            room = table.num_rows if most is None else most - part.rows
            part.write(table.slice(0, room))
            table = table.slice(room)
            if part.rows == most:
                self._finish_part(partition)

    def _opened(self, partition: str, schema: pa.Schema) -> _PartFile:
        if self._open is None:
            path = self._path(self._count, partition)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made.append(path)
            self._open = _PartFile(path, schema, self._schema, self._layout)
            if partition:
                self._open.tell({_TYPES: json.dumps(self._types())})
            self._count += 1
        return self._open

    def _finish_part(self, partition: str) -> None:
        part, self._open = self._open, None
        if part is not None:
            try:
                part.close()
            except BaseException:
                part.give_up()
                raise
            self.parts.append(Part(part.path, partition, part.rows, part.path.stat().st_size))
            self.rows_waiting -= part.rows

    def _spread(self) -> None:
        """Write what waits, one file a partition."""
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        self._waiting = []
        for partition, rows in self._partitioned(table):
            self._write(rows, partition)
            self._finish_part(partition)

    def _partitioned(self, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        names = self._layout.partition
        codes = np.zeros(table.num_rows, np.int64)
        texts: list[list[str]] = []
        for name in names:
            column = self._values(table, name).combine_chunks()
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            words = [
                _folder(name, word) for word in coded.dictionary.cast(pa.string()).to_pylist()
            ]
            indices = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
            texts.append([*words, _folder(name, None)])
            codes = codes * (len(words) + 1) + indices
        used, inverse = np.unique(codes, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        ends = np.cumsum(np.bincount(inverse, minlength=len(used)))
        kept = table.drop_columns([name for name in names if name in table.column_names])
        start = 0
        for code, end in zip(used.tolist(), ends.tolist(), strict=True):
            folders: list[str] = []
            for words in reversed(texts):
                code, at = divmod(code, len(words))  # noqa: PLW2901  digits of one number
                folders.insert(0, words[at])
            yield "/".join(folders), kept.take(pa.array(order[start:end]))
            start = end

    def _values(self, table: pa.Table, name: str) -> Any:
        if name in table.column_names:
            return table.column(name)
        return table.column(self._schema.time).cast(pa.date32(), safe=False)

    def _types(self) -> list[list[str]]:
        return [
            [name, "text" if name in self._schema and not self._is_date(name) else "date"]
            for name in self._layout.partition
        ]

    def _is_date(self, name: str) -> bool:
        arrow: Any = self._schema[name].arrow
        return arrow is not None and bool(pa.types.is_date32(arrow))

    def close(self, *, at_least_one: bool = False) -> None:
        """Complete all files.

        Args:
            at_least_one: Make one without rows if there is none.

        Raises:
            OSError: If they cannot be written.
        """
        self._write_gathered()
        self._spread()
        if at_least_one and not self.parts and self._open is None:
            self._opened("", self._rows.schema)
        self._finish_part("")
        if self.rows_waiting:
            # After a failure the writer has let go of them, so another try has fewer rows.
            msg = f"{self.rows_waiting} rows could not be written before and are not kept"
            raise OSError(errno.EIO, msg)

    def give_up(self) -> None:
        """Forget what is not complete. May be called twice."""
        self._gathered, self._gathered_rows, self._waiting = [], 0, []
        if self._open is not None:
            self._open.give_up()
            self._open = None


def _folder(name: str, value: str | None) -> str:
    # The names of folders have one word for none, so empty text reads back as none too.
    text = quote(value, safe="") if value else _NULL
    return f"{quote(name, safe='')}={text}"


@final
class _PartFile:
    """One Parquet file; gathers rows to row groups of equal size."""

    def __init__(self, path: Path, arrow: pa.Schema, schema: Schema, layout: Layout) -> None:
        self.rows = 0
        self.path = path
        self._group_rows = layout.row_group_rows
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._file = pa.OSFile(str(path), "wb")
        # Symbols are written from dictionaries, which is several times faster, but read
        # as plain strings; types that Parquet does not know need the Arrow schema.
        # Times and counts are near their neighbours: differences are smaller than any
        # dictionary. The others repeat.
        written = [field for field in schema if field.name in arrow.names]
        differences = [field.name for field in written if field.kind in _NEAR]
        repeats: Any = [
            field.name
            for field in written
            if field.kind not in _NEAR and field.name not in _HARDLY_REPEAT
        ] or False
        try:
            self._writer = pq.ParquetWriter(
                self._file,
                arrow,
                compression=layout.compression,
                use_dictionary=repeats,
                column_encoding=dict.fromkeys(differences, "DELTA_BINARY_PACKED") or None,
                store_schema=any(field.kind is Kind.ARROW for field in schema),
            )
        except BaseException:
            self._file.close()
            raise

    def tell(self, metadata: Mapping[bytes, str]) -> None:
        self._writer.add_key_value_metadata(dict(metadata))

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
        found = pq.read_metadata(self.path).num_rows
        if found != self.rows:
            msg = f"the file holds {found} rows after {self.rows} were written"
            raise OSError(errno.EIO, msg)

    def give_up(self) -> None:
        # Otherwise the writer would try to complete the file when it is collected.
        self._writer.is_open = False
        self._file.close()
