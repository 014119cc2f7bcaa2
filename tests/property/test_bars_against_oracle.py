from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Outputs
from market_data_pipeline.dag.partitions import key_groups_of_partition
from market_data_pipeline.dag.state import Snapshot
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from support.bar_oracle import Bar, Tick, bars_and_late

SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size"])
WIDTH = 10

near_times = st.integers(-60, 60)
far_times = st.one_of(
    near_times,
    st.integers(-(2**62), -(2**62) + 40),
    st.integers(2**62, 2**62 + 40),
)
prices = st.one_of(st.integers(-5, 5), st.integers(-(10**17), 10**17))
sizes = st.one_of(st.integers(0, 4), st.integers(0, 10**15))


def ticks(times: st.SearchStrategy[int]) -> st.SearchStrategy[list[Tick]]:
    return st.lists(st.builds(Tick, times, st.sampled_from("ABC"), prices, sizes), max_size=60)


cuts = st.lists(st.integers(0, 60), max_size=8).map(sorted)


class Driver:
    """Feeds ticks to the operator in batches and reads what comes out."""

    def __init__(self, out_of_order: int) -> None:
        self.symbols = SymbolTable()
        self.account = Account("bars")
        self.bound = out_of_order
        self.highest = TIME_MIN
        self.operator = Bars(every=f"{WIDTH}ns").build(
            NodeContext("bars", self.symbols, self.account)
        )
        self.outputs: list[tuple[str, Batch]] = []
        self.bars: list[Bar] = []
        self.late: list[Tick] = []

    def batch(self, rows: list[Tick], *, explicit: bool) -> Batch:
        times = np.array([row.time for row in rows], np.int64)
        columns = {
            "ts_event": times,
            "symbol": self.symbols.encode(row.symbol for row in rows),
            "price": np.array([row.price for row in rows], np.int64),
            "size": np.array([row.size for row in rows], np.int64),
        }
        before = self.highest
        self.highest = max([before, *(row.time for row in rows)])
        end = max(self.highest, TIME_MIN + self.bound) - self.bound
        progress = Progress(before, self.bound, end)
        if explicit:
            marks = progress.watermarks(times)
            progress = Progress(progress.before, 0, end, marks)
        return Batch(SCHEMA, columns, self.symbols, progress)

    def feed(self, rows: list[Tick], *, explicit: bool = False) -> None:
        batch = self.batch(rows, explicit=explicit)
        self.account.rows_in += len(batch)
        self.take(self.operator.process(batch))

    def take(self, outputs: Outputs) -> None:
        self.outputs += outputs

    def read(self) -> None:
        """Read what came out, only at the end: what was given must not change later."""
        for port, batch in self.outputs:
            columns = {name: column.tolist() for name, column in batch.columns.items()}
            names = [self.symbols.name(code) for code in columns["symbol"]]
            if port == "late":
                rest = (columns[name] for name in ("price", "size"))
                self.late += map(Tick, columns["ts_event"], names, *rest)
                continue
            self.account.rows_out += len(batch)
            assert columns["ts_close"] == [start + WIDTH for start in columns["ts_open"]]
            vwaps = [None if vwap == UNDEFINED else vwap for vwap in columns["vwap"]]
            words = ("open", "high", "low", "close", "volume")
            self.bars += map(
                Bar,
                names,
                columns["ts_open"],
                *(columns[word] for word in words),
                vwaps,
                columns["count"],
            )


