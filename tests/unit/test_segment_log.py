"""A log keeps what it said was safe, and tells a torn tail from damage."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from market_data_pipeline.errors import DamagedLogError, OutputError
from market_data_pipeline.segment_log import LogReader, SegmentLog


def _payloads(folder: Path, first: int = 0) -> list[bytes]:
    return [payload for _, payload in LogReader(folder).read(first)]


def _written(folder: Path, payloads: list[bytes], segment_bytes: int = 1 << 20) -> None:
    log = SegmentLog(folder, segment_bytes=segment_bytes)
    for payload in payloads:
        log.append([payload])
    log.close()


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """Empty ones and large ones, over several segments, from any number on."""
    payloads = [bytes([n]) * (n * 7 % 50) for n in range(40)]
    _written(tmp_path / "log", payloads, segment_bytes=200)
    assert len(LogReader(tmp_path / "log").segments()) > 5
    for first in range(41):
        assert _payloads(tmp_path / "log", first) == payloads[first:]


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Numbers go on, also after a segment that has no record yet."""
    for n in range(5):
        log = SegmentLog(tmp_path, segment_bytes=30)
        assert log.next == n
        assert log.append([b"x" * n]) == n
        log.close()
    assert _payloads(tmp_path) == [b"x" * n for n in range(5)]


def test_records_of_one_call_are_safe_together(tmp_path: Path) -> None:
    """A call returns the number of the first."""
    log = SegmentLog(tmp_path)
    assert log.append([b"a", b"b"]) == 0
    assert log.append([b"c"]) == 2
    log.close()
    assert _payloads(tmp_path) == [b"a", b"b", b"c"]


def test_a_torn_tail_is_cut_off_at_any_byte(tmp_path: Path) -> None:
    """All that was safe before the last append is there; the log goes on after it."""
    _written(tmp_path / "whole", [b"one", b"two"])
    safe = LogReader(tmp_path / "whole").segments()[0].stat().st_size
    _written(tmp_path / "whole", [b"three" * 9])
    data = LogReader(tmp_path / "whole").segments()[0].read_bytes()
    for end in range(safe, len(data)):
        for tail in (b"", b"\0" * 50):
            folder = tmp_path / f"torn-{end}-{len(tail)}"
            folder.mkdir()
            name = LogReader(tmp_path / "whole").segments()[0].name
            (folder / name).write_bytes(data[:end] + tail)
            assert _payloads(folder) == [b"one", b"two"]
            log = SegmentLog(folder)
            assert log.torn_bytes == end - safe + len(tail)
            assert log.append([b"more"]) == 2
            log.close()
            assert _payloads(folder) == [b"one", b"two", b"more"]


def test_damage_before_the_tail_is_refused_at_any_byte(tmp_path: Path) -> None:
    """A flipped bit in what others follow was not torn by a crash."""
    _written(tmp_path / "log", [b"first", b"second", b"third"])
    path = LogReader(tmp_path / "log").segments()[0]
    data = path.read_bytes()
    last = data.rfind(b"MDPL")
    for at in range(last):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(DamagedLogError, match=r"record \d at byte \d+ is damaged"):
            _payloads(tmp_path / "log")
        with pytest.raises(DamagedLogError):
            SegmentLog(tmp_path / "log")
        assert path.read_bytes() == damaged


def test_a_segment_that_others_follow_has_no_tail(tmp_path: Path) -> None:
    """It was whole when the next one was begun."""
    _written(tmp_path, [b"a" * 40, b"b" * 40, b"c" * 40], segment_bytes=50)
    first = LogReader(tmp_path).segments()[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(DamagedLogError, match="record 0"):
        _payloads(tmp_path)


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    """In the middle, and at the beginning when it is asked for."""
    _written(tmp_path, [b"a" * 40, b"b" * 40, b"c" * 40], segment_bytes=50)
    segments = LogReader(tmp_path).segments()
    segments[1].unlink()
    with pytest.raises(DamagedLogError, match="begins with record 2, expected 1"):
        _payloads(tmp_path)
    segments[0].unlink()
    with pytest.raises(DamagedLogError, match="the ones from 0 on are gone"):
        _payloads(tmp_path)
    assert _payloads(tmp_path, 2) == [b"c" * 40]


def test_what_is_released_is_gone_by_segments(tmp_path: Path) -> None:
    """A segment with a record that is still needed stays, and the last one always."""
    log = SegmentLog(tmp_path, segment_bytes=50)
    for letter in b"abcd":
        log.append([bytes([letter]) * 40])
    assert log.release(0) == 0
    assert log.release(2) == 2
    assert log.first == 2
    assert log.release(99) == 1
    assert log.append([b"e"]) == 4
    log.close()
    assert _payloads(tmp_path, 3) == [b"d" * 40, b"e"]


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    """The second is told so; after the first has closed it may write."""
    log = SegmentLog(tmp_path)
    with pytest.raises(OutputError, match="another process writes this log"):
        SegmentLog(tmp_path)
    log.close()
    SegmentLog(tmp_path).close()


def test_a_full_disk_takes_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed append is taken back, and the log takes no more."""
    log = SegmentLog(tmp_path)
    log.append([b"safe"])
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 5:
            return real(handle, data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            log.append([b"lost"])
    with pytest.raises(OutputError, match="failed before"):
        log.append([b"never"])
    log.close()
    assert _payloads(tmp_path) == [b"safe"]
    reopened = SegmentLog(tmp_path)
    assert reopened.torn_bytes == 0
    reopened.close()


def test_a_file_that_is_no_segment_is_named(tmp_path: Path) -> None:
    """Nothing of ours is called so."""
    (tmp_path / "notes.log").write_text("hello")
    with pytest.raises(DamagedLogError, match=r"notes\.log: it is no segment"):
        _payloads(tmp_path)
