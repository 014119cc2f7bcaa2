"""Windows worked out the plain way, sharing no code with the package.

Every version of every window is made anew from all rows that had come, so the time is
quadratic and there is nothing to get wrong but the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

TOP = 2**63 - 1
BOTTOM = -(2**63)


class Row(NamedTuple):
    """A row that came in."""

    time: int
    symbol: str
    value: int


class Given(NamedTuple):
    """A window that came out; `values` in order of event time, then of arrival."""

    symbol: str
    start: int
    end: int
    values: tuple[int, ...]
    revision: int
    is_final: bool
    op: int


class Outcome(NamedTuple):
    """All that came out."""

    given: list[Given]
    late: list[Row]
    outside: list[Row]


Watermarks = list[int]


def watermarks_of(rows: list[Row], bound: int) -> Watermarks:
    """Return the watermark after each row."""
    marks, highest = [], BOTTOM + bound
    for row in rows:
        highest = max(highest, row.time)
        marks.append(highest - bound)
    return marks


Spans = list[tuple[int, int]]


def on_grid(size: int, every: int, origin: int) -> Callable[[int], Spans]:
    """Return what gives the windows that hold a time, ascending."""

    def spans(time: int) -> Spans:
        last = origin + (time - origin) // every * every
        found = []
        while last + size > time:
            found.append((last, last + size))
            last -= every
        return found[::-1]

    return spans


def in_sessions(size: int, every: int, sessions: Spans) -> Callable[[int], Spans]:
    """Return what gives the windows of trading sessions that hold a time, ascending."""

    def spans(time: int) -> Spans:
        found = []
        for opened, closed in sessions:
            if opened <= time < closed:
                for start in range(opened, closed, every):
                    end = min(start + size, closed)
                    if start <= time < end:
                        found.append((start, end))
        return found

    return spans


def fixed_windows(
    rows: list[Row], marks: Watermarks, spans: Callable[[int], Spans], lateness: int
) -> Outcome:
    """Return the windows of the upsert protocol, in order, and the late rows."""
    out: list[Given] = []
    late: list[Row] = []
    outside: list[Row] = []
    ends: dict[int, int] = {}
    held: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    times_given: dict[tuple[str, int], int] = {}
    done: set[tuple[str, int]] = set()

    def give(key: tuple[str, int], *, final: bool, again: bool) -> None:
        number = times_given.get(key, 0)
        times_given[key] = number + again
        revision = number if again else number - 1
        values = tuple(value for _, _, value in sorted(held[key]))
        start = key[1]
        out.append(Given(key[0], start, ends[start], values, revision, final, 1))

    def advance(mark: int) -> None:
        due = []
        for key in held:
            end = ends[key[1]]
            if key not in times_given and end <= mark:
                due.append((end, 0, key))
            if key not in done and end + lateness <= mark:
                due.append((end + lateness, 1, key))
        for _, final, key in sorted(due):
            if final:
                give(key, final=True, again=lateness == 0)
                done.add(key)
            elif lateness:
                give(key, final=False, again=True)

    for number, (row, mark) in enumerate(zip(rows, marks, strict=True)):
        advance(mark)
        found = spans(row.time)
        ends.update(found)
        if not found:
            outside.append(row)
        elif found[-1][1] + lateness <= mark:
            late.append(row)
        for start, end in found:
            if end + lateness > mark:
                key = (row.symbol, start)
                held.setdefault(key, []).append((row.time, number, row.value))
                if end <= mark:
                    give(key, final=False, again=True)
    advance(TOP)
    return Outcome(out, late, outside)


def sessions(rows: list[Row], marks: Watermarks, gap: int, lateness: int) -> Outcome:
    """Return the sessions of the upsert protocol, in order, and the late rows."""
    out: list[Given] = []
    late: list[Row] = []
    held: dict[str, list[tuple[int, int, int]]] = {}
    times_given: dict[tuple[str, int], int] = {}

    def split(symbol: str) -> list[list[tuple[int, int, int]]]:
        runs: list[list[tuple[int, int, int]]] = []
        for item in sorted(held.get(symbol, [])):
            if runs and item[0] - runs[-1][-1][0] < gap:
                runs[-1].append(item)
            else:
                runs.append([item])
        return runs

    def give(symbol: str, run: list[tuple[int, int, int]], *, final: bool, again: bool) -> None:
        key = (symbol, run[0][0])
        number = times_given.get(key, 0)
        times_given[key] = number + again
        values = tuple(value for _, _, value in run)
        revision = number if again else number - 1
        out.append(Given(symbol, key[1], run[-1][0] + gap, values, revision, final, 1))

    def advance(before: int, mark: int) -> None:
        due = []
        for symbol in held:
            for run in split(symbol):
                end = run[-1][0] + gap
                if lateness and before < end <= mark:
                    due.append((end, 0, symbol, run))
                if end + lateness <= mark:
                    due.append((end + lateness, 1, symbol, run))
        for _, final, symbol, run in sorted(due):
            give(symbol, run, final=bool(final), again=not final or lateness == 0)
            if final:
                held[symbol] = [item for item in held[symbol] if item not in run]
                del times_given[symbol, run[0][0]]

    before = BOTTOM
    for number, (row, mark) in enumerate(zip(rows, marks, strict=True)):
        advance(before, mark)
        before = mark
        old = {(row.symbol, run[0][0]): run[-1][0] + gap for run in split(row.symbol)}
        item = (row.time, number, row.value)
        held.setdefault(row.symbol, []).append(item)
        run = next(run for run in split(row.symbol) if item in run)
        end = run[-1][0] + gap
        if end + lateness <= mark:
            late.append(row)
            held[row.symbol].remove(item)
            continue
        if not lateness:
            continue
        now = {(row.symbol, found[0][0]) for found in split(row.symbol)}
        for key in old.keys() - now:
            if times_given.get(key):
                # Its rows are in another session now.
                out.append(Given(*key, old[key], (), times_given.pop(key), True, 1))
            times_given.pop(key, None)
        if end <= mark:
            give(row.symbol, run, final=False, again=True)
    advance(before, TOP)
    return Outcome(out, late, [])


def retracting(given: list[Given]) -> list[Given]:
    """Return the upsert protocol of windows as retractions: the old row goes first."""
    out: list[Given] = []
    known: dict[tuple[str, int], Given] = {}
    for row in given:
        key = (row.symbol, row.start)
        old = known.get(key)
        if old is not None:
            out.append(old._replace(op=-1))
        out.append(row)
        known[key] = row
    return out


def in_order(rows: list[Row], marks: Watermarks) -> tuple[list[Row], list[Row]]:
    """Return rows in the order of event time, and those that came too late for it."""
    late = [row for row, mark in zip(rows, marks, strict=True) if row.time < mark]
    kept = [row for row, mark in zip(rows, marks, strict=True) if row.time >= mark]
    # Python's sort is stable: rows of one instant stay in the order of arrival.
    return sorted(kept, key=lambda row: row.time), late


def counted(rows: list[Row], marks: Watermarks, number: int, ttl: int) -> tuple[Outcome, int]:
    """Return windows of so many rows, and how many rows were in none."""
    ordered, late = in_order(rows, marks)
    out: list[Given] = []
    waiting: dict[str, list[Row]] = {}
    lost = 0
    for row in ordered:
        before = waiting.get(row.symbol, [])
        if before and ttl and before[-1].time + ttl <= row.time:
            lost += len(before)
            before = []
        held = [*before, row]
        if len(held) == number:
            values = tuple(each.value for each in held)
            out.append(Given(row.symbol, held[0].time, row.time + 1, values, 0, True, 1))
            held = []
        waiting[row.symbol] = held
    lost += sum(map(len, waiting.values()))
    return Outcome(out, late, []), lost


def sliding(
    rows: list[Row], marks: Watermarks, size: int, number: int, ttl: int
) -> list[tuple[Row, tuple[int, ...]]]:
    """Return each row with the values of the window that ends with it."""
    ordered, _ = in_order(rows, marks)
    found = []
    for place, row in enumerate(ordered):
        same = [each for each in ordered[: place + 1] if each.symbol == row.symbol]
        if size:
            same = [each for each in same if each.time > row.time - size]
        else:
            for i in range(len(same) - 1, 0, -1):
                if ttl and same[i - 1].time + ttl <= same[i].time:
                    same = same[i:]
                    break
            same = same[-number:]
        found.append((row, tuple(each.value for each in same)))
    return found
