from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Column, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import TRADE, Field, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator

WIDTH = 10
ACTION = Field("action", Kind.CHAR)
SCHEMA = TRADE.only(["ts_event", "symbol", "price", "size", "trade_id"]).having(ACTION)
TEXT_IDS = SCHEMA.having(
    Field("trade_id", Kind.ARROW, arrow=pa.string()),
    Field("action", Kind.ARROW, arrow=pa.string()),
)
Mode = Literal["upsert", "retract", "final"]


class Row(NamedTuple):
    """A trade, or what cancels or replaces one."""

    time: int
    symbol: str
    price: int
    size: int
    trade_id: int
    action: str


class Bar(NamedTuple):
    """A bar as it stands at the end."""

    symbol: str
    start: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int


def oracle(rows: list[Row], bound: int, lateness: int) -> tuple[set[Bar], int]:
    """Return the bars of what is left of the trades, and how many rows come too late."""
    taken: list[Row] = []
    late = 0
    highest: int | None = None
    for row in rows:
        highest = row.time if highest is None else max(highest, row.time)

        def is_final(time: int, watermark: int = highest - bound) -> bool:
            return time // WIDTH * WIDTH + WIDTH + lateness <= watermark

        if row.action == "N":
            if is_final(row.time):
                late += 1
            else:
                taken.append(row)
            continue
        same = [
            place
            for place, other in enumerate(taken)
            if (other.symbol, other.trade_id) == (row.symbol, row.trade_id)
            and not is_final(other.time)
        ]
        if not same:
            late += 1
        elif row.action == "C":
            del taken[same[-1]]
        else:
            taken[same[-1]] = taken[same[-1]]._replace(price=row.price, size=row.size)
    bars = set()
    for symbol, start in {(row.symbol, row.time // WIDTH * WIDTH) for row in taken}:
        own = [row for row in taken if (row.symbol, row.time // WIDTH * WIDTH) == (symbol, start)]
        ordered = sorted(own, key=lambda row: row.time)
        prices = [row.price for row in own]
        volume = sum(row.size for row in own)
        ends = ordered[0].price, max(prices), min(prices), ordered[-1].price
        bars.add(Bar(symbol, start, *ends, volume, len(own)))
    return bars, late


def distinct(rows: list[Row]) -> list[Row]:
    """Return the rows with a number of its own for each trade; others may name any."""
    return [
        row._replace(trade_id=place) if row.action == "N" else row
        for place, row in enumerate(rows)
    ]


rows_of: Any = st.lists(
    st.builds(
        Row,
        st.integers(-30, 60),
        st.sampled_from("AB"),
        st.integers(-5, 5),
        st.integers(0, 4),
        st.integers(0, 25),
        st.sampled_from("NNNCR"),
    ),
    max_size=40,
).map(distinct)
cuts = st.lists(st.integers(0, 40), max_size=5).map(sorted)
modes: Any = st.sampled_from(["upsert", "retract", "final"])


def batches(
    rows: list[Row], at: list[int], bound: int, symbols: SymbolTable, *, text: bool
) -> Iterator[Batch]:
    highest = TIME_MIN
    for a, b in pairwise([0, *(min(cut, len(rows)) for cut in at), len(rows)]):
        part = rows[a:b]
        ids: Column = np.array([row.trade_id for row in part], np.int64)
        columns: dict[str, Column] = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
            "price": np.array([row.price for row in part], np.int64),
            "size": np.array([row.size for row in part], np.int64),
            "trade_id": pa.array([f"id {i}" for i in ids], pa.string()) if text else ids,
            "action": pa.array([None if r.action == "N" else r.action for r in part], pa.string())
            if text
            else np.array([ord(row.action) for row in part], np.uint8),
        }
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        yield Batch(TEXT_IDS if text else SCHEMA, columns, symbols, Progress(before, bound, end))


@given(rows_of, cuts, st.integers(0, 20), st.integers(0, 40), modes, st.booleans())
def test_bars_are_those_of_what_is_left_of_the_trades(
    rows: list[Row], at: list[int], bound: int, lateness: int, mode: Mode, text: bool
) -> None:
    """Also when the high, the low, the first, the last or the only trade was cancelled."""
    symbols, account = SymbolTable(), Account("bars")
    operator = Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode).build(
        NodeContext("bars", symbols, account)
    )
    outputs: list[tuple[str, Batch]] = []
    for batch in batches(rows, at, bound, symbols, text=text):
        account.rows_in += len(batch)
        outputs += operator.process(batch)
    outputs += operator.finish()
    standing: dict[tuple[str, int], tuple[Any, ...]] = {}
    for port, batch in outputs:
        if port == "late":
            continue
        account.rows_out += len(batch)
        columns = {name: column.tolist() for name, column in batch.columns.items()}
        words = ("open", "high", "low", "close", "volume", "count", "is_final", "revision")
        ops = columns.get("op", [1] * len(batch))
        starts = columns["ts_open"]
        for code, start, op, *values in zip(
            columns["symbol"], starts, ops, *(columns[word] for word in words), strict=True
        ):
            place = symbols.name(code), start
            if op == -1:
                assert standing.pop(place) == tuple(values), "what stood is taken back"
                continue
            assert mode != "retract" or place not in standing
            if place in standing:
                assert values[-1] > standing[place][-1] or values[-2], "a revision counts up"
            standing[place] = tuple(values)
    found = {
        Bar(*place, *values[:6]) for place, values in standing.items() if values[5] and values[6]
    }
    assert all(values[6] for values in standing.values()), "every bar is final at the end"
    expected, late = oracle(rows, bound, lateness)
    assert found == expected
    assert account.reasons.get("late", 0) == late
    assert account.unaccounted == 0
    assert account.held == 0


CANCELLED_BEFORE_ANOTHER_GOES_ON = [
    Row(0, "B", 0, 0, 0, "N"),
    Row(0, "B", 0, 0, 0, "C"),
    Row(10, "A", 0, 0, 2, "N"),
]


@given(rows_of.filter(len), cuts, st.integers(0, 20), st.integers(0, 40), modes, st.booleans())
@example(CANCELLED_BEFORE_ANOTHER_GOES_ON, [], 0, 0, "upsert", False)
def test_bars_with_corrections_are_a_sound_operator(
    rows: list[Row], at: list[int], bound: int, lateness: int, mode: Mode, text: bool
) -> None:
    """Any batch split, and a restart at any batch, gives the same bars."""
    symbols = SymbolTable()
    given_batches = list(batches(rows, at, bound, symbols, text=text))
    check_operator(
        lambda: Bars(f"{WIDTH}ns", lateness=f"{lateness}ns", revisions=mode), given_batches
    )
