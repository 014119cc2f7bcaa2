from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])
WIDTH = 10
Mode = Literal["upsert", "retract", "final"]


class Tick(NamedTuple):
    """A trade."""

    time: int
    symbol: str
    price: int
    size: int


class Given(NamedTuple):
    """A bar as it was given out; `op` is -1 for one that is taken back."""

    symbol: str
    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int
    is_final: bool
    revision: int
    late: int
    op: int


class Oracle:
    """What bars must come out, in which order; everything is worked out anew each time."""

    def __init__(self, bound: int, lateness: int, mode: Mode) -> None:
        self.bound, self.lateness, self.mode = bound, lateness, mode
        self.windows: dict[int, dict[str, list[Tick]]] = {}
        self.fired: set[int] = set()
        self.revisions: dict[tuple[int, str], int] = {}
        self.lates: dict[tuple[int, str], int] = {}
        self.given: list[Given] = []
        self.late: list[Tick] = []

    def run(self, rows: list[Tick], *, gone: str = "") -> None:
        highest: int | None = None
        for row in rows:
            highest = row.time if highest is None else max(highest, row.time)
            watermark = highest - self.bound
            self.events(watermark)
            if row.symbol == gone:
                continue
            start = row.time // WIDTH * WIDTH
            if start + WIDTH + self.lateness <= watermark:
                self.late.append(row)
                continue
            own = self.windows.setdefault(start, {})
            if start + WIDTH > watermark:
                own.setdefault(row.symbol, []).append(row)
                continue
            self.fired.add(start)
            place = start, row.symbol
            if row.symbol in own:
                self.give(start, row.symbol, final=False, op=-1)
                self.revisions[place] = self.revisions.get(place, 0) + 1
            own.setdefault(row.symbol, []).append(row)
            self.lates[place] = self.lates.get(place, 0) + 1
            self.give(start, row.symbol, final=False)
        self.events(None)

    def events(self, watermark: int | None) -> None:
        while self.windows:
            due, start = min(
                (start + WIDTH + (self.lateness if start in self.fired else 0), start)
                for start in self.windows
            )
            if watermark is not None and due > watermark:
                return
            last = start in self.fired or not self.lateness or watermark is None
            for symbol in self.windows[start]:
                if last and start in self.fired:
                    self.give(start, symbol, final=False, op=-1)
                self.give(start, symbol, final=last)
            if last:
                del self.windows[start]
            else:
                self.fired.add(start)

    def give(self, start: int, symbol: str, *, final: bool, op: int = 1) -> None:
        if (op == -1 and self.mode != "retract") or (not final and self.mode == "final"):
            return
        rows = self.windows[start][symbol]
        ordered = sorted(rows, key=lambda row: row.time)
        self.given.append(
            Given(
                symbol,
                start,
                ordered[0].price,
                max(row.price for row in rows),
                min(row.price for row in rows),
                ordered[-1].price,
                sum(row.size for row in rows),
                len(rows),
                final,
                self.revisions.get((start, symbol), 0),
                self.lates.get((start, symbol), 0),
                op,
            )
        )


ticks = st.lists(
    st.builds(
        Tick, st.integers(-60, 90), st.sampled_from("AB"), st.integers(-5, 5), st.integers(0, 4)
    ),
    max_size=50,
)
cuts = st.lists(st.integers(0, 50), max_size=6).map(sorted)
modes: Any = st.sampled_from(["upsert", "retract", "final"])


def batches(
    rows: list[Tick], at: list[int], bound: int, symbols: SymbolTable, *, gone: str = ""
) -> Iterator[Batch]:
    """Yield rows as batches; those of the symbol `gone` only leave their watermarks."""
    highest = TIME_MIN
    for a, b in pairwise([0, *(min(cut, len(rows)) for cut in at), len(rows)]):
        part = rows[a:b]
        columns = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
            "price": np.array([row.price for row in part], np.int64),
            "size": np.array([row.size for row in part], np.int64),
        }
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        batch = Batch(SCHEMA, columns, symbols, Progress(before, bound, end))
        if gone:
            batch = batch.take(np.flatnonzero([row.symbol != gone for row in part]))
        yield batch


