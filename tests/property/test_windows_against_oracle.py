"""Windows of any settings are those of a plain oracle, whatever the order and the cuts."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable
from support.window_oracle import (
    Given,
    Outcome,
    Row,
    counted,
    fixed_windows,
    in_sessions,
    on_grid,
    retracting,
    sessions,
    sliding,
    watermarks_of,
)

DURATIONS = {"size", "every", "gap", "lateness", "ttl"}
SCHEMA = TRADE.only(["ts_event", "symbol", "size"])

FIGURES = ("values", "n", "sum", "first", "last", "most", "least", "mean")

near_times = st.one_of(st.integers(-12, 12), st.integers(-60, 60))
far_times = st.one_of(
    near_times,
    near_times,
    near_times,
    st.integers(-(2**62), -(2**62) + 40),
    st.integers(2**62, 2**62 + 40),
)
cuts = st.lists(st.integers(0, 50), max_size=6).map(sorted)
grids = st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(-30, 30)).map(
    lambda three: (max(three[:2]), min(three[:2]), three[2])
)
bounds = st.integers(0, 30)
latenesses = st.sampled_from([0, 0, 1, 5, 40])


@st.composite
def row_lists(draw: st.DrawFn, times: st.SearchStrategy[int] = far_times) -> list[Row]:
    """Return rows, each with a value of its own."""
    # Mostly of one symbol and close together, so that rows meet at the edges of windows.
    made = draw(st.lists(st.tuples(times, st.sampled_from("AAB")), max_size=40))
    return [Row(time, symbol, 1 + 7 * number) for number, (time, symbol) in enumerate(made)]


def listed(size: Any) -> int:
    """Return a number that tells which values there are and in which order."""
    return hash(tuple(size.tolist())) % 2**60


class Driver:
    """Feeds rows to the operator in batches and reads what comes out."""

    def __init__(self, bound: int, **settings: Any) -> None:
        self.symbols = SymbolTable()
        self.account = Account("windows")
        self.bound = bound
        self.highest = TIME_MIN + bound
        self.settings = settings
        self.operator = self.made()
        self.given: list[tuple[Any, ...]] = []
        self.late: list[Row] = []
        self.outside: list[Row] = []
        self.reached = TIME_MIN

    def made(self) -> Any:
        aggregates = {
            "values": listed,
            "n": "count()",
            "sum": "sum(size)",
            "first": "first(size)",
            "last": "last(size)",
            "most": "max(size)",
            "least": "min(size)",
            "mean": "mean(size)",
        }
        settings: dict[str, Any] = {
            name: f"{value}ns" if name in DURATIONS else value
            for name, value in self.settings.items()
        }
        component = Windows(aggregates, results={"values": "int"}, **settings)
        return component.build(NodeContext("windows", self.symbols, self.account))

    def feed(self, rows: list[Row]) -> None:
        columns = {
            "ts_event": np.array([row.time for row in rows], np.int64),
            "symbol": self.symbols.encode(row.symbol for row in rows),
            "size": np.array([row.value for row in rows], np.int64),
        }
        before = self.highest
        self.highest = max([before, *(row.time for row in rows)])
        progress = Progress(before, self.bound, self.highest - self.bound)
        batch = Batch(SCHEMA, columns, self.symbols, progress)
        self.account.rows_in += len(batch)
        self.take(self.operator.process(batch))
        self.take(self.operator.advance(batch.watermark))
        self.reached = max(self.reached, self.operator.output_watermark(batch.watermark))

    def take(self, outputs: Outputs) -> None:
        for port, batch in outputs:
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            names = [self.symbols.name(code) for code in columns["symbol"]]
            if port != "out":
                rows = self.late if port == "late" else self.outside
                rows += map(Row, columns["ts_event"], names, columns["size"])
                continue
            self.account.rows_out += len(batch)
            self.check_progress(batch)
            if self.settings.get("sliding"):
                words: tuple[str, ...] = ("ts_event", "size", *FIGURES)
                self.given += zip(names, *(columns[word] for word in words), strict=True)
                continue
            words = ("ts_open", "ts_close", *FIGURES)
            rest = (columns[word] for word in (*words, "revision", "is_final"))
            ops = columns.get("op", [1] * len(names))
            self.given += zip(names, *rest, ops, strict=True)

    def check_progress(self, batch: Batch) -> None:
        """See that no row is below a watermark that was told before it."""
        progress = batch.progress
        assert progress is not None
        marks = progress.watermarks(batch.times).tolist()
        for time, mark in zip(batch.times.tolist(), marks, strict=True):
            assert time >= self.reached
            self.reached = max(self.reached, mark)
        self.reached = max(self.reached, progress.end)

    def restart(self) -> None:
        """Go on with a fresh operator that has the state of this one."""
        state, held = self.operator.snapshot(), self.account.held
        self.account.held = 0
        self.operator = self.made()
        self.operator.restore(state)
        assert self.account.held == held

    def finish(self) -> None:
        self.take(self.operator.finish())
        assert self.account.unaccounted == 0
        assert self.account.held == 0


def pieces(rows: list[Row], at: list[int]) -> list[list[Row]]:
    edges = [0, *(min(cut, len(rows)) for cut in at), len(rows)]
    return [rows[a:b] for a, b in itertools.pairwise(edges) if a < b]


def told(row: Given) -> tuple[Any, ...]:
    """Return a window of the oracle as the operator tells of it."""
    numbers = figures(row.values)
    return (row.symbol, row.start, row.end, *numbers, row.revision, row.is_final, row.op)


def figures(values: tuple[int, ...]) -> tuple[int, ...]:
    """Return the aggregates of some values."""
    none = 2**63 - 1
    if not values:
        return (none, 0, *6 * (none,))
    mean = round(Fraction(sum(values), len(values)))
    return (
        *(hash(values) % 2**60, len(values), sum(values), values[0], values[-1]),
        *(max(values), min(values), mean),
    )


def versions(rows: list[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
    """Return the rows of each window in order: symbol and start name it."""
    found: dict[Any, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[:2], []).append(row)
    return found


def check(driver: Driver, rows: list[Row], at: list[int], expected: Outcome, stop: int) -> None:
    for number, piece in enumerate(pieces(rows, at)):
        if number == stop:
            driver.restart()
        driver.feed(piece)
    driver.finish()
    wanted = [told(row) for row in expected.given]
    assert versions(driver.given) == versions(wanted)
    if not driver.settings["lateness"]:
        assert [row[2] for row in driver.given] == [row[2] for row in wanted]
    assert driver.late == expected.late
    assert driver.outside == expected.outside


@given(row_lists(), cuts, bounds, grids, latenesses, st.integers(0, 12))
def test_every_row_is_in_exactly_the_windows_of_the_oracle(
    rows: list[Row],
    at: list[int],
    bound: int,
    grid: tuple[int, int, int],
    lateness: int,
    stop: int,
) -> None:
    """Any times, cuts, restart, bound, grid and lateness: the oracle's versions, in order."""
    size, every, origin = grid
    expected = fixed_windows(
        rows, watermarks_of(rows, bound), on_grid(size, every, origin), lateness
    )
    moment = np.datetime64(origin, "ns")
    driver = Driver(bound, size=size, every=every, lateness=lateness, origin=f"{moment}Z")
    check(driver, rows, at, expected, stop)


