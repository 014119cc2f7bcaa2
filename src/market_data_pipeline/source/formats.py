"""Which format a file is of, and the reader for it."""

from __future__ import annotations

__all__ = ("FORMATS", "Format", "format_of", "open_file")

import re
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from market_data_pipeline.errors import InputError
from market_data_pipeline.source.chunks import checked_file
from market_data_pipeline.source.reader import FileReader, ReadOptions
from market_data_pipeline.symbols import SymbolTable

Format: TypeAlias = Literal["csv", "parquet", "arrow", "lean", "binance"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

_HEAD_BYTES: Final = 64
_CAPTURE: Final = re.compile(rb"\d{10,19} \{")
_MAGIC: Final[dict[bytes, Format]] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
}
_ENDINGS: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


def format_of(path: Path) -> Format:
    """Return the format of a file, told from its first bytes, then its path.

    Parquet and Arrow files begin with a mark of their own. A zip whose path is one of
    LEAN's is one, a text that begins with `LOCAL_NS {` is a Binance capture, and any
    other text is CSV. Text may be compressed.

    Raises:
        InputError: If the file is missing, empty, or cannot be read.
    """
    from market_data_pipeline.source.lean_layout import LeanPath

    checked_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as err:
        msg = f"the file cannot be read: {err.strerror}"
        raise InputError(msg, place=str(path)) from err
    for magic, form in _MAGIC.items():
        if head.startswith(magic):
            return form
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()]
    if path.suffix.lower() == ".zip" and LeanPath.parse(path) is not None:
        return "lean"
    return "binance" if _CAPTURE.match(_first_text(path)) else "csv"


def _first_text(path: Path) -> bytes:
    from market_data_pipeline.source.unpack import open_blocks

    blocks = open_blocks(path)
    try:
        return blocks[0].read(_HEAD_BYTES)
    finally:
        for member in blocks:
            member.close()


def open_file(
    path: Path, form: Format | Literal["auto"], options: ReadOptions, symbols: SymbolTable
) -> FileReader:
    """Open a file.

    Args:
        path: The file.
        form: Its format; `auto` to find out.
        options: How to read it.
        symbols: The run's symbols.

    Raises:
        InputError: If the file cannot be read, or lacks a column.
    """
    match format_of(path) if form == "auto" else form:
        case "parquet":
            from market_data_pipeline.source.parquet_file import ParquetReader

            return ParquetReader(path, options, symbols)
        case "arrow":
            from market_data_pipeline.source.arrow_file import ArrowReader

            return ArrowReader(path, options, symbols)
        case "lean":
            from market_data_pipeline.source.lean import LeanReader

            return LeanReader(path, options, symbols)
        case "binance":
            from market_data_pipeline.source.binance import BinanceReader

            return BinanceReader(path, options, symbols)
        case "csv":
            from market_data_pipeline.source.csv_file import CsvReader

            return CsvReader(path, options, symbols)
