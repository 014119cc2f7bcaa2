from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.messages import Status
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, Operator
from market_data_pipeline.errors import RecordError, SchemaError
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import BAR, QUOTE, TRADE, UNDEFINED
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator
from support.bar_oracle import Tick, bars_and_late

TRADES = TRADE.only(["ts_event", "symbol", "price", "size"])
QUOTES = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])
SHORT, LONG = 10, 40
QUOTE_PRICES = [f"{s}_{p}" for s in ("bid", "ask") for p in ("open", "high", "low", "close")]

rows_in_order = st.lists(
    st.builds(
        Tick,
        st.integers(-90, 150),
        st.sampled_from("AB"),
        st.one_of(st.integers(-5, 5), st.integers(-(10**17), 10**17)),
        st.one_of(st.integers(0, 4), st.integers(0, 10**15)),
    ),
    max_size=50,
).map(lambda rows: sorted(rows, key=lambda row: row.time))
delays = st.lists(st.integers(0, 25), min_size=50, max_size=50)
cuts = st.lists(st.integers(0, 50), max_size=6).map(sorted)


def delayed(rows: list[Tick], by: list[int]) -> list[Tick]:
    """Rows in the order of arrival; none overtakes another by more than 25."""
    pairs = sorted(zip(rows, by, strict=False), key=lambda pair: pair[0].time + pair[1])
    return [row for row, _ in pairs]


def batches(
    rows: list[Tick], at: list[int], bound: int, symbols: SymbolTable, *, quotes: bool = False
) -> list[Batch]:
    """Rows as trades; or as quotes, with an ask where the size is odd and no bid where it is 0."""
    highest, made = TIME_MIN, []
    for a, b in pairwise([0, *(min(cut, len(rows)) for cut in at), len(rows)]):
        part = rows[a:b]
        prices = np.array([row.price for row in part], np.int64)
        sizes = np.array([row.size for row in part], np.int64)
        columns: dict[str, Any] = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
        }
        if quotes:
            columns["bid_price"] = np.where(sizes == 0, UNDEFINED, prices)
            columns["ask_price"] = np.where(sizes % 2 == 1, prices + 1, UNDEFINED)
        else:
            columns |= {"price": prices, "size": sizes}
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        progress = Progress(before, bound, end)
        made.append(Batch(QUOTES if quotes else TRADES, columns, symbols, progress))
    return made


def run(
    component: Bars, given: Sequence[Batch], symbols: SymbolTable, account: Account
) -> list[Batch]:
    """All bars, in batches as they came; nothing may be missing from the account."""
    operator: Operator = component.build(NodeContext("bars", symbols, account))
    outputs: list[tuple[str, Batch]] = []
    for batch in given:
        account.rows_in += len(batch)
        outputs += operator.process(batch)
        outputs += operator.advance(batch.watermark)
    outputs += operator.finish()
    bars = [batch for port, batch in outputs if port == "out"]
    account.rows_out += sum(map(len, bars))
    assert account.unaccounted == account.held == 0
    return bars


def rows_of(bars: Sequence[Batch], names: Sequence[str]) -> dict[tuple[str, int], tuple[Any, ...]]:
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for batch in bars:
        columns = []
        for name in names:
            column = batch[name]
            columns.append(column.to_pylist() if isinstance(column, pa.Array) else column.tolist())
        keys = zip(
            map(batch.symbols.name, batch["symbol"].tolist()),
            batch["ts_open"].tolist(),
            strict=True,
        )
        for key, row in zip(keys, zip(*columns, strict=True), strict=True):
            assert key not in found, "a window has one bar"
            found[key] = row
    return found


@given(rows_in_order, delays, cuts, st.booleans())
def test_cascaded_bars_equal_direct_ones_in_every_column(
    rows: list[Tick], by: list[int], at: list[int], out_of_order: bool
) -> None:
    """Short bars into long ones give what the rows themselves give, and what an oracle does."""
    arrived = delayed(rows, by) if out_of_order else rows
    symbols = SymbolTable()
    given_rows = batches(arrived, at, 25, symbols)
    direct = run(Bars(f"{LONG}ns", turnover=True), given_rows, symbols, Account("a"))
    short = run(Bars(f"{SHORT}ns", turnover=True), given_rows, symbols, Account("b"))
    long = run(Bars(f"{LONG}ns", turnover=True), short, symbols, Account("c"))
    names = [name for name in (*BAR.names, "turnover") if name not in {"symbol", "ts_open"}]
    found = rows_of(long, names)
    assert found == rows_of(direct, names)
    expected, _ = bars_and_late(arrived, LONG, 25)
    words = ("open", "high", "low", "close", "volume", "vwap", "count")
    assert rows_of(long, words) == {
        (bar.symbol, bar.start): (*bar[2:7], UNDEFINED if bar.vwap is None else bar.vwap, bar[8])
        for bar in expected
    }


