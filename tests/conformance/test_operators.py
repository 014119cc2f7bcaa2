"""Every operator gives the same rows however they are cut, stopped and restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.nodes import TransformNode
from market_data_pipeline.operator.assign import Assign
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.operator.conditions import Conditions
from market_data_pipeline.operator.dedupe import Dedupe
from market_data_pipeline.operator.filter import Filter
from market_data_pipeline.operator.map import Map
from market_data_pipeline.operator.quality import Quality
from market_data_pipeline.operator.router import Router
from market_data_pipeline.operator.select import Select
from market_data_pipeline.operator.sequence import SequenceTracker
from market_data_pipeline.operator.sessions import TradingSessions
from market_data_pipeline.operator.throttle import Throttle
from market_data_pipeline.operator.union import Union
from market_data_pipeline.operator.windows import Windows
from market_data_pipeline.records import UNDEFINED
from market_data_pipeline.testing import check_operator
from support.operator_batches import random_batches


def _noted(row: Any) -> Any:
    if row.sequence % 5 == 0:
        return None
    if row.price is None:
        return row.replace(ts_event=row.ts_event + 3, notional=None, kind="none")
    return row.replace(notional=row.price * row.size, kind=row.symbol.lower())


async def _noted_later(row: Any) -> Any:
    return _noted(row)


async def _is_large(row: Any) -> bool:
    return bool(row.size > 4)


def _doubled(frame: Any) -> Any:
    return frame.filter(frame["sequence"] > 3).with_columns(size=_sizes_left(frame) * 2)


def _sizes_left(frame: Any) -> Any:
    """Return the size of the rows that stay."""
    return frame.filter(frame["sequence"] > 3)["size"]


# From 1,000 ns before the epoch to it: rows are inside and outside.
_MICROSECOND = {
    "sessions": [{"open": "1969-12-31T23:59:59.999999Z", "close": "1970-01-01T00:00:00Z"}]
}

AGGREGATES = {
    "open": "first(price)",
    "high": "max(price)",
    "low": "min(price)",
    "close": "last(price)",
    "px": "vwap(price, size)",
    "level": "mean(price)",
    "spread": "std(price)",
    "most": "quantile(size, 0.95)",
    "sum": "sum(sequence)",
    "middle": "mean(sequence)",
    "priced": "count(price)",
    "n": "count()",
}


def _windows(**settings: Any) -> Callable[[], TransformNode]:
    return lambda: Windows(AGGREGATES, **settings)


def _sliding(**settings: Any) -> Callable[[], TransformNode]:
    return _windows(sliding=True, **settings)


OPERATORS: dict[str, Callable[[], TransformNode]] = {
    "assign": lambda: Assign({"notional": "price * size", "ts_event": "ts_event + 5"}),
    "bars": lambda: Bars("20ns"),
    "bars of ticks": lambda: Bars("4tick"),
    "bars of volume, split": lambda: Bars("9vol", split=True),
    "bars of value": lambda: Bars("100val", partial=True),
    "bars of imbalance": lambda: Bars("12vol_imbalance"),
    "bars of adaptive runs": lambda: Bars("3tick_run", adaptive={"span": 3, "ticks": 5}),
    "bars of range": lambda: Bars("4range"),
    "bars of renko": lambda: Bars("0.75renko"),
    "bars of an instrument": lambda: Bars("AAA.XNAS-4-TICK-LAST"),
    "bars of an instrument over time": lambda: Bars("AAA.XNAS-1-MILLISECOND-LAST"),
    "conditions that are kept": lambda: Conditions({"n1": "volume"}, column="note"),
    "conditions that reject": lambda: Conditions(
        {"n1": 1, "n2": 3}, column="note", suspicious="sequence", unknown="reject"
    ),
    "dedupe by symbol and number": lambda: Dedupe(["symbol", "sequence"], ttl="30ns"),
    "dedupe by number": lambda: Dedupe(["sequence"], ttl="17ns"),
    "dedupe by symbol": lambda: Dedupe(["symbol"], ttl="5ns"),
    "dedupe by text": lambda: Dedupe(["note"], ttl="9ns"),
    "dedupe by symbol and text": lambda: Dedupe(["note", "symbol", "side"], ttl="40ns"),
    "filter by expression": lambda: Filter("price > 3.5 and symbol in ['AAA', 'CCC']"),
    "filter by function": lambda: Filter(lambda row: row.size > 4),
    "filter by coroutine function": lambda: Filter(_is_large, concurrency=3),
    "filter on batches": lambda: Filter(lambda batch: batch["sequence"] > 9, on="batches"),
    "map": lambda: Map(_noted, columns={"notional": "decimal", "kind": "text"}),
    "map by coroutine function": lambda: Map(
        _noted_later, columns={"notional": "decimal", "kind": "text"}, concurrency=2
    ),
    "map that tells its columns": lambda: Map(lambda row: {"half": row.size / 2}),
    "map on batches": lambda: Map(lambda batch: batch, on="batches"),
    "quality": lambda: Quality(
        zero_size="flag", out_of_sequence={"over": "8ns"}, price_band={"percent": 90}, ttl="9ns"
    ),
    "quality by the median": lambda: Quality(outlier={"window": 7, "threshold": 1}),
    "quality that flags": lambda: Quality(zero_size="flag"),
    "router": lambda: Router({"a": "symbol == 'AAA'", "odd": "sequence % 2 == 1"}, default="rest"),
    "router without default": lambda: Router({"big": lambda row: row.size > 5}),
    "router by values": lambda: Router({"ab": ["AAA", "BBB"]}, by="symbol"),
    "select": lambda: Select(["symbol", "ts_event", "price"]),
    "sessions that are kept": lambda: TradingSessions(_MICROSECOND),
    "sessions that drop": lambda: TradingSessions(_MICROSECOND, outside="drop"),
    "sequence": SequenceTracker,
    "sequence over the feed": lambda: SequenceTracker([], reset="lower", first=0),
    "sequence by side": lambda: SequenceTracker(["side"], reset="never", duplicates="keep"),
    "sequence by text": lambda: SequenceTracker(["note", "symbol"], forget="30ns"),
    "sequence that wraps": lambda: SequenceTracker(wrap=25, ttl="10ns", most_gaps=2),
    "throttle that drops": lambda: Throttle(2e8, burst=3, mode="drop"),
    "throttle that delays": lambda: Throttle(1000),
    "union": Union,
    "windows": _windows(size="20ns"),
    "windows of all symbols": _windows(size="20ns", key=[]),
    "windows by text and letter": _windows(size="15ns", key=["note", "side"]),
    "windows that hop": _windows(size="20ns", every="7ns", origin="1969-12-31"),
    "windows with lateness": _windows(size="20ns", every="7ns", lateness="10ns"),
    "windows with retractions": _windows(size="9ns", lateness="10ns", revisions="retract"),
    "windows that are final": _windows(size="20ns", lateness="30ns", revisions="final"),
    "sessions": _windows(gap="3ns"),
    "sessions with lateness": _windows(gap="3ns", lateness="10ns"),
    "sessions with retractions": _windows(gap="3ns", lateness="9ns", revisions="retract"),
    "sessions that are final": _windows(gap="3ns", lateness="10ns", revisions="final"),
    "windows of a calendar": _windows(
        size="20ns",
        every="9ns",
        calendar={"sessions": [{"open": "1970-01-01T00:00Z", "close": "1970-01-02T00:00Z"}]},
        lateness="10ns",
    ),
    "windows of rows": _windows(rows=3),
    "windows of rows that are forgotten": _windows(rows=3, ttl="6ns"),
    "windows of rows by text": _windows(rows=2, key="note"),
    "sliding windows": _sliding(size="9ns"),
    "sliding windows of all symbols": _sliding(size="20ns", key=[]),
    "sliding windows of rows": _sliding(rows=4),
    "sliding windows of rows that are forgotten": _sliding(rows=4, ttl="6ns"),
    "windows of a function": lambda: Windows(
        {"range": lambda price: int(price.max() - price.min())},
        size="20ns",
        every="5ns",
        lateness="9ns",
        revisions="retract",
        results={"range": "int"},
    ),
}


@pytest.fixture(params=[1, 2, 3])
def batches(request: pytest.FixtureRequest) -> list[Batch]:
    """Rows with disorder, keys that come again and undefined prices."""
    return random_batches(request.param)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_does_not_depend_on_how_rows_are_cut(name: str, batches: list[Batch]) -> None:
    """Any cut and any restart gives the same rows and watermarks."""
    if name == "bars":
        # They refuse a trade without a price.
        batches = [batch.take(batch["price"] != UNDEFINED) for batch in batches]
    check_operator(OPERATORS[name], batches)


def test_map_on_frames_keeps_watermarks(batches: list[Batch]) -> None:
    """A function on Polars frames that looks at each row by itself conforms, too."""
    pytest.importorskip("polars")
    check_operator(lambda: Map(_doubled, on="frames"), batches)
