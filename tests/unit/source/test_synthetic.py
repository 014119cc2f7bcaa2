"""The synthetic market: one seed, one feed, and a truth that can be counted."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from market_data_pipeline.batch import TIME_MIN, Batch
from market_data_pipeline.dag.metrics import Account
from market_data_pipeline.dag.nodes import NodeContext, SourceNode
from market_data_pipeline.errors import ConfigError
from market_data_pipeline.records import QUOTE, TRADE
from market_data_pipeline.source.synthetic import SyntheticSource
from market_data_pipeline.symbols import SymbolTable

SECOND = 1_000_000_000


async def _drain(source: SyntheticSource, context: NodeContext) -> list[Batch]:
    reader = await source.open(context)
    batches = []
    while (outputs := await reader.read()) is not None:
        for port, batch in outputs:
            assert port == "out"
            assert isinstance(batch, Batch)
            batches.append(batch)
    assert reader.fraction() == 1.0
    await reader.close()
    return batches


def _batches_of(source: SyntheticSource, context: NodeContext | None = None) -> list[Batch]:
    return asyncio.run(_drain(source, context or NodeContext("feed")))


def _columns_of(batches: list[Batch]) -> dict[str, npt.NDArray[Any]]:
    names = batches[0].schema.names
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def _fingerprint(batches: list[Batch]) -> str:
    digest = hashlib.sha256()
    for name, column in _columns_of(batches).items():
        digest.update(name.encode() + column.tobytes())
    watermarks = [batch.progress.watermarks(batch.times) for batch in batches if batch.progress]
    digest.update(np.concatenate(watermarks).tobytes())
    return digest.hexdigest()


def _newest_before(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    newest, found = TIME_MIN, []
    for time in times.tolist():
        found.append(newest)
        newest = max(newest, time)
    return np.array(found)


@pytest.mark.parametrize("kind", ["trades", "quotes"])
def test_feed_is_the_same_for_every_batch_size(kind: Literal["trades", "quotes"]) -> None:
    """A seed means the same rows and watermarks however they are cut."""
    feed = SyntheticSource(rows=70_000, kind=kind, symbols=7, gap=20, late=0.01)
    wanted = _fingerprint(_batches_of(feed))
    for batch_rows in (97, 1_000, 65_536, 10**9):
        batches = _batches_of(replace(feed, batch_rows=batch_rows))
        assert max(len(batch) for batch in batches) <= batch_rows
        assert _fingerprint(batches) == wanted


def test_feed_can_be_cut_into_single_rows() -> None:
    """One row a batch gives the feed of any other size."""
    feed = SyntheticSource(rows=2_000, symbols=3)
    batches = _batches_of(replace(feed, batch_rows=1))
    assert {len(batch) for batch in batches} == {1}
    assert _fingerprint(batches) == _fingerprint(_batches_of(feed))


def test_other_seed_is_another_market() -> None:
    """Seeds are told apart."""
    feed = SyntheticSource(rows=1_000)
    assert _fingerprint(_batches_of(feed)) != _fingerprint(_batches_of(replace(feed, seed=2)))


def test_seed_means_these_very_rows() -> None:
    """A seed gives the same rows on every machine and in every version."""
    rows = _columns_of(_batches_of(SyntheticSource(rows=70_000, symbols=5, seed=11)))
    digest = hashlib.sha256(b"".join(rows[name].tobytes() for name in TRADE.names)).hexdigest()
    assert digest[:12] == "48d64982a331"


@pytest.mark.parametrize("kind", ["trades", "quotes"])
@pytest.mark.parametrize("rate", [0.5, 20.0, 1_000.0, 200_000.0])
def test_truth_is_what_a_scan_of_the_rows_finds(
    kind: Literal["trades", "quotes"], rate: float
) -> None:
    """Planted defects are counted without looking at the rows, and are in them exactly."""
    feed = SyntheticSource(
        rows=140_000, kind=kind, symbols=9, rate=rate, late=0.002, gap=50, seed=3
    )
    truth = feed.truth()
    rows = _columns_of(_batches_of(feed))
    times = rows["ts_event"]
    newest = _newest_before(times)
    keys = list(zip(rows["symbol"].tolist(), rows["sequence"].tolist(), strict=True))
    assert truth.rows == len(times)
    assert truth.duplicates == len(keys) - len(set(keys)) > 0
    assert truth.disordered == np.count_nonzero(times < newest)
    watermark = np.maximum(newest, TIME_MIN + SECOND) - SECOND
    assert truth.late == np.count_nonzero(times < watermark)
    for every, length in (("1s", SECOND), ("7s", 7 * SECOND), ("1min", 60 * SECOND)):
        ends = times // length * length + length
        assert truth.late_for(every) == np.count_nonzero(ends <= watermark)


def test_late_rows_are_too_late_for_windows_of_late_by() -> None:
    """Every row planted late misses its window of one second."""
    truth = SyntheticSource(rows=200_000, rate=500.0).truth()
    assert truth.late > 50
    assert truth.late_for("1s") == truth.late


def test_disordered_rows_stay_within_disorder_max() -> None:
    """Rows that are not late are behind by no more than was allowed."""
    feed = SyntheticSource(rows=100_000, late=0.0, disorder=0.2, disorder_max="200ms")
    times = _columns_of(_batches_of(feed))["ts_event"]
    behind = (_newest_before(times) - times)[1:].max()
    assert 150_000_000 < behind <= 200_000_000


def test_gap_is_the_only_hole_in_the_sequences() -> None:
    """Sequence numbers of a symbol are dense but for the planted gap."""
    feed = SyntheticSource(rows=150_000, symbols=6, gap=40)
    gap = feed.truth().gap
    assert gap is not None
    assert gap.missing == 40
    rows = _columns_of(_batches_of(feed))
    for code, symbol in enumerate(feed.names):
        seen = np.unique(rows["sequence"][rows["symbol"] == code])
        holes = set(range(1, int(seen[-1]) + 1)) - set(seen.tolist())
        assert holes == (set(range(gap.first, gap.last + 1)) if symbol == gap.symbol else set())


def test_copies_are_equal_but_for_the_time_of_capture() -> None:
    """A second copy repeats every value of the first."""
    rows = _columns_of(_batches_of(SyntheticSource(rows=30_000, duplicates=0.05)))
    ids = rows["trade_id"]
    first = {trade_id: row for row, trade_id in reversed(list(enumerate(ids.tolist())))}
    copies = [row for row, trade_id in enumerate(ids.tolist()) if first[trade_id] != row]
    originals = [first[trade_id] for trade_id in ids[copies].tolist()]
    assert len(copies) > 1_000
    for name, column in rows.items():
        if name != "ts_recv":
            assert np.array_equal(column[copies], column[originals])


def test_rows_are_what_the_schemas_say() -> None:
    """Batches pass the checks of their schema, and values are those of a market."""
    trades = _batches_of(SyntheticSource(rows=5_000))[0]
    Batch.from_columns(TRADE, trades.columns, trades.symbols)
    assert (trades["price"] > 0).all()
    assert (trades["price"] % 10_000_000 == 0).all()
    assert (trades["size"] >= SECOND).all()
    assert set(np.unique(trades["side"]).tolist()) == {ord("A"), ord("B")}
    assert (np.diff(trades["ts_recv"]) >= 0).all()
    assert (trades["ts_recv"] > trades["ts_event"]).all()
    quotes = _batches_of(SyntheticSource(rows=5_000, kind="quotes"))[0]
    Batch.from_columns(QUOTE, quotes.columns, quotes.symbols)
    assert (quotes["ask_price"] > quotes["bid_price"]).all()
    assert (quotes["bid_price"] > 0).all()


def test_trades_and_quotes_of_a_seed_are_of_one_market() -> None:
    """Trades happen near the quotes of the same symbol and time."""
    trades = _columns_of(_batches_of(SyntheticSource(rows=20_000, symbols=2, rate=100.0)))
    feed = SyntheticSource(rows=40_000, symbols=2, rate=200.0, kind="quotes", disorder=0.0)
    quotes = _columns_of(_batches_of(replace(feed, late=0.0, duplicates=0.0)))
    for code in (0, 1):
        mine, theirs = trades["symbol"] == code, quotes["symbol"] == code
        at = np.searchsorted(quotes["ts_event"][theirs], trades["ts_event"][mine]) - 1
        gaps = np.abs(trades["price"][mine] - quotes["bid_price"][theirs][at])[at >= 0]
        assert np.percentile(gaps, 99) < trades["price"][mine].mean() * 0.01


def test_watermarks_follow_the_newest_row() -> None:
    """The watermark after a row is the newest event time less the bound."""
    feed = SyntheticSource(rows=70_000, out_of_order="2s", batch_rows=1_000)
    batches = _batches_of(feed)
    times = _columns_of(batches)["ts_event"]
    found = [b.progress.watermarks(b.times) for b in batches if b.progress is not None]
    newest = np.maximum.accumulate(times)
    assert np.array_equal(np.concatenate(found), newest - 2 * SECOND)
    for batch, following in pairwise(batches):
        assert following.progress is not None
        assert following.progress.before == batch.watermark


def test_only_columns_that_are_read_are_given() -> None:
    """Columns nobody reads are left out; the event time stays."""
    context = NodeContext("feed", columns=frozenset({"symbol", "price"}))
    batches = _batches_of(SyntheticSource(rows=100), context)
    assert batches[0].schema.names == ("ts_event", "symbol", "price")


def test_symbols_share_the_table_of_the_run() -> None:
    """Codes point into the table of the run, whatever it holds already."""
    symbols = SymbolTable(["ZZZ"])
    context = NodeContext("feed", symbols=symbols)
    batches = _batches_of(SyntheticSource(rows=1_000, symbols=("AAA", "BBB")), context)
    assert symbols.names == ["ZZZ", "AAA", "BBB"]
    assert set(np.unique(batches[0]["symbol"]).tolist()) == {1, 2}


def test_rows_read_are_counted() -> None:
    """The account holds the rows given."""
    account = Account("feed")
    batches = _batches_of(SyntheticSource(rows=1_000), NodeContext("feed", account=account))
    assert account.rows_in == sum(len(batch) for batch in batches)


class _ManualClock:
    """A clock that moves only when it is slept on."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now_ns(self) -> int:
        return round(self.time_s * 1e9)

    def monotonic(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        self.time_s += delay_s


def test_paced_feed_gives_rows_when_they_are_due() -> None:
    """At speed 2 a minute of the market takes half a minute, and no row comes early."""

    async def play() -> None:
        clock = _ManualClock()
        feed = SyntheticSource(rows=60, rate=1.0, speed=2.0, begin="1970-01-01T00:00:00Z")
        reader = await feed.open(NodeContext("feed", clock=clock))
        newest = 0
        while (outputs := await reader.read()) is not None:
            batch = outputs[0][1]
            assert isinstance(batch, Batch)
            newest = max(newest, int(batch.times.max()))
            assert newest <= (clock.time_s - 100.0) * 2e9 + 10
        assert clock.time_s - 100.0 == pytest.approx(newest / 2e9)
        assert newest > 30 * SECOND

    asyncio.run(play())


@pytest.mark.parametrize(
    ("settings", "parameter", "found"),
    [
        ({"rows": 0}, "rows", "greater than or equal to 1"),
        ({"symbols": 0}, "symbols", "1 to 65536 different symbols"),
        ({"symbols": ("A", "A")}, "symbols", "different"),
        ({"disorder_max": "2s"}, "disorder_max", "no more than `out_of_order`"),
        ({"speed": 0}, "speed", "`max` or a number above 0"),
        ({"begin": "2024-01-02"}, "begin", "offset from UTC"),
        ({"begin": "soon"}, "begin", "was `soon`"),
        ({"duplicates": 2.0}, "duplicates", "less than or equal to 0.25"),
        ({"row": 1}, "row", "did you mean `rows`"),
    ],
)
def test_wrong_setting_is_named(settings: dict[str, Any], parameter: str, found: str) -> None:
    """A setting that cannot be is refused with its name and what is expected."""
    with pytest.raises(ConfigError, match=found) as caught:
        SyntheticSource(**settings)
    assert caught.value.parameter == parameter


def test_source_fulfils_the_contract() -> None:
    """The component is a source."""
    assert isinstance(SyntheticSource(), SourceNode)
    assert SyntheticSource.type_name == "synthetic"


def test_smallest_market_has_one_row() -> None:
    """A single row is in place."""
    feed = SyntheticSource(rows=1, symbols=1, gap=5)
    assert feed.truth().rows == len(_batches_of(feed)[0]) == 1


def test_expected_rows_are_distinct_and_on_time() -> None:
    """The rows that belong into bars are the distinct ones less those too late."""
    feed = SyntheticSource(rows=140_000, rate=500.0, gap=10)
    truth = feed.truth()
    parts = list(feed.expected("1s"))
    ids = np.concatenate([part["trade_id"] for part in parts])
    assert len(np.unique(ids)) == len(ids)
    assert len(ids) == truth.rows - truth.duplicates - truth.late_for("1s")