@given(rows_in_order.filter(len), delays, cuts, st.booleans())
def test_bars_that_come_out_of_order_make_the_same_bars(
    rows: list[Tick], by: list[int], at: list[int], quotes: bool
) -> None:
    """Open and close go by the starts of the bars, as long as these come within the bound."""
    symbols = SymbolTable()
    given_rows = batches(rows, at, 0, symbols, quotes=quotes)
    whole = Batch.concat(run(Bars(f"{SHORT}ns"), given_rows, symbols, Account("b")))
    arrivals = whole["ts_open"] + np.array((by * len(whole))[: len(whole)])
    mixed = whole.reorder(np.argsort(arrivals, kind="stable"))
    highest, made = TIME_MIN, []
    for start in range(0, len(mixed), 3):
        part = mixed.slice(start, min(start + 3, len(mixed)))
        before, highest = highest, max(highest, int(part.times.max()))
        made.append(part.with_progress(Progress(before, 25, highest - 25)))
    names = (*(QUOTE_PRICES if quotes else BAR.names[3:9]), "count", "late_count")
    long = run(Bars(f"{LONG}ns"), made, symbols, Account("c"))
    straight = run(Bars(f"{LONG}ns"), [whole], symbols, Account("d"))
    assert rows_of(long, names) == rows_of(straight, names)


@given(rows_in_order, delays, cuts)
def test_cascaded_bars_of_quotes_equal_direct_ones(
    rows: list[Tick], by: list[int], at: list[int]
) -> None:
    """All eight prices, also where a side is not quoted for a while."""
    symbols = SymbolTable()
    given_rows = batches(delayed(rows, by), at, 25, symbols, quotes=True)
    direct = run(Bars(f"{LONG}ns"), given_rows, symbols, Account("a"))
    short = run(Bars(f"{SHORT}ns"), given_rows, symbols, Account("b"))
    long = run(Bars(f"{LONG}ns"), short, symbols, Account("c"))
    names = (*QUOTE_PRICES, "count")
    assert rows_of(long, names) == rows_of(direct, names)


@given(rows_in_order, cuts)
def test_without_the_turnover_the_average_is_off_by_one_unit_at_most(
    rows: list[Tick], at: list[int]
) -> None:
    """The average of rounded averages, rounded; the rest is exact all the same."""
    symbols = SymbolTable()
    given_rows = batches(rows, at, 0, symbols)
    direct = rows_of(
        run(Bars(f"{LONG}ns"), given_rows, symbols, Account("a")), ("vwap", "volume", "close")
    )
    short = run(Bars(f"{SHORT}ns"), given_rows, symbols, Account("b"))
    long = rows_of(
        run(Bars(f"{LONG}ns"), short, symbols, Account("c")), ("vwap", "volume", "close")
    )
    assert long.keys() == direct.keys()
    for key, (vwap, *rest) in long.items():
        assert abs(vwap - direct[key][0]) <= 1
        assert rest == list(direct[key][1:])


@given(
    rows_in_order,
    st.permutations(range(50)),
    cuts,
    st.integers(0, 45),
    st.sampled_from(["upsert", "retract", "final"]),
)
def test_bars_that_are_revised_count_once(
    rows: list[Tick], order: list[int], at: list[int], lateness: int, mode: Any
) -> None:
    """Whatever the short bars say while they can change: the final ones make the long ones."""
    symbols = SymbolTable()
    mixed = [rows[i] for i in order if i < len(rows)]
    account = Account("b")
    inner = Bars(f"{SHORT}ns", lateness=f"{lateness}ns", revisions=mode)
    given_rows = batches(mixed, at, 5, symbols)
    operator = inner.build(NodeContext("bars", symbols, account))
    outputs = [one for batch in given_rows for one in operator.process(batch)]
    outputs += operator.finish()
    late: list[Tick] = []
    for port, batch in outputs:
        if port == "late":
            names = [symbols.name(code) for code in batch["symbol"].tolist()]
            rest = (batch[name].tolist() for name in ("price", "size"))
            late += map(Tick, batch["ts_event"].tolist(), names, *rest)
    taken = list(mixed)
    for row in late:
        taken.reverse()
        taken.remove(row)
        taken.reverse()
    short = [batch for port, batch in outputs if port == "out"]
    account = Account("c")
    long = run(Bars(f"{LONG}ns"), short, symbols, account)
    expected, _ = bars_and_late(sorted(taken, key=lambda row: row.time), LONG, 0)
    words = ("high", "low", "volume", "count")
    assert rows_of(long, words) == {
        (bar.symbol, bar.start): (bar.high, bar.low, bar.volume, bar.trades) for bar in expected
    }
    finals = sum(int(batch["is_final"].sum()) for batch in short)
    assert account.reasons.get("aggregated", 0) == finals
    assert account.reasons.get("revisable", 0) == sum(map(len, short)) - finals
    assert sum(batch["late_count"].sum() for batch in long) == sum(
        batch["late_count"][batch["is_final"]].sum() for batch in short
    )


