from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import QUOTE, TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator

TRADES = TRADE.only(["ts_event", "symbol", "price", "size"])
QUOTES = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])
WIDTH = 10
SIDES = [
    [f"{side}{part}" for part in ("open", "high", "low", "close")] for side in ("bid_", "ask_")
]


class Row(NamedTuple):
    """A trade at `bid`, or a quote; no price is None."""

    time: int
    symbol: str
    bid: int | None
    ask: int | None


class Cut(NamedTuple):
    """A time in which the feed, or one symbol of it, was cut off."""

    start: int
    stop: int
    symbol: str | None


class Filled(NamedTuple):
    """A bar: closes of both sides, whether it was filled, and whether its prices are one."""

    symbol: str
    start: int
    rows: int
    bid: int | None
    ask: int | None
    filled: bool


def oracle(
    rows: list[Row], bound: int, lateness: int, gaps: list[Cut], *, flat: bool
) -> list[Filled]:
    """What must come out, window by window, worked out one window and symbol at a time."""
    taken: list[Row] = []
    highest: int | None = None
    for row in rows:
        highest = row.time if highest is None else max(highest, row.time)
        if row.time // WIDTH * WIDTH + WIDTH + lateness > highest - bound:
            taken.append(row)
    if highest is None:
        return []
    found: list[Filled] = []
    starts = {row.time // WIDTH * WIDTH for row in taken}
    # How far windows are passed while rows still come.
    passed = highest - bound - lateness
    bars: dict[int, dict[str, list[Row]]] = {}
    for row in taken:
        bars.setdefault(row.time // WIDTH * WIDTH, {}).setdefault(row.symbol, []).append(row)
    known: dict[str, list[int | None]] = {}
    last = {row.symbol: max(r.time for r in taken if r.symbol == row.symbol) for row in taken}
    end = max([*starts, passed], default=0) + WIDTH
    for start in range(min(starts, default=0), end, WIDTH):
        here = bars.get(start, {})
        for symbol, own in here.items():
            prices = known.setdefault(symbol, [None, None])
            ordered = sorted(own, key=lambda row: row.time)
            seen: list[int | None] = [None, None]
            for row in ordered:
                for side, price in enumerate((row.bid, row.ask)):
                    if price is not None:
                        seen[side] = prices[side] = price
            found.append(Filled(symbol, start, len(own), seen[0], seen[1], filled=False))
        for symbol, prices in known.items():
            if symbol in here or (start + WIDTH > passed and start > last[symbol]):
                continue
            if any(
                gap.symbol in {None, symbol}
                and gap.start < min(start + WIDTH, gap.stop)
                and gap.stop > start
                for gap in gaps
            ):
                continue
            bid, ask = prices if flat else (None, None)
            found.append(Filled(symbol, start, 0, bid, ask, filled=True))
    return found


prices = st.one_of(st.none(), st.integers(-5, 5))
quotes = st.lists(
    st.builds(Row, st.integers(-60, 120), st.sampled_from("ABC"), prices, prices), max_size=30
)
trades = st.lists(
    st.builds(Row, st.integers(-60, 120), st.sampled_from("ABC"), st.integers(-5, 5), st.none()),
    max_size=30,
)
cuts = st.lists(st.integers(0, 30), max_size=6).map(sorted)
moments = st.one_of(st.integers(-70, 130), st.integers(-7, 13).map(lambda n: n * WIDTH))
gap_lists = st.lists(
    st.builds(
        lambda a, b, symbol: Cut(min(a, b), max(a, b), symbol),
        moments,
        moments,
        st.sampled_from(["A", None]),
    ),
    max_size=1,
)


def batches(
    rows: list[Row], at: list[int], bound: int, symbols: SymbolTable, *, quoted: bool
) -> list[Batch]:
    highest, made = TIME_MIN, []
    for a, b in pairwise([0, *(min(cut, len(rows)) for cut in at), len(rows)]):
        part = rows[a:b]
        columns: dict[str, Any] = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
        }
        bids, asks = (
            np.array([UNDEFINED if p is None else p for p in column], np.int64)
            for column in ([row.bid for row in part], [row.ask for row in part])
        )
        if quoted:
            columns |= {"bid_price": bids, "ask_price": asks}
        else:
            columns |= {"price": bids, "size": np.ones(len(part), np.int64)}
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        schema = QUOTES if quoted else TRADES
        made.append(Batch(schema, columns, symbols, Progress(before, bound, end)))
    return made


def found_in(bars: list[Batch], *, quoted: bool) -> list[Filled]:
    found: list[Filled] = []
    for batch in bars:
        names = [batch.symbols.name(code) for code in batch["symbol"].tolist()]
        closes = [
            [None if price == UNDEFINED else price for price in batch[name].tolist()]
            for name in (("bid_close", "ask_close") if quoted else ("close",))
        ]
        closes += [[None] * len(batch)] * (2 - len(closes))
        filled = batch["filled"]
        columns = (batch["ts_open"].tolist(), batch["count"].tolist(), *closes, filled.tolist())
        found += map(Filled, names, *columns)
        for side in SIDES if quoted else [[name.removeprefix("bid_") for name in SIDES[0]]]:
            for name in side:
                assert (batch[name] == batch[side[3]])[filled].all(), "one price"
        if not quoted:
            assert not batch["volume"][filled].any()
            assert (batch["vwap"][filled] == UNDEFINED).all()
        assert batch["is_final"].all()
        assert batch.progress is not None
        marks = batch.progress.watermarks(batch.times)
        assert (marks[:-1] <= marks[1:]).all()
    return found


@given(
    st.data(),
    st.booleans(),
    cuts,
    st.integers(0, 20),
    st.integers(0, 25),
    gap_lists,
    st.booleans(),
)
def test_filled_bars_are_those_of_the_oracle(
    data: st.DataObject,
    quoted: bool,
    at: list[int],
    bound: int,
    lateness: int,
    gaps: list[Cut],
    flat: bool,
) -> None:
    """Between a symbol's bars, while the feed is there; in the order of the windows."""
    rows = data.draw(quotes if quoted else trades)
    symbols, account = SymbolTable(), Account("bars")
    component = Bars(
        f"{WIDTH}ns",
        lateness=f"{lateness}ns",
        revisions="final",
        fill="flat" if flat else "null",
    )
    operator: Any = component.build(NodeContext("bars", symbols, account))
    for gap in (gap for gap in gaps if gap.start < gap.stop):
        symbols.encode(["A"])
        operator.status(Status("disconnected", gap.start, gap.symbol))
        operator.status(Status("live", gap.stop, gap.symbol))
    outputs: list[tuple[str, Batch]] = []
    for batch in batches(rows, at, bound, symbols, quoted=quoted):
        account.rows_in += len(batch)
        outputs += operator.process(batch)
        outputs += operator.advance(batch.watermark)
    outputs += operator.finish()
    bars = [batch for port, batch in outputs if port == "out"]
    account.rows_out += sum(map(len, bars))
    expected = oracle(rows, bound, lateness, gaps, flat=flat)
    found = found_in(bars, quoted=quoted)
    assert [bar for bar in found if not bar.filled] == [bar for bar in expected if not bar.filled]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert [bar.start for bar in found] == sorted(bar.start for bar in found)
    assert account.unaccounted == account.held == 0


@given(st.data(), st.booleans(), cuts, st.integers(0, 20), st.integers(0, 25))
def test_filling_is_a_sound_operator(
    data: st.DataObject, quoted: bool, at: list[int], bound: int, lateness: int
) -> None:
    """Any batch split, and a restart at any batch, give the same bars."""
    rows = data.draw(quotes.filter(len) if quoted else trades.filter(len))
    given_rows = batches(rows, at, bound, SymbolTable(), quoted=quoted)
    check_operator(
        lambda: Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions="final", fill="flat"),
        given_rows,
    )