@given(ticks, cuts, st.integers(0, 20), st.integers(0, 45), modes, st.sampled_from(["", "", "B"]))
def test_bars_and_their_revisions_are_those_of_the_oracle(
    rows: list[Tick], at: list[int], bound: int, lateness: int, mode: Mode, gone: str
) -> None:
    """Which bars come out, in which order, and which rows are late, whatever the batches.

    Also where rows taken out before, as those of another symbol, moved the watermark.
    """
    symbols, account = SymbolTable(), Account("bars")
    operator = Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode).build(
        NodeContext("bars", symbols, account)
    )
    found: list[Given] = []
    late: list[Tick] = []
    outputs: list[tuple[str, Batch]] = []
    for batch in batches(rows, at, bound, symbols, gone=gone):
        account.rows_in += len(batch)
        outputs += operator.process(batch)
    outputs += operator.finish()
    reached = TIME_MIN
    for port, batch in outputs:
        columns = {name: column.tolist() for name, column in batch.columns.items()}
        names = [symbols.name(code) for code in columns["symbol"]]
        if port == "late":
            rest = (columns[name] for name in ("price", "size"))
            late += map(Tick, columns["ts_event"], names, *rest)
            continue
        account.rows_out += len(batch)
        prices = ("open", "high", "low", "close")
        words = (*prices, "volume", "count", "is_final", "revision", "late_count")
        ops = columns.get("op", [1] * len(batch))
        found += map(Given, names, columns["ts_open"], *(columns[w] for w in words), ops)
        assert batch.progress is not None
        marks = batch.progress.watermarks(batch.times).tolist()
        for start, mark in zip(columns["ts_open"], marks, strict=True):
            assert start >= reached, "no bar is late for whoever reads it"
            assert mark >= reached
            reached = mark
        reached = max(reached, batch.watermark)
    expected = Oracle(bound, lateness, mode)
    expected.run(rows, gone=gone)
    assert found == expected.given
    assert late == expected.late
    assert account.unaccounted == 0
    assert account.held == 0


@given(ticks, st.integers(0, 20), st.integers(0, 45))
def test_final_bars_are_the_same_however_revisions_are_told(
    rows: list[Tick], bound: int, lateness: int
) -> None:
    """Upserts that replace, retractions that cancel, or only the last word."""
    told: dict[str, set[Given]] = {}
    every: tuple[Mode, ...] = ("upsert", "retract", "final")
    for mode in every:
        oracle = Oracle(bound, lateness, mode)
        oracle.run(rows)
        standing: dict[tuple[str, int], Given] = {}
        for bar in oracle.given:
            if bar.op == -1:
                assert standing.pop((bar.symbol, bar.start)) == bar._replace(op=1)
            else:
                assert mode != "retract" or (bar.symbol, bar.start) not in standing
                standing[bar.symbol, bar.start] = bar
        told[mode] = set(standing.values())
        assert all(bar.is_final for bar in standing.values())
    assert told["upsert"] == told["retract"] == told["final"]


@given(ticks.filter(len), cuts, st.integers(0, 20), st.integers(0, 45), modes)
def test_bars_that_can_be_revised_are_a_sound_operator(
    rows: list[Tick], at: list[int], bound: int, lateness: int, mode: Mode
) -> None:
    """Any batch split, and a restart at any batch, gives the same bars."""
    symbols = SymbolTable()
    given = list(batches(rows, at, bound, symbols))
    check_operator(lambda: Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode), given)


@pytest.mark.parametrize("mode", ["upsert", "retract"])
def test_many_revisions_come_out_whole(mode: Mode) -> None:
    """More than one block of output holds."""
    rows = [Tick(0, "A", 1, 1), Tick(10, "A", 1, 1), *[Tick(5, "A", 2, 1)] * 20_000]
    symbols = SymbolTable()
    operator = Bars("10ns", lateness="100ns", revisions=mode).build(NodeContext("bars", symbols))
    revisions = [
        revision
        for batch in batches(rows, [], 0, symbols)
        for _, bars in operator.process(batch)
        for revision in bars["revision"].tolist()
    ]
    assert max(revisions) == 20_000
    assert len(revisions) == (20_001 if mode == "upsert" else 40_001)
