"""Open the files a command names, one after the other."""

from __future__ import annotations

__all__ = ("capture_order", "each_file", "is_capture")

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from market_data_pipeline.cli.input_options import ReadSettings
from market_data_pipeline.source.formats import format_of, open_file
from market_data_pipeline.source.paths import find_files
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.symbols import SymbolTable

if TYPE_CHECKING:
    from market_data_pipeline.cli.file_profile import TimeProfile


def each_file(
    inputs: Iterable[str], settings: ReadSettings, *, every_kind: bool = False
) -> Iterator[tuple[str, int, FileReader, SymbolTable]]:
    """Give each file's path, bytes, reader and symbols, and close it afterwards.

    Args:
        inputs: Paths and patterns.
        settings: How to read them.
        every_kind: Give a capture that holds trades and quotes twice, once for each,
            unless the settings name the kind.

    Raises:
        MissingInputError: If a path or pattern names no file; before any is opened.
        InputError: If a file cannot be read.
    """
    form: Any = settings.format
    for path in find_files(inputs):
        kinds = [settings.kind]
        if every_kind and is_capture(path, settings):
            kinds = ["trades", "quotes"]
        for kind in kinds:
            symbols = SymbolTable()
            reader = open_file(path, form, _options(settings, kind), symbols)
            try:
                yield str(path), path.stat().st_size, reader, symbols
            finally:
                reader.close()


def is_capture(path: Path, settings: ReadSettings) -> bool:
    """Tell whether a file holds trades and quotes, of which no kind was chosen."""
    if settings.kind is not None:
        return False
    form = format_of(path) if settings.format == "auto" else settings.format
    return form == "binance"


def capture_order(path: Path, settings: ReadSettings) -> TimeProfile | None:
    """Return how event time runs over trades and quotes of a capture together.

    They are taken in the order of receipt. Memory is bounded by two batches.
    """
    from market_data_pipeline.cli.receipt_order import order_of_receipt

    form: Any = settings.format
    symbols = SymbolTable()
    wanted = frozenset({"ts_recv"})
    readers = [
        open_file(path, form, replace(_options(settings, kind), wanted=wanted), symbols)
        for kind in ("trades", "quotes")
    ]
    try:
        return order_of_receipt(readers)
    finally:
        for reader in readers:
            reader.close()


def _options(settings: ReadSettings, kind: Any) -> ReadOptions:
    return ReadOptions(
        kind=kind,
        symbol=settings.symbol,
        columns=settings.columns,
        timezone=settings.timezone,
        batch_rows=settings.batch_rows,
        strict=settings.strict,
        negative_prices=settings.negative_prices,
    )