def pieces(rows: list[Tick], at: list[int]) -> list[list[Tick]]:
    edges = [0, *(min(cut, len(rows)) for cut in at), len(rows)]
    return [rows[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(ticks(far_times), cuts, st.integers(0, 35), st.booleans())
def test_bars_and_late_rows_are_those_of_the_oracle(
    rows: list[Tick], at: list[int], out_of_order: int, explicit: bool
) -> None:
    """Any times, order, bound, batch split and form of progress give the oracle's bars."""
    driver = Driver(out_of_order)
    for piece in pieces(rows, at):
        driver.feed(piece, explicit=explicit)
    driver.take(driver.operator.finish())
    driver.read()
    expected, late = bars_and_late(rows, WIDTH, out_of_order)
    assert len(driver.bars) == len(set(driver.bars))
    assert set(driver.bars) == expected
    assert driver.late == late
    assert driver.account.unaccounted == 0
    assert driver.account.held == 0


@given(ticks(near_times), st.randoms(use_true_random=False))
def test_order_of_arrival_within_the_bound_makes_no_difference(
    rows: list[Tick], random: object
) -> None:
    """Rows shuffled within the bound give the bars of the sorted rows."""
    ordered = sorted(
        {(row.symbol, row.time): row for row in rows}.values(), key=lambda row: row.time
    )
    delayed = sorted(
        ((row.time + random.randint(0, 15), row) for row in ordered),  # type: ignore[attr-defined]
        key=lambda pair: pair[0],
    )
    straight, shuffled = Driver(15), Driver(15)
    straight.feed(ordered)
    shuffled.feed([row for _, row in delayed])
    for driver in (straight, shuffled):
        driver.take(driver.operator.finish())
        driver.read()
    assert shuffled.late == []
    assert set(shuffled.bars) == set(straight.bars)


@given(ticks(near_times), cuts, st.integers(0, 35), st.integers(0, 8))
def test_a_restored_operator_goes_on_as_if_it_had_never_stopped(
    rows: list[Tick], at: list[int], out_of_order: int, stop: int
) -> None:
    """Snapshot between any two batches, restore into a fresh operator: same output."""
    driver = Driver(out_of_order)
    for number, piece in enumerate(pieces(rows, at)):
        if number == stop:
            state = driver.operator.snapshot()
            held = driver.account.held
            driver.account.held = 0
            driver.operator = Bars(every=f"{WIDTH}ns").build(
                NodeContext("bars", driver.symbols, driver.account)
            )
            driver.operator.restore(state)
            driver.feed([])
            assert driver.account.held == held
        driver.feed(piece)
    driver.take(driver.operator.finish())
    driver.read()
    expected, late = bars_and_late(rows, WIDTH, out_of_order)
    assert set(driver.bars) == expected
    assert driver.late == late
    assert driver.account.unaccounted == 0


@given(ticks(near_times), cuts, st.integers(0, 35), st.integers(0, 8), st.integers(1, 4))
def test_a_state_that_is_spread_over_workers_and_back_goes_on_alike(
    rows: list[Tick], at: list[int], out_of_order: int, stop: int, workers: int
) -> None:
    """Cut by key group, each part run by a worker for a batch, then merged into one."""
    driver = Driver(out_of_order)
    for number, piece in enumerate(pieces(rows, at)):
        if number != stop:
            driver.feed(piece)
            continue
        state = driver.operator.snapshot()
        batch = driver.batch(piece, explicit=False)
        driver.account.rows_in += len(batch)
        driver.account.held = 0
        parts = []
        for worker in range(workers):
            groups = key_groups_of_partition(worker, workers)
            operator = Bars(every=f"{WIDTH}ns").build(
                NodeContext("bars", driver.symbols, driver.account)
            )
            operator.restore(state.only(groups))
            mine = np.isin(driver.symbols.key_groups(batch["symbol"]), groups)
            driver.take(operator.process(batch.take(mine)))
            parts.append(operator.snapshot())
        driver.account.held = 0
        driver.operator = Bars(every=f"{WIDTH}ns").build(
            NodeContext("bars", driver.symbols, driver.account)
        )
        driver.operator.restore(Snapshot.merge(parts))
    driver.take(driver.operator.finish())
    driver.read()
    expected, late = bars_and_late(rows, WIDTH, out_of_order)
    assert set(driver.bars) == expected
    assert sorted(driver.late) == sorted(late)
    assert driver.account.unaccounted == 0
    assert driver.account.held == 0
