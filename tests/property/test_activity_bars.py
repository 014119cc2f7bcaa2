"""Bars that activity closes, against a plain loop."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data_pipeline.batch import TIME_MIN, Batch, Progress
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext
from market_data_pipeline.operator.bars import Bars
from market_data_pipeline.records import BAR, TRADE, UNDEFINED, Field, Kind
from market_data_pipeline.symbols import SymbolTable
from market_data_pipeline.testing import check_operator
from support.activity_oracle import Adaptive, Bar, Row, activity_bars
from support.examples import fewer

# Each test is made for a dozen kinds, which share most of their code.
FEWER = fewer(6)

SCHEMA = TRADE.only(("ts_event", "symbol", "price", "size", "side")).having(
    Field("price", Kind.FIXED, 2), Field("size", Kind.FIXED, 1), Field("missing", Kind.INT)
)
NAMES = ("AAA", "BBB", "CCC")
THRESHOLDS = {
    "tick": 1,
    "vol": 10,
    "val": 1_000,
    "tick_imbalance": 1,
    "vol_imbalance": 10,
    "val_imbalance": 1_000,
    "tick_run": 1,
    "vol_run": 10,
    "val_run": 1_000,
    "range": 100,
    "renko": 100,
}
"""Every kind, and how many units its number has in it."""


def prices(*, extreme: bool) -> st.SearchStrategy[int]:
    """Prices near each other, with jumps; now and then none."""
    few = st.sampled_from([UNDEFINED, 0, -300])
    near = st.integers(900, 1_100)
    far = st.integers(-(2**63) + 1, 2**63 - 2)
    return near | near | near | (few | far if extreme else few)


@st.composite
def trades(draw: st.DrawFn, *, extreme: bool = False, names: tuple[str, ...] = NAMES) -> list[Row]:
    """Trades in disorder."""
    count = draw(st.integers(0, 60))
    start = draw(st.sampled_from([0, -50, 10**18]))
    return [
        Row(
            start + 2 * i + draw(st.integers(-9, 9)),
            draw(st.sampled_from(names)),
            draw(prices(extreme=extreme)),
            draw(st.integers(0, 40) | st.sampled_from([UNDEFINED, 500])),
            draw(st.sampled_from("BANNN")),
            draw(st.sampled_from([0, 0, 0, 3])),
        )
        for i in range(count)
    ]


def batches_of(rows: list[Row], cuts: list[int], bound: int) -> list[Batch]:
    """Rows as batches with the watermarks of a source."""
    symbols, highest, made = SymbolTable(NAMES), TIME_MIN + bound, []
    for a, b in pairwise([0, *sorted(c for c in set(cuts) if 0 < c < len(rows)), len(rows)]):
        part = rows[a:b]
        columns: dict[str, Any] = {
            "ts_event": np.array([row.time for row in part], np.int64),
            "symbol": symbols.encode(row.symbol for row in part),
            "price": np.array([row.price for row in part], np.int64),
            "size": np.array([row.size for row in part], np.int64),
            "side": np.array([ord(row.side) for row in part], np.uint8),
            "missing": np.array([row.missing for row in part], np.int64),
        }
        start, highest = highest, max([highest, *(row.time for row in part)])
        progress = Progress(start, bound, highest - bound)
        made.append(Batch(SCHEMA, columns, symbols, progress))
    return made


def on_time(rows: list[Row], bound: int) -> tuple[list[Row], int]:
    """The rows that are not late, by time and arrival; and how many are."""
    watermark, kept = TIME_MIN, []
    for number, row in enumerate(rows):
        if row.time >= watermark:
            kept.append((row.time, number, row))
        watermark = max(watermark, row.time - bound)
    return [row for _, _, row in sorted(kept, key=lambda key: key[:2])], len(rows) - len(kept)


def run(settings: Bars, batches: list[Batch]) -> tuple[list[Bar], Account]:
    """The bars that come out, and the account."""
    account = Account("bars")
    operator = settings.build(NodeContext("bars", batches[0].symbols, account))
    found: list[Bar] = []
    highest = TIME_MIN

    def take(outputs: Any) -> None:
        nonlocal highest
        for port, batch in outputs:
            if port != "out":
                continue
            account.rows_out += len(batch)
            assert batch.progress is not None
            assert min(batch.times.tolist()) >= highest
            marks = batch.progress.watermarks(batch.times).tolist()
            assert all(
                time >= mark for time, mark in zip(batch.times.tolist(), marks, strict=True)
            )
            highest = batch.progress.end
            found.extend(bars_of(batch))

    for batch in batches:
        account.rows_in += len(batch)
        take(operator.process(batch))
        take(operator.advance(batch.watermark))
        assert account.unaccounted == 0
    take(operator.finish())
    assert account.unaccounted == 0
    assert account.held == 0
    return found, account


def bars_of(batch: Batch) -> list[Bar]:
    """A batch of bars as the oracle's."""
    names = ("ts_open", "ts_close", "open", "high", "low", "close", "volume", "vwap", "count")
    columns = [batch[name].tolist() for name in names]
    missing = batch["missing_seq"].tolist() if "missing_seq" in batch.schema else [0] * len(batch)
    final = batch["is_final"].tolist() if "is_final" in batch.schema else [True] * len(batch)
    symbols = [batch.symbols.name(code) for code in batch["symbol"].tolist()]
    return [Bar(*values) for values in zip(symbols, *columns, missing, final, strict=True)]


