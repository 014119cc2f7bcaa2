"""Merging files gives one order, whatever the batches, the disorder and the ties."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.source.merge import MergedReader, Part
from market_data_pipeline.symbols import SymbolTable
from support.readers import SCHEMA, ListReader, all_rows

# Few different times make many ties; files of one row up to some, in any order.
files_of_times = st.lists(st.lists(st.integers(-8, 8), max_size=25), max_size=6)
cuts = st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(any)


def oracle(files: list[list[int]]) -> list[tuple[int, int]]:
    """Rows as (event time, number), sorted by highest time so far, file, place."""
    rows = []
    number = 0
    for file, times in enumerate(files):
        for place, (time, key) in enumerate(zip(times, accumulate(times, max), strict=True)):
            rows.append((key, file, place, time, number))
            number += 1
    return [(time, number) for _, _, _, time, number in sorted(rows)]


def numbered(files: list[list[int]]) -> list[list[tuple[int, int]]]:
    found, number = [], 0
    for times in files:
        found.append([(time, number + place) for place, time in enumerate(times)])
        number += len(times)
    return found


@given(files_of_times, st.lists(cuts, min_size=6, max_size=6), st.integers(1, 9), st.booleans())
def test_merge_gives_the_order_of_the_oracle(
    files: list[list[int]], sizes: list[list[int]], batch_rows: int, starts_known: bool
) -> None:
    """By highest event time so far, then by file, then as they stand in the file."""
    symbols = SymbolTable()
    readers = [ListReader(rows, sizes[i], symbols) for i, rows in enumerate(numbered(files))]
    opened: list[int] = []

    def part(index: int) -> Part:
        def opens(_rows: int) -> ListReader:
            opened.append(index)
            return readers[index]

        times = files[index]
        if starts_known and times:
            return Part(str(index), opens, times[0])
        return Part(str(index), opens)

    merged = MergedReader(
        [part(i) for i in range(len(files))], SCHEMA, symbols, batch_rows=batch_rows
    )
    assert all_rows(merged, "ts_event", "sequence") == oracle(files)
    assert merged.rows_read == sum(map(len, files))
    assert sorted(opened) == list(range(len(files)))
    assert all(reader.closed for reader in readers)


@given(files_of_times, st.lists(cuts, min_size=6, max_size=6), st.integers(1, 9))
def test_rows_given_are_rows_counted_at_every_step(
    files: list[list[int]], sizes: list[list[int]], batch_rows: int
) -> None:
    """A row that waits for other files is not counted as read."""
    symbols = SymbolTable()
    parts = [
        Part(str(i), lambda _, i=i, rows=rows: ListReader(rows, sizes[i], symbols))  # type: ignore[misc]
        for i, rows in enumerate(numbered(files))
    ]
    merged = MergedReader(parts, SCHEMA, symbols, batch_rows=batch_rows)
    given_rows = 0
    while (batch := merged.read()) is not None:
        assert 0 < len(batch) <= batch_rows
        given_rows += len(batch)
        assert merged.rows_read == given_rows
        assert 0.0 <= merged.fraction() <= 1.0


@given(
    files_of_times,
    st.lists(cuts, min_size=6, max_size=6),
    st.integers(1, 9),
    st.integers(0, 10),
    st.integers(1, 4),
)
def test_what_goes_on_from_what_does_not_depend_on_batches(
    files: list[list[int]], sizes: list[list[int]], batch_rows: int, joint: int, first: int
) -> None:
    """Reading files after one another where they follow gives one order as well."""
    symbols = SymbolTable()

    def order(cuts: list[list[int]], rows: int) -> list[tuple[int, int]]:
        parts = [
            Part(
                str(i),
                lambda _, i=i, rows=rows: ListReader(rows, cuts[i], symbols),  # type: ignore[misc]
                rows[0][0] if rows else 99,
                max((time for time, _ in rows[:first]), default=99),
            )
            for i, rows in enumerate(numbered(files))
        ]
        merged = MergedReader(parts, SCHEMA, symbols, batch_rows=rows, joint=joint)
        return all_rows(merged, "ts_event", "sequence")

    found = order(sizes, batch_rows)
    assert found == order([[100]] * 6, 10_000)
    assert sorted(found) == sorted(oracle(files))