def test_a_long_gap_comes_out_in_pieces() -> None:
    """No batch is larger than others are, and the pieces are in order."""
    symbols = SymbolTable()
    rows = [Row(0, "A", 1, None), Row(0, "B", 2, None), Row(10**6, "A", 3, None)]
    operator = Bars("10ns", fill="flat").build(NodeContext("bars", symbols))
    bars: list[Batch] = []
    for batch in batches(rows, [2], 0, symbols, quoted=False):
        outputs = operator.process(batch)
        bars += [bar for _, bar in outputs]
    assert [len(bar) for bar in bars] == [65_536, 65_536, 65_536, 3_392]
    whole = Batch.concat(bars)
    assert int(whole["filled"].sum()) == 2 * (10**5 - 1)
    starts = whole["ts_open"]
    assert (starts[:-1] <= starts[1:]).all()
    reached = TIME_MIN
    for bar in bars:
        assert bar.progress is not None
        assert bar.progress.before >= reached
        reached = bar.watermark


def test_sessions_that_are_closed_are_not_filled() -> None:
    """A weekend of bars of a minute costs nothing; the hours of trading are full."""
    symbols = SymbolTable()
    start = np.datetime64("2024-01-05T14:30", "ns").astype(np.int64).item()
    later = np.datetime64("2024-01-08T14:32", "ns").astype(np.int64).item()
    rows = [Row(start, "A", 1, None), Row(later, "A", 3, None)]
    operator = Bars("1min", fill="flat", calendar="XNYS").build(NodeContext("bars", symbols))
    outputs = [
        one
        for batch in batches(rows, [], 0, symbols, quoted=False)
        for one in operator.process(batch)
    ]
    bars = Batch.concat([batch for _, batch in outputs])
    assert len(bars) == 390 + 2
    assert {str(day) for day in bars["session"].to_pylist()} == {"2024-01-05", "2024-01-08"}
    assert np.diff(bars["ts_open"]).max() == later - 2 * 60 * 10**9 - (start + 389 * 60 * 10**9)


def test_a_session_that_pauses_is_filled_as_one() -> None:
    """A bar of a day goes on through the lunch break; watermarks in it pass no bar."""
    symbols = SymbolTable()
    at = [
        np.datetime64(f"2024-01-{when}", "ns").astype(np.int64).item()
        for when in ("09T01:00", "09T02:00", "09T04:00", "11T01:00")
    ]
    rows = [Row(time, "A", price, None) for price, time in enumerate(at)]
    operator = Bars("1d", fill="flat", calendar="XTKS").build(NodeContext("bars", symbols))
    [first, second, third, fourth] = batches(rows, [1, 2, 3], 0, symbols, quoted=False)
    assert not [*operator.process(first), *operator.process(second)]
    lunch = np.datetime64("2024-01-09T02:45", "ns").astype(np.int64).item()
    assert operator.output_watermark(lunch) == np.datetime64("2024-01-09T00:00", "ns").astype(int)
    assert not operator.process(third)
    [(_, bars)] = operator.process(fourth)
    assert bars["filled"].tolist() == [False, True]
    assert bars["count"].tolist() == [3, 0]


def test_lateness_needs_final_revisions() -> None:
    """A window that may yet have a row cannot be told to be empty."""
    with pytest.raises(ConfigError, match="set `revisions: final`"):
        Bars("1s", lateness="1s", fill="flat")
    Bars("1s", lateness="1s", fill="flat", revisions="final")


def test_only_bars_of_time_are_filled() -> None:
    """Where no time passes there is no gap."""
    with pytest.raises(ConfigError, match="`fill` does not go with `500tick`"):
        Bars("500tick", fill="flat")