CUTS = st.lists(st.integers(0, 60), max_size=12)
BOUNDS = st.sampled_from([0, 3, 20])


def same(found: list[Bar], right: list[Bar]) -> None:
    """Compare bars, in the columns that there are."""
    if "is_final" not in BAR:
        right = [Bar(**{**bar.__dict__, "missing": 0, "final": True}) for bar in right]
    assert found == right


@pytest.mark.parametrize("kind", THRESHOLDS)
@FEWER
@given(trades(), st.integers(1, 30), CUTS, BOUNDS)
def test_bars_are_those_of_a_plain_loop(
    kind: str, rows: list[Row], number: int, cuts: list[int], bound: int
) -> None:
    """However rows are cut and in whatever order they come within the bound."""
    if not rows:
        return
    right, left = activity_bars(on_time(rows, bound)[0], kind, number * THRESHOLDS[kind])
    found, account = run(Bars(f"{number}{kind}"), batches_of(rows, cuts, bound))
    same(found, right)
    assert account.reasons.get("unfinished", 0) == sum(bar.count for bar in left)
    assert account.reasons.get("late", 0) == on_time(rows, bound)[1]


@pytest.mark.parametrize("kind", THRESHOLDS)
@FEWER
@given(trades(), st.integers(1, 30), CUTS, BOUNDS)
def test_unfinished_bars_are_given_on_request(
    kind: str, rows: list[Row], number: int, cuts: list[int], bound: int
) -> None:
    """They come last, by the time of their last row."""
    if not rows:
        return
    right, left = activity_bars(on_time(rows, bound)[0], kind, number * THRESHOLDS[kind])
    found, account = run(Bars(f"{number}{kind}", partial=True), batches_of(rows, cuts, bound))
    same(found[: len(right)], right)
    same(sorted(found[len(right) :], key=repr), sorted(left, key=repr))
    assert "unfinished" not in account.reasons


@given(trades(), st.integers(1, 12), CUTS, BOUNDS)
def test_split_trades_fill_bars_of_one_volume(
    rows: list[Row], number: int, cuts: list[int], bound: int
) -> None:
    """Each bar has the volume asked for, to the last unit."""
    if not rows:
        return
    right, _ = activity_bars(on_time(rows, bound)[0], "vol", number * 10, split=True)
    found, _ = run(Bars(f"{number}vol", split=True), batches_of(rows, cuts, bound))
    same(found, right)
    assert {bar.volume for bar in found} <= {number * 10}


