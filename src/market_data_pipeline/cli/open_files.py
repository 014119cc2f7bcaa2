"""Open the files a command names, one after the other."""

from __future__ import annotations

__all__ = ("each_file",)

from collections.abc import Iterable, Iterator
from typing import Any

from market_data_pipeline.cli.input_options import ReadSettings
from market_data_pipeline.source.formats import open_file
from market_data_pipeline.source.paths import find_files
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.symbols import SymbolTable


def each_file(
    inputs: Iterable[str], settings: ReadSettings
) -> Iterator[tuple[str, int, FileReader, SymbolTable]]:
    """Give each file's path, bytes, reader and symbols, and close it afterwards.

    Args:
        inputs: Paths and patterns.
        settings: How to read them.

    Raises:
        MissingInputError: If a path or pattern names no file; before any is opened.
        InputError: If a file cannot be read.
    """
    kind: Any = settings.kind
    form: Any = settings.format
    options = ReadOptions(
        kind=kind,
        symbol=settings.symbol,
        columns=settings.columns,
        timezone=settings.timezone,
        batch_rows=settings.batch_rows,
        strict=settings.strict,
    )
    for path in find_files(inputs):
        symbols = SymbolTable()
        reader = open_file(path, form, options, symbols)
        try:
            yield str(path), path.stat().st_size, reader, symbols
        finally:
            reader.close()
