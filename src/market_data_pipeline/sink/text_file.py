"""What the sinks of text files share: compression, publishing, one piece of text a batch."""

from __future__ import annotations

__all__ = ("TextOutput", "open_text")

import gzip
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, final

import pyarrow as pa

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import Schema
from market_data_pipeline.sink.arrow_rows import ArrowRows
from market_data_pipeline.sink.publish import Draft, reporting

_COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
_GZIP_LEVEL: Final = 6


class TextFormat(Protocol):
    """How rows become text."""

    def header(self, schema: pa.Schema) -> pa.Buffer | bytes:
        """Return what stands before the first row."""
        ...

    def body(self, table: pa.Table) -> pa.Buffer | bytes:
        """Return rows as UTF-8, each with its line end."""
        ...


def compression_of(path: str, suffix: str) -> str | None:
    """Return the compression that the end of a path names.

    Args:
        path: The output.
        suffix: The suffix of the uncompressed format, as `.csv`.

    Raises:
        ConfigError: If the path does not end in the suffix, or that and a compression's.
    """
    for ending, name in {"": None, **_COMPRESSIONS}.items():
        if path.endswith(suffix + ending):
            return name
    ends = ", ".join(f"`{suffix}{ending}`" for ending in ("", *_COMPRESSIONS))
    msg = f"`path` must end in one of {ends}, was `{path}`"
    raise ConfigError(msg, parameter="path")


def open_text(path: str, suffix: str) -> pa.NativeFile:
    """Open a text output for reading, uncompressed."""
    file = pa.OSFile(path, "rb")
    compression = compression_of(path, suffix)
    return file if compression is None else pa.CompressedInputStream(file, compression)


@final
class TextOutput:
    """A text file on its way."""

    def __init__(
        self,
        path: str,
        suffix: str,
        layout: TextFormat,
        schema: Schema | None,
        *,
        overwrite: bool,
    ) -> None:
        self._path = path
        self._layout = layout
        self._schema = schema
        self._rows: ArrowRows | None = None
        self._draft = Draft(path, overwrite=overwrite)
        with reporting(path):
            self._draft.temporary.touch(exist_ok=False)
            self._file = pa.OSFile(str(self._draft.temporary), "wb")
        self._stream: Any = self._file
        compression = compression_of(path, suffix)
        if compression == "gzip":
            # Arrow's own stream has no level but the slowest.
            self._stream = gzip.GzipFile(
                "", "wb", compresslevel=_GZIP_LEVEL, fileobj=self._file, mtime=0
            )
        elif compression is not None:
            self._stream = pa.CompressedOutputStream(self._file, compression)

    def write(self, batches: Sequence[Batch]) -> None:
        """Take rows.

        Raises:
            OutputError: If they cannot be written.
        """
        rows = self._begun(batches[0].schema)
        body = self._layout.body(rows.table(batches))
        with reporting(self._path):
            self._stream.write(body)

    def _begun(self, schema: Schema) -> ArrowRows:
        if self._rows is None:
            self._rows = ArrowRows(schema, prices="decimal", dictionary=True)
            with reporting(self._path):
                self._stream.write(self._layout.header(self._rows.schema))
        return self._rows

    def complete(self) -> None:
        """Make everything durable, or raise and leave nothing behind.

        Raises:
            OutputError: If that cannot be done.
        """
        try:
            if self._schema is not None:
                self._begun(self._schema)
            with reporting(self._path):
                self._stream.close()
                self._file.close()
            self._draft.complete_file()
        except BaseException:
            self.discard()
            raise

    def publish(self) -> None:
        """Make visible what is complete, or raise and leave nothing behind.

        Raises:
            OutputError: If that cannot be done.
        """
        try:
            self._draft.publish_file()
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError, ValueError):
            self._stream.close()
        self._file.close()
        self._draft.discard()
