"""Bytes of plain, gzip, Zstandard and zip files, a block at a time."""

from __future__ import annotations

__all__ = ("Blocks", "open_blocks")

import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import pyarrow as pa

from market_data_pipeline.errors import InputError
from market_data_pipeline.source.chunks import checked_file

_BUFFER_BYTES: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# Parallel packers begin with a frame that is skipped (RFC 8878, 3.1.2).
_ZSTD_SKIPPED: Final = b"\x2a\x4d\x18"
_SKIPPABLE: Final = frozenset(bytes([byte]) for byte in range(0x50, 0x60))
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Blocks:
    """The unpacked bytes of one file, or of one member of a zip.

    Attributes:
        place: The file, and the member where there are several.
    """

    def __init__(self, place: str, raw: BinaryIO, stream: _Readable, size: int) -> None:
        self.place = place
        self._raw = raw
        self._stream = stream
        self._size = size

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none only at the end.

        Raises:
            InputError: If the file is damaged or cut short.
        """
        try:
            return self._stream.read(size)
        except EOFError as err:
            msg = "the file is cut short: its compressed data has no end"
            raise InputError(msg, place=self.place) from err
        except (OSError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as err:
            cut = "runcated" in str(err)
            what = "is cut short" if cut else "is damaged"
            msg = f"the file {what}: {err}"
            raise InputError(msg, place=self.place) from err

    def fraction(self) -> float:
        """Return how much of the file is read, 0 to 1."""
        if self._raw.closed:
            return 1.0
        return min(self._raw.tell() / self._size, 1.0) if self._size else 1.0

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        self._raw.close()


def open_blocks(path: Path) -> list[Blocks]:
    """Open a file, told by its first bytes; a zip gives one `Blocks` for each member.

    Raises:
        InputError: If the file is missing, empty, or damaged at its start.
    """
    place = str(checked_file(path))
    try:
        raw = path.open("rb")
        magic = raw.peek(4)[:4]
    except OSError as err:
        msg = f"the file cannot be read: {err.strerror}"
        raise InputError(msg, place=place) from err
    size = path.stat().st_size
    if magic.startswith(_GZIP):
        stream = gzip.GzipFile(fileobj=raw)
        return [Blocks(place, raw, io.BufferedReader(stream, _BUFFER_BYTES), size)]
    if magic == _ZSTD or (magic[:1] in _SKIPPABLE and magic[1:] == _ZSTD_SKIPPED):
        return [Blocks(place, raw, pa.CompressedInputStream(raw, "zstd"), size)]
    if magic in {_ZIP, _EMPTY_ZIP}:
        return _members(path, raw)
    return [Blocks(place, raw, raw, size)]


def _members(path: Path, raw: BinaryIO) -> list[Blocks]:
    raw.close()
    try:
        with zipfile.ZipFile(path) as packed:
            members = [info for info in packed.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as err:
        msg = f"the zip file is damaged or cut short: {err}"
        raise InputError(msg, place=str(path)) from err
    if not members:
        msg = "the zip file has no members"
        raise InputError(msg, place=str(path))
    return [_Member(path, info, several=len(members) > 1) for info in members]


class _Member(Blocks):
    # Opened at the first read: a zip of a thousand members is not a thousand open files.

    def __init__(self, path: Path, info: zipfile.ZipInfo, *, several: bool) -> None:
        place = f"{path}/{info.filename}" if several else str(path)
        self._path = path
        self._info = info
        self._packed: zipfile.ZipFile | None = None
        self._read = 0
        self.place = place

    def read(self, size: int) -> bytes:
        if self._packed is None:
            self._open()
        data = super().read(size)
        self._read += len(data)
        return data

    def _open(self) -> None:
        try:
            self._packed = zipfile.ZipFile(self._path)
            self._stream = self._packed.open(self._info)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as err:
            msg = f"the zip member cannot be read: {err}"
            raise InputError(msg, place=self.place) from err

    def fraction(self) -> float:
        return min(self._read / self._info.file_size, 1.0) if self._info.file_size else 1.0

    def close(self) -> None:
        if self._packed is not None:
            self._stream.close()
            self._packed.close()