@pytest.mark.parametrize("kind", [kind for kind in THRESHOLDS if "_" in kind])
@FEWER
@given(trades(names=NAMES[:1]), st.integers(1, 5), CUTS, st.integers(1, 6), st.integers(1, 6))
def test_adaptive_thresholds_follow_what_is_expected(
    kind: str, rows: list[Row], number: int, cuts: list[int], span: int, ticks: int
) -> None:
    """To the last unit, as the recurrence in whole numbers says."""
    if not rows:
        return
    adaptive = Adaptive(span, ticks, max(1, ticks // 2), ticks + 3)
    right, _ = activity_bars(
        on_time(rows, 20)[0],
        kind,
        number * THRESHOLDS[kind],
        adaptive=adaptive,
        unit=10 if kind.startswith("val") else 1,
    )
    settings = {
        "span": span,
        "ticks": ticks,
        "ticks_min": adaptive.least,
        "ticks_max": adaptive.most,
    }
    found, _ = run(Bars(f"{number}{kind}", adaptive=settings), batches_of(rows, cuts, 20))
    same(found, right)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in THRESHOLDS if "_" in kind])
def test_adaptive_thresholds_over_many_bars(kind: str, seed: int) -> None:
    """Hundreds of bars, so that each average has moved often."""
    rng = np.random.default_rng(seed)
    walk = (1_000 + np.cumsum(rng.integers(-3, 4, 6_000))).tolist()
    sizes = rng.integers(1, 30, 6_000).tolist()
    rows = [Row(i, "AAA", price, sizes[i], "N") for i, price in enumerate(walk)]
    adaptive = Adaptive(6, 12, 4, 60)
    number = {"tick": 6, "vol": 9, "val": 90}[kind.split("_", maxsplit=1)[0]]
    unit = 10 if kind.startswith("val") else 1
    right, _ = activity_bars(rows, kind, number * THRESHOLDS[kind], adaptive=adaptive, unit=unit)
    settings = {"span": 6, "ticks": 12, "ticks_min": 4, "ticks_max": 60}
    found, _ = run(Bars(f"{number}{kind}", adaptive=settings), batches_of(rows, [999, 1_000], 0))
    same(found, right)
    assert len(found) > 60
    assert len({bar.count for bar in found}) > 8


@pytest.mark.parametrize("kind", [kind for kind in THRESHOLDS if kind != "renko"])
@FEWER
@given(trades(extreme=True), st.integers(1, 30), CUTS)
def test_prices_anywhere_in_64_bits(
    kind: str, rows: list[Row], number: int, cuts: list[int]
) -> None:
    """No sum of products and no difference of prices wraps round."""
    if not rows:
        return
    right, _ = activity_bars(on_time(rows, 3)[0], kind, number * THRESHOLDS[kind])
    found, _ = run(Bars(f"{number}{kind}"), batches_of(rows, cuts, 3))
    same(found, right)


KINDS: dict[str, Any] = {
    **{kind: {} for kind in THRESHOLDS},
    "split": {"split": True},
    "partial": {"partial": True},
    "adaptive": {"adaptive": {"span": 3, "ticks": 5}},
}


@pytest.mark.parametrize("kind", KINDS)
@FEWER
@given(st.data())
def test_any_cut_and_any_restart_gives_the_same(kind: str, data: st.DataObject) -> None:
    """As every operator must; few examples, each of which is many runs."""
    rows = data.draw(trades())[:25]
    if not rows:
        return
    every = {"split": "3vol", "partial": "4tick", "adaptive": "3tick_imbalance"}.get(
        kind, f"5{kind}"
    )
    check_operator(lambda: Bars(every, **KINDS[kind]), batches_of(rows, [5, 11, 12], 7))