def calendar_of(edges: list[int]) -> dict[str, Any]:
    """Return a calendar whose sessions are between edges, in microseconds."""
    texts = [f"{np.datetime64(edge, 'us')}Z" for edge in edges]
    pairs = zip(texts[::2], texts[1::2], strict=False)
    return {"sessions": [{"open": opened, "close": closed} for opened, closed in pairs]}


@given(
    row_lists(near_times),
    cuts,
    bounds,
    grids,
    latenesses,
    st.lists(st.integers(-50, 50), min_size=2, max_size=7, unique=True).map(sorted),
    st.integers(0, 12),
)
def test_windows_are_cut_at_the_close_of_trading_sessions(
    rows: list[Row],
    at: list[int],
    bound: int,
    grid: tuple[int, int, int],
    lateness: int,
    edges: list[int],
    stop: int,
) -> None:
    """Windows start at opens and end at closes; rows between sessions are told apart."""
    size, every, _ = (1_000 * number for number in grid)
    rows = [row._replace(time=1_000 * row.time + row.value % 1_000) for row in rows]
    spans = [(1_000 * a, 1_000 * b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    bound, lateness = 1_000 * bound, 1_000 * lateness
    marks = watermarks_of(rows, bound)
    expected = fixed_windows(rows, marks, in_sessions(size, every, spans), lateness)
    calendar = calendar_of(edges)
    driver = Driver(bound, size=size, every=every, lateness=lateness, calendar=calendar)
    check(driver, rows, at, expected, stop)


@given(row_lists(), cuts, bounds, st.integers(1, 20), latenesses, st.integers(0, 12))
def test_sessions_are_those_of_the_oracle(
    rows: list[Row], at: list[int], bound: int, gap: int, lateness: int, stop: int
) -> None:
    """Sessions that grow, merge, are opened again or superseded, as the oracle says."""
    expected = sessions(rows, watermarks_of(rows, bound), gap, lateness)
    check(Driver(bound, gap=gap, lateness=lateness), rows, at, expected, stop)


@given(row_lists(near_times), bounds, grids, st.sampled_from([1, 5, 40]))
def test_retractions_take_back_what_was_given(
    rows: list[Row], bound: int, grid: tuple[int, int, int], lateness: int
) -> None:
    """Each revision comes behind the old row with the opposite sign."""
    size, every, _ = grid
    expected = fixed_windows(rows, watermarks_of(rows, bound), on_grid(size, every, 0), lateness)
    driver = Driver(bound, size=size, every=every, lateness=lateness, revisions="retract")
    driver.feed(rows)
    driver.finish()
    wanted = [told(row) for row in retracting(expected.given)]
    assert versions(driver.given) == versions(wanted)


@given(row_lists(near_times), bounds, st.integers(1, 20), st.sampled_from([1, 5, 40]))
def test_retractions_of_sessions_leave_the_final_sessions(
    rows: list[Row], bound: int, gap: int, lateness: int
) -> None:
    """Nothing is taken back that was not given, and what is left is the final answer."""
    expected = sessions(rows, watermarks_of(rows, bound), gap, lateness)
    driver = Driver(bound, gap=gap, lateness=lateness, revisions="retract")
    driver.feed(rows)
    driver.finish()
    standing: Counter[tuple[Any, ...]] = Counter()
    for row in driver.given:
        standing[row[:-1]] += row[-1]
        assert standing[row[:-1]] in {0, 1}
    final = [told(row)[:-1] for row in expected.given if row.is_final and row.values]
    assert +standing == Counter(final)


@given(row_lists(near_times), bounds, grids, st.integers(0, 20), latenesses)
def test_only_final_rows_come_out_when_asked(
    rows: list[Row], bound: int, grid: tuple[int, int, int], gap: int, lateness: int
) -> None:
    """`revisions: final` gives the final rows of `upsert` and no others."""
    marks = watermarks_of(rows, bound)
    size, every, _ = grid
    settings: dict[str, Any] = {"gap": gap} if gap else {"size": size, "every": every}
    driver = Driver(bound, lateness=lateness, revisions="final", **settings)
    driver.feed(rows)
    driver.finish()
    expected = (
        sessions(rows, marks, gap, lateness)
        if gap
        else fixed_windows(rows, marks, on_grid(size, every, 0), lateness)
    )
    final = [told(row) for row in expected.given if row.is_final and row.values]
    assert versions(driver.given) == versions(final)


@given(row_lists(near_times), st.randoms(use_true_random=False), grids, st.integers(0, 20))
def test_order_of_arrival_within_the_bound_makes_no_difference(
    rows: list[Row], random: Any, grid: tuple[int, int, int], gap: int
) -> None:
    """Rows shuffled within the bound, merged in any order, give the same windows."""
    ordered = sorted(
        {(row.symbol, row.time): row for row in rows}.values(), key=lambda row: row.time
    )
    delays = [(row.time + random.randint(0, 15), row) for row in ordered]
    shuffled = [row for _, row in sorted(delays, key=lambda pair: pair[0])]
    settings: dict[str, Any] = {"gap": gap} if gap else {"size": grid[0], "every": grid[1]}
    found = []
    for some in (ordered, shuffled):
        driver = Driver(15, **settings)
        driver.feed(some)
        driver.finish()
        assert driver.late == []
        found.append(versions(driver.given))
    assert found[0] == found[1]


@given(row_lists(), cuts, bounds, st.integers(1, 5), st.sampled_from([0, 1, 7]), st.integers(0, 9))
def test_windows_of_so_many_rows_are_those_of_the_oracle(
    rows: list[Row], at: list[int], bound: int, number: int, ttl: int, stop: int
) -> None:
    """Rows are counted in the order of event time; what is left is told under a reason."""
    expected, lost = counted(rows, watermarks_of(rows, bound), number, ttl)
    settings = {"rows": number, "ttl": ttl} if ttl else {"rows": number}
    driver = Driver(bound, **settings)
    for place, piece in enumerate(pieces(rows, at)):
        if place == stop:
            driver.restart()
        driver.feed(piece)
    driver.finish()
    assert driver.given == [told(row) for row in expected.given]
    assert driver.late == expected.late
    assert driver.account.reasons.get("incomplete", 0) == lost


@given(
    row_lists(near_times),
    cuts,
    bounds,
    st.integers(0, 12),
    st.sampled_from([0, 3, 9]),
    st.integers(0, 9),
)
def test_sliding_windows_are_those_of_the_oracle(
    rows: list[Row], at: list[int], bound: int, size: int, ttl: int, stop: int
) -> None:
    """Each row comes out once, in order, with the window that ends with it."""
    number = 1 + len(rows) % 4
    settings: dict[str, Any] = {"size": size} if size else {"rows": number}
    if ttl and not size:
        settings["ttl"] = ttl
    driver = Driver(bound, sliding=True, **settings)
    for place, piece in enumerate(pieces(rows, at)):
        if place == stop:
            driver.restart()
        driver.feed(piece)
    driver.finish()
    expected = sliding(rows, watermarks_of(rows, bound), size, number, ttl)
    assert driver.given == [
        (row.symbol, row.time, row.value, *figures(values)) for row, values in expected
    ]
    assert len(driver.late) == len(rows) - len(expected)
