"""Rows of an epoch in a file, exactly as they were in memory.

An Arrow stream of the columns as a batch holds them: times and fixed point as int64,
symbols with their names, all else as it is. `outbox-0.arrow` and so on in the epoch's
folder; several where staging failed before. Nothing of it depends on the run, so another
process can go on with it.
"""

from __future__ import annotations

__all__ = ("Spool", "read_file", "read_outbox", "schema_of_file")

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final, final

import numpy as np
import pyarrow as pa

from market_data_pipeline import wire
from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import OutputError
from market_data_pipeline.records import Field, Kind, Schema
from market_data_pipeline.sink.arrow_rows import check_columns
from market_data_pipeline.sink.publish import reporting, sync
from market_data_pipeline.symbols import SymbolTable

_MEMORY_BYTES: Final = 32 * 1024 * 1024
"""What is gathered in memory before the rest of an epoch goes to a temporary file."""
_GATHERED_ROWS: Final = 16_384
_GATHERED_BATCHES: Final = 64


@final
class Spool:
    """Gathers the rows of an epoch until it is staged.

    Attributes:
        rows: Rows gathered and not staged.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._schema: Schema | None = None
        self._gathered: list[Batch] = []
        self._gathered_rows = 0
        self._file: Any = None
        self._writer: Any = None
        self._names = pa.nulls(0, pa.string())
        self._full: list[Any] = []
        # A stream that failed in the middle of a piece cannot be gone on with.
        self._is_broken = False

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            SchemaError: If they have other columns than those before.
            OutputError: If there is no room for them.
        """
        if self._schema is None:
            self._schema = batches[0].schema
        check_columns(self._schema, batches)
        rows = sum([len(batch) for batch in batches])
        self.rows += rows
        self._gathered += batches
        self._gathered_rows += rows
        if self._gathered_rows >= _GATHERED_ROWS or len(self._gathered) >= _GATHERED_BATCHES:
            self._write_gathered()

    def _write_gathered(self) -> None:
        if self._is_broken:
            msg = "rows could not be kept before; let the run go on from its last checkpoint"
            raise OutputError(msg, path="the outbox")
        if not self._gathered or self._schema is None:
            return
        self._is_broken = True
        symbols = self._gathered[0].symbols
        if len(symbols) != len(self._names):
            self._names = symbols.arrow_names()
        with reporting("the outbox"):
            if self._writer is None:
                self._file = SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115  until staged
                self._writer = pa.ipc.new_stream(
                    pa.PythonFile(self._file, "w"),
                    wire.arrow_schema(self._schema, coded=True),
                    options=pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=True),
                )
            arrays = [_array(field, self._gathered, self._names) for field in self._schema]
            self._writer.write_batch(
                pa.record_batch(arrays, schema=wire.arrow_schema(self._schema, coded=True))
            )
        self._gathered, self._gathered_rows = [], 0
        self._is_broken = False

    def stage(self, folder: Path) -> int:
        """Put what was gathered into a folder and return once it is on the disk.

        If that fails, all of it stays here and the next call tries again.

        Returns:
            The number of rows; no file is made for none.

        Raises:
            OutputError: If it cannot be done.
        """
        self._write_gathered()
        with reporting(str(folder)):
            if self._writer is not None:
                self._is_broken = True
                self._writer.close()
                self._is_broken = False
                self._full.append(self._file)
                self._writer = self._file = None
            for number, file in enumerate(self._full):
                _copy(file, folder / f"outbox-{number}.arrow")
            if self._full:
                sync(folder)
        self._close(self._full)
        staged, self.rows, self._full = self.rows, 0, []
        return staged

    def discard(self) -> None:
        """Forget what was gathered."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowInvalid):
                self._writer.close()
            self._full.append(self._file)
            self._writer = self._file = None
        self._close(self._full)
        self._gathered, self._gathered_rows, self.rows, self._full = [], 0, 0, []

    @staticmethod
    def _close(files: Sequence[Any]) -> None:
        for file in files:
            file.close()


def _copy(source: Any, path: Path) -> None:
    source.seek(0)
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())


def read_outbox(folder: Path, symbols: SymbolTable) -> Iterator[Batch]:
    """Give the rows of an epoch, in order.

    Args:
        folder: The epoch's folder.
        symbols: The symbol table of the run; names are added to it.

    Raises:
        OutputError: If a file cannot be read or is not an outbox.
    """
    for number in range(sum(1 for _ in folder.glob("outbox-*.arrow"))):
        yield from read_file(folder / f"outbox-{number}.arrow", symbols)


def schema_of_file(path: Path) -> Schema:
    """Return the columns of one file of an outbox.

    Raises:
        OutputError: If it cannot be read or is not an outbox.
    """
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            return wire.schema_of(reader.schema)
    except (OSError, pa.ArrowInvalid, ValueError, KeyError) as err:
        msg = f"what was staged cannot be read back: {err}"
        raise OutputError(msg, path=str(path)) from err


def read_file(path: Path, symbols: SymbolTable) -> Iterator[Batch]:
    """Give the rows of one file of an outbox, in order; as `read_outbox`.

    Raises:
        OutputError: If it cannot be read or is not an outbox.
    """
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            schema = wire.schema_of(reader.schema)
            for record_batch in reader:
                yield wire.from_arrow(record_batch, symbols, schema)
    except (OSError, pa.ArrowInvalid, ValueError, KeyError) as err:
        msg = f"what was staged cannot be read back: {err}"
        raise OutputError(msg, path=str(path)) from err


def _array(field: Field, batches: Sequence[Batch], names: pa.Array) -> pa.Array:
    parts = [batch.columns[field.name] for batch in batches]
    if field.kind is Kind.ARROW:
        return pa.concat_arrays(parts)
    values = np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
    if field.kind is Kind.SYMBOL:
        return pa.DictionaryArray.from_arrays(pa.array(values, pa.int32()), names)
    return pa.array(values, wire.arrow_type(field))
