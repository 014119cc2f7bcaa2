"""The demo from end to end, on a small market."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.demo.run import DemoResult, run_demo
from market_data_pipeline.errors import ConfigError, OutputError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """The demo on forty thousand rows."""
    return run_demo(tmp_path_factory.mktemp("demo"), rows=40_000, seed=5)


def _chart_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    _, _, rest = text.partition('id="data">')
    data: dict[str, Any] = json.loads(rest.partition("</script>")[0])
    return data


def test_all_that_was_planted_is_found(demo: DemoResult) -> None:
    """Every known fact is found exactly, and the ledger balances."""
    assert [check for check in demo.checks if not check.passed] == []
    assert len(demo.checks) == 14
    assert demo.passed
    planted = {(check.feed, check.what): check.planted for check in demo.checks}
    for what in ("duplicates", "out of order", "late", "bars"):
        assert int(planted["trades", what]) > 0
        assert int(planted["quotes", what]) > 0
    assert str(planted["trades", "missing sequence numbers"]).startswith("64 of SYM02")


def test_all_outputs_are_there(demo: DemoResult) -> None:
    """Each file that is listed exists and is not empty."""
    assert all(path.stat().st_size > 0 for path, _ in demo.outputs)
    trades = next(path for path, _ in demo.outputs if path.name == "trade_bars.parquet")
    quotes = next(path for path, _ in demo.outputs if path.name == "quote_bars.parquet")
    assert pq.read_metadata(trades).num_rows + pq.read_metadata(quotes).num_rows == demo.bars


def test_page_holds_the_bars(demo: DemoResult) -> None:
    """The chart's packed bars unpack to those of the Parquet file."""
    assert demo.page is not None
    data = _chart_of(demo.page)
    path = next(path for path, _ in demo.outputs if path.name == "trade_bars.parquet")
    rows = [row for row in pq.read_table(path).to_pylist() if row["symbol"] == "SYM02"]
    rows.sort(key=lambda row: row["ts_open"])
    series = next(one for one in data["symbols"] if one["name"] == "SYM02")
    bars, unit, close = series["bars"], series["price_unit"], 0
    assert len(bars["t"]) == len(rows)
    for place, row in enumerate(rows):
        opened = close + bars["o"][place]
        close = opened + bars["c"][place]
        assert opened * unit == pytest.approx(row["open"])
        assert close * unit == pytest.approx(row["close"])
        assert (max(opened, close) + bars["h"][place]) * unit == pytest.approx(row["high"])
        assert (min(opened, close) - bars["l"][place]) * unit == pytest.approx(row["low"])
        assert bars["v"][place] * series["size_unit"] == pytest.approx(row["volume"])
        assert bars["n"][place] == row["count"]
    assert [gap["missing"] for gap in series["gaps"]] == [64]


def test_demo_replaces_its_own_output_only(tmp_path: Path) -> None:
    """A second run writes the same files again and leaves others alone."""
    (tmp_path / "notes.txt").write_text("mine")
    first = run_demo(tmp_path, rows=3_000)
    second = run_demo(tmp_path, rows=3_000)
    assert first.checks == second.checks
    assert (tmp_path / "notes.txt").read_text() == "mine"
    names = {path.name for path, _ in second.outputs}
    assert {path.name for path in tmp_path.iterdir()} == names | {"notes.txt"}


def test_progress_is_told(tmp_path: Path) -> None:
    """The caller sees how much of the market is done."""
    seen: list[float | None] = []

    def note(run: Run) -> None:
        seen.append(run.fraction())

    run_demo(tmp_path / "deep" / "down", rows=2_000, progress=note)
    assert seen[-1] == 1.0


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    """An output folder that is a file is refused."""
    (tmp_path / "demo").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        run_demo(tmp_path / "demo", rows=10)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    """A market has at least one trade and one quote."""
    with pytest.raises(ConfigError, match="rows"):
        run_demo(tmp_path, rows=0)