@given(rows_in_order.filter(len), delays, cuts, st.booleans(), st.integers(0, 45))
def test_bars_of_bars_are_a_sound_operator(
    rows: list[Tick], by: list[int], at: list[int], quotes: bool, lateness: int
) -> None:
    """Any batch split, and a restart at any batch, give the same bars."""
    symbols = SymbolTable()
    given_rows = batches(delayed(rows, by), at, 25, symbols, quotes=quotes)
    turnover = not quotes
    short = run(Bars(f"{SHORT}ns", turnover=turnover), given_rows, symbols, Account("b"))
    # Bars out of order, some of them late: the last batch comes first.
    whole = Batch.concat(short)
    mixed = whole.reorder(np.argsort(-np.arange(len(whole)) // 3 % 4, kind="stable"))
    highest, made = TIME_MIN, []
    for start in range(0, len(mixed), 4):
        part = mixed.slice(start, min(start + 4, len(mixed)))
        before, highest = highest, max(highest, int(part.times.max()))
        made.append(part.with_progress(Progress(before, 20, highest - 20)))
    for given_bars in (short, made):
        check_operator(
            lambda: Bars(f"{LONG}ns", turnover=turnover, lateness=f"{lateness}ns"), given_bars
        )


def bars_of(starts: list[int], closes: list[int], symbols: SymbolTable, **more: Any) -> Batch:
    """Bars of A, all alike."""
    rows = len(starts)
    ones = np.ones(rows, np.int64)
    columns: dict[str, Any] = {
        "symbol": symbols.encode(["A"] * rows),
        "ts_open": np.array(starts, np.int64),
        "ts_close": np.array(closes, np.int64),
        **dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "count"), ones),
        **more,
    }
    schema = BAR.only(columns)
    return Batch(schema, columns, symbols, Progress(TIME_MIN, 0, max(starts)))


def test_a_bar_that_lies_in_two_windows_is_refused() -> None:
    """It says which, and what to do."""
    symbols = SymbolTable()
    operator = Bars("40ns").build(NodeContext("bars", symbols))
    with pytest.raises(RecordError, match="ends in another window of 40ns than it starts in"):
        operator.process(bars_of([0, 35], [35, 70], symbols))


def test_the_certificates_of_bars_are_summed_or_the_worst_of_them() -> None:
    """Rows late and missing and gaps add up; what the feed says of itself counts as well."""
    symbols = SymbolTable()
    certificate = {
        "late_count": np.array([2, 3, 0]),
        "missing_seq": np.array([5, 1, UNDEFINED]),
        "gap_ns": np.array([4, 0, 0]),
        "feed_state": pa.array(["disconnected", "live", "quiet"]),
        "session": pa.array([7, 7, 8], pa.int32()).cast(pa.date32()),
    }
    batch = bars_of([0, 10, 40], [10, 20, 50], symbols, **certificate)
    operator: Any = Bars("40ns").build(NodeContext("bars", symbols))
    operator.status(Status("disconnected", 20))
    operator.status(Status("live", 42))
    outputs = [*operator.process(batch), *operator.finish()]
    bars = Batch.concat([bars for _, bars in outputs])
    assert bars["late_count"].tolist() == [5, 0]
    assert bars["missing_seq"].tolist() == [6, UNDEFINED]
    assert bars["gap_ns"].tolist() == [20, 2]
    assert bars["coverage"].tolist() == [0.5, 0.95]
    assert bars["feed_state"].to_pylist() == ["disconnected", "disconnected"]
    assert [day.day for day in bars["session"].to_pylist()] == [8, 9]


def test_bars_without_a_row_make_no_bar() -> None:
    """Neither filled ones nor those whose trades were all cancelled."""
    symbols, account = SymbolTable(), Account("bars")
    operator = Bars("40ns").build(NodeContext("bars", symbols, account))
    account.rows_in += 2
    empty = bars_of([0, 40], [10, 50], symbols, count=np.array([0, 3]))
    [(_, bars)] = [*operator.process(empty), *operator.finish()]
    account.rows_out += len(bars)
    assert bars["ts_open"].tolist() == [40]
    assert account.reasons == {"empty": 1, "aggregated": 1}
    assert account.unaccounted == 0


def test_turnover_of_bars_without_it_is_refused() -> None:
    """Made of rounded averages it would not be exact."""
    with pytest.raises(SchemaError, match="set `turnover: true` on the node that makes them"):
        Bars("1min", turnover=True).output_schemas(BAR)


def test_turnover_of_quotes_is_refused() -> None:
    """There is no price of a quote to multiply."""
    with pytest.raises(SchemaError, match="bars of quotes have no `turnover`"):
        Bars("1min", turnover=True).output_schemas(QUOTE)
