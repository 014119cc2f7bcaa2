"""Rows that were lost come from a second source: spliced in once, bars as if never lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import market_data_pipeline as mdp
from market_data_pipeline.batch import Batch
from market_data_pipeline.dag.messages import Watermark
from market_data_pipeline.records import TRADE
from market_data_pipeline.source.scripted import ScriptedSource
from market_data_pipeline.symbols import SymbolTable

ROWS = 6_000
UNIT = 10**9
AFTER = Watermark(60 * UNIT)
"""What a second source says that has rows only after the whole minute: they are late."""
SCHEMA = TRADE.only(("ts_event", "symbol", "price", "size", "sequence"))


def market(seed: int) -> Batch:
    """Return trades of three symbols over a minute; each symbol numbers its own from 1."""
    rng = np.random.default_rng(seed)
    symbols = SymbolTable(["AAA", "BBB", "CCC"])
    codes = rng.integers(0, 3, ROWS).astype(np.int32)
    numbers = np.zeros(ROWS, np.int64)
    for code in range(3):
        numbers[codes == code] = np.arange(1, (codes == code).sum() + 1)
    columns = {
        # No two rows of one instant: among these the order of arrival would decide.
        "ts_event": np.sort(rng.choice(60_000_000, ROWS, replace=False)) * 1_000,
        "symbol": codes,
        "price": rng.integers(90, 110, ROWS) * UNIT,
        "size": rng.integers(1, 50, ROWS) * UNIT,
        "sequence": numbers,
    }
    return Batch(SCHEMA, columns, symbols)


def damaged(whole: Batch, seed: int) -> tuple[Batch, Batch]:
    """Return what came live, and what a second source has: the rest and some copies."""
    rng = np.random.default_rng(seed)
    lost = rng.random(ROWS) < 0.03
    for start in rng.integers(0, ROWS, 5).tolist():
        lost[start : start + 150] = True
    again = rng.random(ROWS) < 0.02
    # A second copy below the first row seen live could not be told from a first one.
    again[: int(np.flatnonzero(~lost)[0]) + 50] = False
    return whole.take(~lost), whole.take(lost | again)


def bars_of(whole: Batch) -> list[dict[str, Any]]:
    dag = mdp.Dag()
    dag.source(mdp.MemorySource([whole])).bars("1s", name="bars").collect(name="bars_kept")
    return prices_of(mdp.run(dag).to_arrow("bars_kept"))


def prices_of(bars: pa.Table) -> list[dict[str, Any]]:
    names = ["symbol", "ts_open", "ts_close", "open", "high", "low", "close", "volume", "vwap"]
    rows: list[dict[str, Any]] = bars.select([*names, "count"]).to_pylist()
    return sorted(rows, key=lambda row: (row["ts_open"], row["symbol"]))


def check_rows(result: mdp.RunResult, whole: Batch, lost_rows: int) -> None:
    """Check that every row is there once, and nothing is missing any more."""
    rows = result.to_arrow("rows").to_pylist()
    names = whole.symbols.names
    expected = sorted(
        (names[code], number)
        for code, number in zip(whole["symbol"].tolist(), whole["sequence"].tolist(), strict=True)
    )
    assert sorted((row["symbol"], row["sequence"]) for row in rows) == expected
    assert sum(row["missing"] for row in rows) == 0
    gaps = result.to_arrow("gaps").to_pylist()
    assert sum(gap["rows"] for gap in gaps) == 0
    assert sum(gap["kind"] in {"filled", "out_of_sequence"} for gap in gaps) <= lost_rows
    assert result.ledger.balanced


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_backfill_read_beside_the_feed_gives_the_bars_of_the_whole(seed: int) -> None:
    """Merged by event time, the rows are back before any window closes."""
    whole = market(seed)
    live, backfill = damaged(whole, seed)
    dag = mdp.Dag()
    second = dag.source(mdp.MemorySource([backfill], batch_rows=100), name="backfill")
    rows = dag.source(mdp.MemorySource([live], batch_rows=64), name="live").sequence(second)
    rows.collect(name="rows")
    rows.gaps.collect(name="gaps")
    rows.bars("1s", name="bars").collect(name="kept")
    result = mdp.run(dag)
    check_rows(result, whole, ROWS - len(live))
    copies = len(live) + len(backfill) - ROWS
    assert result.ledger["sequence"].reasons["duplicate"] == copies
    assert prices_of(result.to_arrow("kept")) == bars_of(whole)


@pytest.mark.parametrize("seed", [4, 5])
def test_backfill_that_comes_late_is_spliced_in_all_the_same(seed: int) -> None:
    """The second source has its rows after all of the feed, before the windows close."""
    whole = market(seed)
    live, backfill = damaged(whole, seed)
    parts = [live.slice(i, min(len(live), i + 500)) for i in range(0, len(live), 500)]
    dag = mdp.Dag()
    feed = dag.source(ScriptedSource(parts, out_of_order="1h"), name="live")
    after = Watermark(AFTER.time - 3_600 * UNIT)
    late = dag.source(ScriptedSource([after, backfill], out_of_order="1h"), name="backfill")
    rows = feed.sequence(late)
    rows.collect(name="rows")
    rows.gaps.collect(name="gaps")
    rows.bars("1s", name="bars").collect(name="kept")
    result = mdp.run(dag)
    check_rows(result, whole, ROWS - len(live))
    kinds = [gap["kind"] for gap in result.to_arrow("gaps").to_pylist()]
    assert kinds.count("filled") > ROWS // 50
    assert kinds.count("gap") > 100
    assert prices_of(result.to_arrow("kept")) == bars_of(whole)


@pytest.mark.parametrize("seed", [7, 8])
def test_bars_that_were_out_are_given_again_as_rows_come_back(seed: int) -> None:
    """Windows were closed long ago; within their lateness the bars become those of the whole."""
    whole = market(seed)
    live, backfill = damaged(whole, seed)
    parts = [live.slice(i, min(len(live), i + 500)) for i in range(0, len(live), 500)]
    dag = mdp.Dag()
    feed = dag.source(ScriptedSource(parts), name="live")
    late = dag.source(ScriptedSource([AFTER, backfill]), name="backfill")
    rows = feed.sequence(late)
    rows.collect(name="rows")
    rows.gaps.collect(name="gaps")
    rows.bars("1s", lateness="10min", name="bars").collect(name="kept")
    result = mdp.run(dag)
    check_rows(result, whole, ROWS - len(live))
    given = result.to_arrow("kept").to_pylist()
    last = {(bar["symbol"], bar["ts_open"]): bar for bar in given}
    assert max(bar["revision"] for bar in last.values()) > 0
    assert all(bar["is_final"] for bar in last.values())
    assert prices_of(pa.Table.from_pylist(list(last.values()))) == bars_of(whole)
    # What was noticed behind a gap and what came back may lie in two windows.
    assert sum(bar["missing_seq"] for bar in last.values()) == 0
    first = [bar for bar in given if bar["revision"] == 0]
    assert sum(bar["missing_seq"] for bar in first) > 100
    assert "late" not in result.ledger["bars"].reasons


def test_backfill_from_a_file_in_yaml(tmp_path: Path) -> None:
    """An operator that reads two inputs is all it takes."""
    whole = market(6)
    live, backfill = damaged(whole, 6)
    for name, batch in (("live.parquet", live), ("backfill.parquet", backfill)):
        dag = mdp.Dag()
        dag.source(mdp.MemorySource([batch])).sink(mdp.ParquetSink(str(tmp_path / name)))
        mdp.run(dag)
        assert pq.read_metadata(tmp_path / name).num_rows == len(batch)
    (tmp_path / "splice.yaml").write_text(
        f"""
name: splice
nodes:
  live: {{source: replay, path: {tmp_path / "live.parquet"}}}
  backfill: {{source: replay, path: {tmp_path / "backfill.parquet"}}}
  rows_once: {{operator: sequence, from: [live, backfill], ttl: 10min}}
  rows: {{sink: memory, from: rows_once}}
  gaps: {{sink: memory, from: rows_once.gaps}}
  bars: {{operator: bars, from: rows_once, every: 1s}}
  kept: {{sink: memory, from: bars}}
"""
    )
    result = mdp.run(mdp.load(tmp_path / "splice.yaml"))
    check_rows(result, whole, ROWS - len(live))
    assert prices_of(result.to_arrow("kept")) == bars_of(whole)
