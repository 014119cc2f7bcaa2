"""A log of records in a folder: appended, checksummed, on the disk when a call returns.

A segment is a file of records, named after the number of its first one; the last segment is
the one that grows. A record is

    4 bytes `MDPL`, 4 bytes length of the payload, 4 bytes CRC-32, 8 bytes number, payload

little-endian, the checksum over all that follows it and the length. Numbers are dense from 0.
A process that is killed in the middle of an append leaves a torn tail: it is cut off when the
log is opened for writing, since nobody was told that those records are safe. What cannot be
read anywhere else was safe once, so it is refused.
"""

from __future__ import annotations

__all__ = ("LogReader", "SegmentLog")

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from market_data_pipeline.errors import DamagedLogError, OutputError
from market_data_pipeline.folders import make_durable_folder, sync_folder

_MAGIC: Final = b"MDPL"
_HEAD: Final = struct.Struct("<4sIIQ")
_BODY: Final = struct.Struct("<IQ")
_SUFFIX: Final = ".log"
_FILE_MODE: Final = 0o600
_DIGITS: Final = 20


class LogReader:
    """Reads a log that nobody needs to be writing.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def segments(self) -> list[Path]:
        """Return the files in order."""
        return sorted(self.folder.glob(f"*{_SUFFIX}"))

    @property
    def first(self) -> int:
        """Number of the first record that is still there."""
        segments = self.segments()
        return _number(segments[0]) if segments else 0

    def read(self, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Give records with their numbers, from a number on; a torn tail is left out.

        Raises:
            DamagedLogError: If records are damaged or missing.
        """
        segments = self.segments()
        starts = [_number(path) for path in segments]
        if segments and first < starts[0]:
            msg = f"it begins with record {starts[0]}; the ones from {first} on are gone"
            raise DamagedLogError(msg, path=str(segments[0]))
        begin = max((place for place, start in enumerate(starts) if start <= first), default=0)
        expected = starts[begin] if segments else 0
        for place in range(begin, len(segments)):
            path = segments[place]
            if starts[place] != expected:
                msg = f"it begins with record {starts[place]}, expected {expected}: one is missing"
                raise DamagedLogError(msg, path=str(path))
            for number, payload, _ in scan(path, is_last=place == len(segments) - 1):
                expected = number + 1
                if number >= first:
                    yield number, payload


