"""Sequence numbers against sets of numbers: gaps, duplicates, restarts, wraps, keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.sequence import SequenceTracker
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from support.examples import fewer
from support.operator_batches import batches_of

Told = tuple[int, str, int, int | None, int | None, int]
"""Row, kind, number, first and last missing number, rows."""


@dataclass
class Numbers:
    """One sequence: which positions are open, by the gap they came with."""

    last: int
    floor: int
    gaps: list[tuple[set[int], int]] = field(default_factory=list)

    def forget(self, until: int) -> None:
        while self.gaps and (not self.gaps[0][0] or self.gaps[0][1] <= until):
            positions, _ = self.gaps.pop(0)
            if positions:
                self.floor = max(self.floor, *positions)

    def gap_of(self, position: int) -> set[int] | None:
        return next((gap for gap, _ in self.gaps if position in gap), None)

    def runs(self) -> list[list[int]]:
        """Return the numbers of each stretch that is open, oldest first."""
        found: list[list[int]] = []
        for gap, _ in self.gaps:
            for place, position in enumerate(sorted(gap)):
                if place and found[-1][-1] == position - 1:
                    found[-1].append(position)
                else:
                    found.append([position])
        return found

    def drop_oldest(self) -> None:
        run = self.runs()[0]
        self.floor = run[-1]
        for gap, _ in self.gaps:
            gap.difference_update(run)

    @property
    def open(self) -> int:
        return sum(len(gap) for gap, _ in self.gaps)


class Oracle:
    """What is missing, told with sets, for one key."""

    def __init__(
        self,
        *,
        reset: int | str,
        first: int | None,
        wrap: int | None,
        ttl: int,
        forget: int,
        day: int | None = None,
        most: int = 10_000,
    ) -> None:
        self.day, self.most = day, most
        self.guessed = False
        self.before = -(10**30)
        self.reset, self.first, self.wrap = reset, first, wrap
        self.ttl, self.forget = ttl, forget
        self.now: Numbers | None = None
        self.old: Numbers | None = None
        self.highest = 0
        self.restarted = -(10**30)
        self.told: list[Told] = []

    def near(self, number: int, numbers: Numbers) -> int:
        if self.wrap is None:
            return number
        candidates = (number + self.wrap * k for k in range(-40, 41))
        low = numbers.last - (self.wrap - 1 - self.wrap // 2)
        return next(c for c in candidates if low <= c <= numbers.last + self.wrap // 2)

    def plain(self, position: int) -> int:
        return position if self.wrap is None else position % self.wrap

    def begin(self, row: int, time: int, number: int, *, restart: bool) -> int:
        known = self.first is not None and self.first < number
        start = self.first if known and self.first is not None else number
        self.now = Numbers(number, start - 1)
        gone = number - start
        if gone:
            self.now.gaps.append((set(range(start, number)), max(self.highest, time) + self.ttl))
        if gone or restart:
            low, high = (start, number - 1) if gone else (None, None)
            self.told.append((row, "reset" if restart else "gap", number, low, high, gone))
        return gone

    def take(self, row: int, time: int, number: int, watermark: int) -> int | None:
        """Return what is missing before a row; None for a duplicate."""
        if self.now is not None and watermark >= self.highest + self.forget:
            self.now = self.old = None
        if self.now is None:
            self.old, self.highest, self.restarted = None, time, self.opened(time)
            return self.limited(self.begin(row, time, number, restart=False))
        for numbers in filter(None, (self.now, self.old)):
            numbers.forget(watermark)
        missing = self.judge(row, time, number)
        self.highest = max(self.highest, time)
        return self.limited(missing)

    def limited(self, missing: int | None) -> int | None:
        both = [numbers for numbers in (self.old, self.now) if numbers is not None]
        for numbers in both:
            while numbers.open and sum(len(each.runs()) for each in both) > self.most:
                numbers.drop_oldest()
        return missing

    def opened(self, time: int) -> int:
        return -(10**30) if self.day is None else time // self.day * self.day

    def judge(self, row: int, time: int, number: int) -> int | None:
        now, old = self.now, self.old
        assert now is not None
        position = self.near(number, now)
        if self.day is not None:
            if self.opened(time) > self.opened(self.highest):
                self.old, self.before, self.guessed = now, self.restarted, False
                self.restarted = self.opened(time)
                return self.begin(row, time, number, restart=True)
            if time < self.restarted:
                if old is not None and time >= self.before:
                    return self.place(row, time, number, self.near(number, old), old)
                self.told.append((row, "out_of_sequence", number, None, None, 0))
                return 0
        if position == now.last + 1 or now.gap_of(position) is not None:
            return self.place(row, time, number, position, now)
        if old is not None and time < self.restarted:
            return self.place(row, time, number, self.near(number, old), old)
        on = old is not None and self.guessed and self.near(number, old) == old.last + 1
        if on and old is not None and position > now.last:
            self.told.append((row, "resumed", number, None, None, -now.open))
            self.now, self.old, gone = old, None, now.open
            old.last += 1
            return -gone
        allowed = number <= self.reset if isinstance(self.reset, int) else self.reset == "lower"
        if self.reset == "lower" and position == now.last:
            allowed = False
        if position <= now.last and time > self.highest and allowed:
            self.old, self.before, self.restarted = now, self.restarted, time
            self.guessed = True
            return self.begin(row, time, number, restart=True)
        return self.place(row, time, number, position, now)

    def place(
        self, row: int, time: int, number: int, position: int, numbers: Numbers
    ) -> int | None:
        if position > numbers.last:
            gone = set(range(numbers.last + 1, position))
            wrapped = self.wrap is not None and position // self.wrap > numbers.last // self.wrap
            if gone or wrapped:
                low = self.plain(min(gone)) if gone else None
                high = self.plain(max(gone)) if gone else None
                kind = "wrap" if wrapped else "gap"
                self.told.append((row, kind, number, low, high, len(gone)))
            if gone:
                numbers.gaps.append((gone, max(self.highest, time) + self.ttl))
            numbers.last = position
            return len(gone)
        gap = numbers.gap_of(position)
        if gap is not None:
            gap.remove(position)
            self.told.append((row, "filled", number, number, number, -1))
            return -1
        if position > numbers.floor:
            return None
        self.told.append((row, "out_of_sequence", number, None, None, 0))
        return 0


def expected(
    rows: Sequence[tuple[int, int, int]], bound: int, **settings: Any
) -> tuple[list[tuple[int, int]], list[int], list[tuple[int, Told]]]:
    """Return rows and what is missing before them, duplicates, and records."""
    keys: dict[int, Oracle] = {}
    out, duplicates, told = [], [], []
    watermark = -(10**30)
    for row, (time, symbol, number) in enumerate(rows):
        oracle = keys.setdefault(symbol, Oracle(**settings))
        missing = oracle.take(row, time, number, watermark)
        if missing is None:
            duplicates.append(row)
        else:
            out.append((row, missing))
        told += [(symbol, record) for record in oracle.told]
        oracle.told.clear()
        watermark = max(watermark, time - bound)
    return out, duplicates, told


def _known(value: int) -> int | None:
    return None if value == UNDEFINED else value


def found(
    batches: Sequence[Batch], component: SequenceTracker, restart: int
) -> tuple[list[tuple[int, int]], list[int], list[tuple[int, Told]], NodeContext]:
    """Return the same of the operator; `size` is the number of the row."""
    context = NodeContext("s", symbols=SymbolTable(["AAA", "BBB", "CCC"]))
    operator = component.build(context)
    out: list[tuple[int, int]] = []
    duplicates: list[int] = []
    told: list[tuple[int, Told]] = []
    for count, batch in enumerate(batches):
        if count == restart:
            state = operator.snapshot()
            operator = component.build(context)
            operator.restore(state)
        coded = Batch(batch.schema, batch.columns, context.symbols, batch.progress)
        context.account.rows_in += len(batch)
        for port, rows in operator.process(coded):
            if port == "out":
                context.account.rows_out += len(rows)
                out += zip(rows["size"].tolist(), rows["missing"].tolist(), strict=True)
            elif port == "duplicate":
                duplicates += rows["size"].tolist()
            else:
                told += [
                    (
                        row["symbol"],
                        (
                            *(-1, row["kind"], row["sequence"]),
                            *(_known(row["first_missing"]), _known(row["last_missing"])),
                            row["rows"],
                        ),
                    )
                    for row in _dicts(rows)
                ]
    return out, duplicates, told, context


def _dicts(batch: Batch) -> list[dict[str, Any]]:
    columns: list[Any] = [
        column.to_pylist() if hasattr(column, "to_pylist") else column.tolist()
        for column in batch.columns.values()
    ]
    return [dict(zip(batch.columns, row, strict=True)) for row in zip(*columns, strict=True)]


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(0, 15)),
        min_size=1,
        max_size=60,
    ),
    steady=st.booleans(),
    reset=st.sampled_from([1, 4, "lower", "never"]),
    first=st.sampled_from([None, 0, 1, 3]),
    wrap=st.sampled_from([None, 16, 21]),
    ttl=st.integers(1, 40),
    forget=st.integers(1, 80),
    bound=st.integers(0, 20),
    most=st.sampled_from([1, 2, 3, 10_000]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    restart=st.integers(0, 6),
)
def test_missing_rows_are_those_of_the_oracle(
    rows: list[tuple[int, int, int]],
    steady: bool,
    reset: Any,
    first: int | None,
    wrap: int | None,
    ttl: int,
    forget: int,
    bound: int,
    most: int,
    cuts: list[int],
    restart: int,
) -> None:
    """Gaps, fills, duplicates, restarts and wraps are those that sets of numbers give."""
    if steady:  # event times that go up, as of a feed without disorder
        rows = [(2 * i + row[0] % 3, *row[1:]) for i, row in enumerate(rows)]
    component = SequenceTracker(
        reset=reset,
        first=first,
        wrap=wrap,
        ttl=f"{ttl}ns",
        forget=f"{forget}ns",
        most_gaps=most,
    )
    columns = {
        "ts_event": [row[0] for row in rows],
        "symbol": [row[1] for row in rows],
        "sequence": [row[2] for row in rows],
        "size": range(len(rows)),
    }
    batches = batches_of(columns, cuts=cuts, bound=bound)
    out, duplicates, told, context = found(batches, component, restart)
    spans = {"ttl": ttl, "forget": forget, "most": most}
    right = expected(rows, bound, reset=reset, first=first, wrap=wrap, **spans)
    assert out == right[0]
    assert duplicates == right[1]
    assert told == [(symbol, (-1, *record[1:])) for symbol, record in right[2]]
    assert context.account.unaccounted == 0


_DAY = 86_400 * 10**9
_EVERY_DAY = {"timezone": "UTC", "open": "00:00", "close": "22:00", "days": "mon-sun"}


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 23), st.integers(0, 1), st.integers(0, 9)),
        min_size=1,
        max_size=60,
    ),
    reset=st.sampled_from([1, "lower", "never"]),
    first=st.sampled_from([None, 1]),
    apart=st.integers(1, 9),
    ttl=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    restart=st.integers(0, 6),
)
def test_sequences_of_sessions_are_those_of_the_oracle(
    rows: list[tuple[int, int, int]],
    reset: Any,
    first: int | None,
    apart: int,
    ttl: int,
    cuts: list[int],
    restart: int,
) -> None:
    """With a calendar, each session has numbers of its own; late rows find theirs."""
    hour = _DAY // 24
    rows = [(hour * (365 * 24 + apart * i + row[0]), *row[1:]) for i, row in enumerate(rows)]
    component = SequenceTracker(
        reset=reset, first=first, ttl=f"{ttl}h", forget="1000d", calendar=_EVERY_DAY
    )
    columns = {
        "ts_event": [row[0] for row in rows],
        "symbol": [row[1] for row in rows],
        "sequence": [row[2] for row in rows],
        "size": range(len(rows)),
    }
    batches = batches_of(columns, cuts=cuts, bound=5 * hour)
    out, duplicates, told, _ = found(batches, component, restart)
    spans = {"ttl": ttl * hour, "forget": 1_000 * _DAY, "day": _DAY}
    right = expected(rows, 5 * hour, reset=reset, first=first, wrap=None, **spans)
    assert out == right[0]
    assert duplicates == right[1]
    assert told == [(symbol, (-1, *record[1:])) for symbol, record in right[2]]


@given(
    count=st.integers(1, 60),
    lost=st.sets(st.integers(0, 59)),
    late=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 30)), max_size=20),
    again=st.lists(st.integers(0, 59), max_size=20),
    modulus=st.sampled_from([None, 256]),
)
def test_what_is_missing_at_the_end_is_what_was_lost(
    count: int,
    lost: set[int],
    late: list[tuple[int, int]],
    again: list[int],
    modulus: int | None,
) -> None:
    """After loss, delay and repetition the sum of `missing` is the loss between two rows."""
    start = 0 if modulus is None else 230
    arriving = [(float(i + dict(late).get(i, 0)), i) for i in range(count) if i not in lost]
    arriving += [(i + 45.5, i) for i in again if i < count and i not in lost]
    if not arriving:
        return
    arriving.sort()
    order = [number for _, number in arriving]
    numbers = [start + n if modulus is None else (start + n) % modulus for n in order]
    columns = {"ts_event": [100 * n for n in order], "sequence": numbers, "size": order}
    component = SequenceTracker(by=[], reset="never", wrap=modulus)
    out, duplicates, _, _ = found(batches_of(columns), component, -1)
    seen = [n for n in order if n >= order[0]]
    gone = set(range(order[0], max(seen) + 1)) - set(order)
    assert sum(missing for _, missing in out) == len(gone)
    passed = [row for row, _ in out if row >= order[0]]
    assert sorted(passed) == sorted(set(seen))
    assert len(passed) + len(duplicates) == len(seen)


@fewer(5)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 12)), max_size=50
    ),
    quiet=st.integers(0, 2),
)
def test_a_key_does_not_touch_others(rows: list[tuple[int, int, int]], quiet: int) -> None:
    """Each key alone has the same `missing`, records and duplicates as among others."""
    rows = [(3 * i + row[0], *row[1:]) for i, row in enumerate(rows)]
    alone = [(i, row) for i, row in enumerate(rows) if row[1] == quiet]
    if not alone:  # nothing to compare
        return
    component = SequenceTracker(ttl="1h", reset=3)

    def run(chosen: list[tuple[int, tuple[int, int, int]]]) -> list[tuple[int, int]]:
        columns = {
            "ts_event": [row[0] for _, row in chosen],
            "symbol": [row[1] for _, row in chosen],
            "sequence": [row[2] for _, row in chosen],
            "size": [i for i, _ in chosen],
        }
        return found(batches_of(columns), component, -1)[0]

    own = {i for i, _ in alone}
    assert run(alone) == [pair for pair in run(list(enumerate(rows))) if pair[0] in own]
