from __future__ import annotations

from functools import partial

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.errors import InputError
from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.source.reader import Rejects
from market_data_pipeline.source.sequence import SequenceReader
from market_data_pipeline.symbols import SymbolTable
from support.readers import SCHEMA, ListReader, all_rejects, all_rows, ticks

SYMBOLS = SymbolTable()


class Opened:
    """Parts that note when they are opened and how many are open at once."""

    def __init__(self, files: list[list[int]], *, starts: bool = True) -> None:
        self.readers: list[ListReader] = []
        self.open_most = 0
        self.parts = [
            Part(f"file {i}", partial(self._open, times), times[0] if starts else -(2**63))
            for i, times in enumerate(files)
        ]

    def _open(self, times: list[int], _rows: int) -> ListReader:
        reader = ListReader([(time, 0) for time in times], [2], SYMBOLS)
        self.readers.append(reader)
        self.open_most = max(self.open_most, sum(not r.closed for r in self.readers))
        return reader


def test_files_that_do_not_overlap_are_open_one_at_a_time() -> None:
    """A file whose first time is known is opened when the others have come that far."""
    opened = Opened([[first, first + 3] for first in range(0, 1000, 10)])
    rows = all_rows(MergedReader(opened.parts, SCHEMA, SYMBOLS), "ts_event")
    assert [time for (time,) in rows] == sorted(time for (time,) in rows)
    assert len(rows) == 200
    assert opened.open_most == 1


class OneBatch(ListReader):
    """Gives one batch, the very object."""

    def __init__(self, batch: Batch) -> None:
        super().__init__([], [1], SYMBOLS)
        self.batch: Batch | None = batch

    def read(self) -> Batch | None:
        batch, self.batch = self.batch, None
        return batch


def test_a_file_alone_is_passed_through_untouched() -> None:
    """Where only one file has rows to give, its batches are given as they are."""
    batch = ticks([(1, 0), (2, 0)], SYMBOLS)
    merged = MergedReader([Part("a", lambda _: OneBatch(batch))], SCHEMA, SYMBOLS)
    assert merged.read() is batch


def joined(files: list[list[int]], joint: int) -> list[int]:
    def opens(times: list[int], _rows: int) -> ListReader:
        return ListReader([(time, 0) for time in times], [2], SYMBOLS)

    parts = [Part("", partial(opens, times), times[0], max(times)) for times in files]
    rows = all_rows(MergedReader(parts, SCHEMA, SYMBOLS, joint=joint), "ts_event")
    return [time for (time,) in rows]


def test_a_recording_cut_into_files_stays_in_its_order() -> None:
    """Also where the cut runs through rows that are out of order."""
    whole = [1, 4, 9, 8, 12, 10, 13, 20, 19, 22, 21, 30]
    for cut in range(4, 12):
        assert joined([whole[:cut], whole[cut:]], joint=5) == whole


def test_files_of_a_common_time_are_merged() -> None:
    """However short they are, and wherever they begin."""
    assert joined([[1, 3, 5], [1, 2, 9]], joint=10) == [1, 1, 2, 3, 5, 9]
    assert joined([[1, 3, 5], [2, 4, 6]], joint=10) == [1, 2, 3, 4, 5, 6]
    assert joined([[0, 10, 20, 30], [14, 25, 40]], joint=10) == [0, 10, 14, 20, 25, 30, 40]
    # Listed before the one it goes on from, so it is no part of one recording.
    assert joined([[9, 20], [0, 5, 10]], joint=5) == [0, 5, 9, 10, 20]


def test_too_many_overlapping_files_are_refused_with_the_way_out() -> None:
    """The number of open files has a limit."""
    opened = Opened([[0, 1]] * 513)
    with pytest.raises(InputError, match=r"file 512: .* more than 512 .*`order: sequence`"):
        MergedReader(opened.parts, SCHEMA, SYMBOLS).read()


def test_nothing_to_merge_is_an_end() -> None:
    """No parts give no rows."""
    merged = MergedReader([], SCHEMA, SYMBOLS)
    assert merged.read() is None
    assert merged.take_rejected() is None


class Rejecting(ListReader):
    """Rejects a row besides each batch and at its end."""

    def __init__(self, place: str) -> None:
        super().__init__([(1, 1), (2, 2)], [1], SYMBOLS)
        self.rejects = Rejects(place, strict=False)
        self.calls = 0

    def read(self) -> Batch | None:
        self.calls += 1
        self.rejects.add(self.calls, "malformed", "bad")
        return super().read()

    def take_rejected(self) -> Batch | None:
        return self.rejects.take(SYMBOLS)


@pytest.mark.parametrize("kind", [MergedReader, SequenceReader])
def test_rejected_rows_of_all_files_come_through(
    kind: type[MergedReader | SequenceReader],
) -> None:
    """Those a file rejects at its very end are among them."""
    parts = [Part(place, lambda _, place=place: Rejecting(place)) for place in "ab"]  # type: ignore[misc]
    reader = kind(parts, SCHEMA, SYMBOLS, batch_rows=10)
    assert sorted(all_rejects(reader)) == [(n, "malformed") for n in (1, 1, 2, 2, 3, 3)]


def test_a_sequence_keeps_the_order_of_the_files() -> None:
    """One file after the other, whatever their times, one open at a time."""
    opened = Opened([[5, 6, 7], [1, 2], [3]])
    reader = SequenceReader(opened.parts, SCHEMA, SYMBOLS, batch_rows=10)
    assert all_rows(reader, "ts_event") == [(5,), (6,), (7,), (1,), (2,), (3,)]
    assert opened.open_most == 1
    assert reader.rows_read == 6
    assert reader.fraction() == 1.0
