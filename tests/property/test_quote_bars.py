from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import QUOTE, QUOTE_BAR, UNDEFINED
from market_data_pipeline.symbols import SymbolTable

SCHEMA = QUOTE.only(["ts_event", "symbol", "bid_price", "ask_price"])
WIDTH = 10


class Quote(NamedTuple):
    """A quote; a side may be empty."""

    time: int
    symbol: str
    bid: int | None
    ask: int | None


side = st.one_of(st.none(), st.integers(-4, 4), st.integers(-(10**17), 10**17))
quotes = st.lists(
    st.builds(Quote, st.integers(-60, 60), st.sampled_from("ABC"), side, side), max_size=60
)


def side_of(rows: list[Quote], name: str) -> tuple[int | None, ...]:
    """Open, high, low and close of one side, worked out the plain way."""
    ordered = sorted((row for row in rows if getattr(row, name) is not None), key=lambda r: r.time)
    prices = [getattr(row, name) for row in ordered]
    if not prices:
        return (None,) * 4
    return prices[0], max(prices), min(prices), prices[-1]


def oracle(rows: list[Quote], bound: int) -> set[tuple[object, ...]]:
    windows: dict[tuple[str, int], list[Quote]] = {}
    highest: int | None = None
    for row in rows:
        start = row.time // WIDTH * WIDTH
        if highest is None or start + WIDTH > highest - bound:
            windows.setdefault((row.symbol, start), []).append(row)
        highest = row.time if highest is None else max(highest, row.time)
    return {
        (symbol, start, start + WIDTH, *side_of(own, "bid"), *side_of(own, "ask"), len(own))
        for (symbol, start), own in windows.items()
    }


@given(quotes, st.lists(st.integers(0, 60), max_size=6).map(sorted), st.integers(0, 35))
def test_quote_bars_are_those_of_the_oracle(rows: list[Quote], at: list[int], bound: int) -> None:
    """Each side has its own open, high, low and close; an empty side is no price."""
    symbols = SymbolTable()
    operator = Bars(f"{WIDTH}ns").build(NodeContext("bars", symbols))
    outputs: list[tuple[str, Batch]] = []
    highest = TIME_MIN
    edges = [0, *(min(cut, len(rows)) for cut in at), len(rows)]
    for a, b in pairwise(edges):
        part = rows[a:b]
        columns = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
            "bid_price": prices([row.bid for row in part]),
            "ask_price": prices([row.ask for row in part]),
        }
        before, highest = highest, max([highest, *(row.time for row in part)])
        end = max(highest, TIME_MIN + bound) - bound
        batch = Batch(SCHEMA, columns, symbols, Progress(before, bound, end))
        outputs += operator.process(batch)
    outputs += operator.finish()
    found = []
    for port, bars in outputs:
        if port == "out":
            assert bars.schema == QUOTE_BAR
            names = QUOTE_BAR.names[: QUOTE_BAR.names.index("count") + 1]
            listed = [bars.columns[name].tolist() for name in names]
            found += [
                (symbols.name(code), *(None if v == UNDEFINED else v for v in values))
                for code, *values in zip(*listed, strict=True)
            ]
    assert len(found) == len(set(found))
    assert set(found) == oracle(rows, bound)


def prices(values: list[int | None]) -> np.ndarray:
    return np.array([UNDEFINED if value is None else value for value in values], np.int64)