class SegmentLog(LogReader):
    """A log open for writing, by this process alone.

    Args:
        folder: Where; it is made if it is not there.
        segment_bytes: A segment that is larger is followed by another.

    Attributes:
        torn_bytes: Bytes that were cut off when it was opened.

    Raises:
        DamagedLogError: If records are damaged or missing.
        OutputError: If it cannot be written, or another process has it.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = 64 * 1024 * 1024) -> None:
        super().__init__(folder)
        self.torn_bytes = 0
        self._segment_bytes = segment_bytes
        self._next = 0
        self._size = 0
        self._handle = -1
        self._lock = -1
        try:
            make_durable_folder(folder)
            self._lock = _locked(folder)
            self._open_last()
        except OSError as err:
            self.close()
            raise self._error(err) from err
        except DamagedLogError:
            self.close()
            raise

    @property
    def next(self) -> int:
        """Number of the record that will be appended next."""
        return self._next

    def append(self, payloads: Sequence[bytes]) -> int:
        """Append records; return the number of the first once all are on the disk.

        Raises:
            OutputError: If it cannot be done; nothing is appended then. After that the log
                takes no more: what the disk has is not known.
        """
        if self._handle < 0:
            msg = "the log is closed, or failed before"
            raise OutputError(msg, path=str(self.folder))
        number = self._next
        parts = [_framed(number + place, payload) for place, payload in enumerate(payloads)]
        data = b"".join(parts)
        try:
            if self._size and self._size + len(data) > self._segment_bytes:
                self._roll()
            _write(self._handle, data)
            os.fsync(self._handle)
        except OSError as err:
            self._give_up()
            raise self._error(err) from err
        self._size += len(data)
        self._next = number + len(payloads)
        return number

    def release(self, first: int) -> int:
        """Delete segments that have no record from `first` on; return how many there were."""
        segments = self.segments()
        starts = [_number(path) for path in segments]
        old = [path for path, end in zip(segments, starts[1:], strict=False) if end <= first]
        for path in old:
            path.unlink()
        if old:
            sync_folder(self.folder)
        return len(old)

    def close(self) -> None:
        """Close the log and let others write."""
        for handle in (self._handle, self._lock):
            if handle >= 0:
                os.close(handle)
        self._handle = self._lock = -1

    def _open_last(self) -> None:
        segments = self.segments()
        if not segments:
            self._begin_segment()
            return
        path = segments[-1]
        self._next, self._size = _number(path), 0
        for number, _, end in scan(path, is_last=True):
            self._next, self._size = number + 1, end
        self._handle = os.open(path, os.O_RDWR)
        self.torn_bytes = os.fstat(self._handle).st_size - self._size
        if self.torn_bytes:
            os.ftruncate(self._handle, self._size)
            os.fsync(self._handle)
        os.lseek(self._handle, self._size, os.SEEK_SET)

    def _begin_segment(self) -> None:
        path = self.folder / f"{self._next:0{_DIGITS}d}{_SUFFIX}"
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        self._size = 0
        sync_folder(self.folder)

    def _roll(self) -> None:
        os.close(self._handle)
        self._handle = -1
        self._begin_segment()

    def _give_up(self) -> None:
        """Take back what may be half written, as far as the disk lets us, and stop."""
        if self._handle >= 0:
            with suppress(OSError):
                os.ftruncate(self._handle, self._size)
            os.close(self._handle)
            self._handle = -1

    def _error(self, err: OSError) -> OutputError:
        if isinstance(err, BlockingIOError):
            msg = "another process writes this log; stop it first, or choose another folder"
        else:
            msg = f"the log cannot be written: {err.strerror}; free space, or mend it, and restart"
        return OutputError(msg, path=str(self.folder))


def scan(path: Path, *, is_last: bool) -> Iterator[tuple[int, bytes, int]]:
    """Give the records of a segment: number, payload, and the byte after each.

    Args:
        path: The segment.
        is_last: True if it may have a torn tail, which is left out.

    Raises:
        DamagedLogError: If a record is damaged that others follow, or in a segment that
            others follow.
    """
    data = path.read_bytes()
    at, number = 0, _number(path)
    while at < len(data):
        payload = _record(data, at, number)
        if payload is None:
            if is_last and not _goes_on(data, at):
                return
            msg = (
                f"record {number} at byte {at} is damaged, though it was safe once; restore the "
                "file from a copy, or move the log away and accept the loss of what is in it"
            )
            raise DamagedLogError(msg, path=str(path), offset=at)
        at += _HEAD.size + len(payload)
        yield number, payload, at
        number += 1


def _record(data: bytes, at: int, number: int) -> bytes | None:
    """Return the payload of the record at a byte, None if none is whole there."""
    if at + _HEAD.size > len(data):
        return None
    magic, length, checksum, found = _HEAD.unpack_from(data, at)
    start = at + _HEAD.size
    if magic != _MAGIC or found != number or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if _checksum(number, payload) == checksum else None


def _goes_on(data: bytes, at: int) -> bool:
    """Tell whether a whole record follows somewhere after a byte."""
    found = data.find(_MAGIC, at + 1)
    while found >= 0:
        if found + _HEAD.size <= len(data):
            number = _HEAD.unpack_from(data, found)[3]
            if _record(data, found, number) is not None:
                return True
        found = data.find(_MAGIC, found + 1)
    return False


def _framed(number: int, payload: bytes) -> bytes:
    checksum = _checksum(number, payload)
    return _HEAD.pack(_MAGIC, len(payload), checksum, number) + payload


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_BODY.pack(len(payload), number)))


def _number(path: Path) -> int:
    text = path.name.removesuffix(_SUFFIX)
    if not text.isdecimal():
        msg = "it is no segment of a log; move it away"
        raise DamagedLogError(msg, path=str(path))
    return int(text)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _locked(folder: Path) -> int:
    import fcntl

    handle = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT, _FILE_MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
