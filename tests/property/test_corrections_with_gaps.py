from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, Field, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator

WIDTH = 10
SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size", "trade_id"]).having(
    Field("action", Kind.CHAR), Field("missing", Kind.INT), Field("updates", Kind.INT)
)
Mode = Literal["upsert", "retract", "final"]


class Row(NamedTuple):
    """A trade, or what cancels or replaces one, and how many rows are missing before it."""

    time: int
    symbol: str
    price: int
    size: int
    trade_id: int
    action: str
    missing: int
    updates: int


class Bar(NamedTuple):
    """A bar as it stands at the end; no price is None."""

    symbol: str
    start: int
    open: int | None
    high: int | None
    low: int | None
    close: int | None
    volume: int
    trades: int
    missing: int


def start_of(time: int) -> int:
    return time // WIDTH * WIDTH


def oracle(rows: list[Row], bound: int, lateness: int) -> set[Bar]:
    """Return the bars of what is left of the trades, with the marks of all rows they saw."""
    taken: list[Row] = []
    marks: dict[tuple[str, int], int] = {}
    highest: int | None = None
    for row in rows:
        highest = row.time if highest is None else max(highest, row.time)
        watermark = highest - bound
        place = row.symbol, start_of(row.time)
        ended = place[1] + WIDTH <= watermark
        if place[1] + WIDTH + lateness > watermark and (
            row.action == "N" or (row.missing and (not ended or place in marks))
        ):
            marks[place] = marks.get(place, 0) + row.missing
            if row.action == "N":
                taken.append(row)
        if row.action == "N":
            continue
        same = [
            at
            for at, other in enumerate(taken)
            if (other.symbol, other.trade_id) == (row.symbol, row.trade_id)
            and start_of(other.time) + WIDTH + lateness > watermark
        ]
        if same and row.action == "C":
            del taken[same[-1]]
        elif same:
            taken[same[-1]] = taken[same[-1]]._replace(price=row.price, size=row.size)
    bars = set()
    for place in {(row.symbol, start_of(row.time)) for row in taken}:
        own = [row for row in taken if (row.symbol, start_of(row.time)) == place]
        ends = [row.price for row in sorted(own, key=lambda r: r.time) if row.updates & 4]
        ranged = [row.price for row in own if row.updates & 2]
        bars.add(
            Bar(
                *place,
                ends[0] if ends else None,
                max(ranged, default=None),
                min(ranged, default=None),
                ends[-1] if ends else None,
                sum(row.size for row in own if row.updates & 1),
                len(own),
                marks[place],
            )
        )
    return bars


rows_of: Any = st.lists(
    st.builds(
        Row,
        st.integers(-30, 60),
        st.sampled_from("AB"),
        st.integers(-5, 5),
        st.integers(0, 4),
        st.integers(0, 12),
        st.sampled_from("NNNCR"),
        st.sampled_from([0, 0, 1, 3, -1]),
        st.sampled_from([7, 7, 7, 0, 1, 2, 4]),
    ),
    max_size=30,
).map(
    lambda rows: [
        row._replace(trade_id=place) if row.action == "N" else row
        for place, row in enumerate(rows)
    ]
)
cuts = st.lists(st.integers(0, 30), max_size=5).map(sorted)
modes: Any = st.sampled_from(["upsert", "retract", "final"])


def batches(rows: list[Row], at: list[int], bound: int, symbols: SymbolTable) -> list[Batch]:
    highest, made = TIME_MIN, []
    for a, b in pairwise([0, *(min(cut, len(rows)) for cut in at), len(rows)]):
        part = rows[a:b]
        columns: dict[str, Any] = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
            "action": np.array([ord(row.action) for row in part], np.uint8),
        }
        for name in ("price", "size", "trade_id", "missing", "updates"):
            columns[name] = np.array([getattr(row, name) for row in part], np.int64)
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        made.append(Batch(SCHEMA, columns, symbols, Progress(before, bound, end)))
    return made


LOST_BEFORE_A_CANCEL = [
    Row(1, "A", 5, 1, 0, "N", 0, 7),
    Row(2, "A", 9, 1, 1, "N", 2, 7),
    Row(3, "A", 9, 1, 1, "C", 3, 7),
]


@given(rows_of, cuts, st.integers(0, 20), st.integers(0, 40), modes)
@example(LOST_BEFORE_A_CANCEL, [], 0, 0, "upsert")
def test_what_is_missing_before_a_correction_is_told_by_a_bar(
    rows: list[Row], at: list[int], bound: int, lateness: int, mode: Mode
) -> None:
    """So are rows missing before a trade that was cancelled; and each counts for what it may."""
    symbols, account = SymbolTable(), Account("bars")
    operator = Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode).build(
        NodeContext("bars", symbols, account)
    )
    outputs: list[tuple[str, Batch]] = []
    for batch in batches(rows, at, bound, symbols):
        account.rows_in += len(batch)
        outputs += operator.process(batch)
    outputs += operator.finish()
    standing: dict[tuple[str, int], tuple[Any, ...]] = {}
    words = ("open", "high", "low", "close", "volume", "count", "missing_seq", "is_final")
    for batch in (batch for port, batch in outputs if port == "out"):
        account.rows_out += len(batch)
        bars = [
            dict(zip(batch.columns, values, strict=True))
            for values in zip(*(column.tolist() for column in batch.columns.values()), strict=True)
        ]
        for bar in bars:
            place = symbols.name(bar["symbol"]), bar["ts_open"]
            told = tuple(bar[word] for word in (*words, "revision"))
            if bar.get("op") == -1:
                assert standing.pop(place) == told, "what stood is taken back"
                continue
            known = standing.get(place)
            assert known or mode == "final" or bar.get("op") or not bar["revision"]
            assert known is None or (told[-1] > known[-1]) != bar["is_final"]
            standing[place] = told
    none = np.iinfo(np.int64).max
    found: set[Bar] = set()
    for place, told in standing.items():
        prices: Any = [None if price == none else price for price in told[:4]]
        if told[5]:
            found.add(Bar(*place, *prices, *told[4:7]))
    assert all(told[7] for told in standing.values()), "every bar is final at the end"
    assert found == oracle(rows, bound, lateness)
    assert account.unaccounted == account.held == 0


@given(rows_of.filter(len), cuts, st.integers(0, 20), st.integers(0, 40), modes)
@example(LOST_BEFORE_A_CANCEL, [], 0, 0, "upsert")
def test_bars_with_corrections_and_gaps_are_a_sound_operator(
    rows: list[Row], at: list[int], bound: int, lateness: int, mode: Mode
) -> None:
    """Any batch split, and a restart at any batch, gives the same bars."""
    made = batches(rows, at, bound, SymbolTable())
    check_operator(lambda: Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode), made)
