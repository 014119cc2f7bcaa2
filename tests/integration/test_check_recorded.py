"""What `mdp check` finds in recorded data is what others count in it."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from market_data_pipeline.cli.main import cli

MS = 1_000_000
DAYS = ["20140505", "20140506"]
CAPTURES = ["usdm_btcusdt_20240808.gz", "spot_btcusdt_20240808.gz"]


def check(path: Path, *options: str) -> list[dict[str, Any]]:
    """Return the reports on a file."""
    result = CliRunner().invoke(cli, ["check", str(path), *options, "--json"], prog_name="mdp")
    assert result.exit_code == 0, result.output
    files: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])["files"]
    return files


def rows_of(report: dict[str, Any]) -> dict[str, int]:
    return {one["check"]: one["rows"] for one in report["checks"]}


def counted(path: Path, folder: Path) -> tuple[int, int]:
    """Return crossed and locked quotes as DuckDB counts them in the text."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    row = (
        duckdb.connect()
        .execute(
            f"SELECT count(*) FILTER (column1 > column2), count(*) FILTER (column1 = column2) "  # noqa: S608
            f"FROM read_csv('{folder}/*.csv', header=false, columns={{'column0': 'BIGINT', "
            f"'column1': 'DECIMAL(18,9)', 'column2': 'DECIMAL(18,9)'}})"
        )
        .fetchone()
    )
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("day", DAYS)
def test_crossed_and_locked_quotes_of_fxcm_are_found(
    data_dir: Path, tmp_path: Path, day: str
) -> None:
    """As many as a query over the text counts, and thousands of both."""
    path = data_dir / "lean" / "forex" / "fxcm" / "tick" / "eurusd" / f"{day}_quote.zip"
    (report,) = check(path)
    crossed, locked = counted(path, tmp_path)
    assert (rows_of(report)["crossed"], rows_of(report)["locked"]) == (crossed, locked)
    assert min(crossed, locked) > 1_000


@pytest.mark.parametrize("pair", ["eurusd", "nzdusd"])
def test_no_quote_of_oanda_is_crossed_or_locked(data_dir: Path, pair: str) -> None:
    """On any day of either pair."""
    folder = data_dir / "lean" / "forex" / "oanda" / "tick" / pair
    for path in sorted(folder.glob("*.zip")):
        (report,) = check(path)
        assert (rows_of(report)["crossed"], rows_of(report)["locked"]) == (0, 0)


def messages(path: Path) -> Iterator[tuple[int, int]]:
    """Yield receive and event times of trades and quotes in the order of the capture."""
    with gzip.open(path, "rb") as file:
        for line in file:
            received, text = line.split(b" ", 1)
            message = json.loads(text)
            if message.get("stream", "").endswith(("@trade", "@bookTicker")):
                data = message["data"]
                yield int(received), data["T"] * MS if "T" in data else int(received)


@pytest.mark.parametrize("capture", CAPTURES)
def test_disorder_between_the_streams_of_a_capture_is_found(data_dir: Path, capture: str) -> None:
    """As many rows below the highest time before them as a plain loop counts."""
    path = data_dir / "binance" / capture
    highest = behind = worst = 0
    for _, time in messages(path):
        behind += time < highest
        worst = max(worst, highest - time)
        highest = max(highest, time)
    assert behind > 0
    for report in check(path):
        order = report["out_of_order_together"]
        assert (order["rows"], order["worst_ns"]) == (behind, worst)


def test_clock_of_a_capture_is_found_to_be_behind(data_dir: Path) -> None:
    """By 1.27 seconds, in trades and quotes alike; not one row was received after it happened."""
    for report in check(data_dir / "binance" / CAPTURES[0]):
        assert 1_260_000_000 < report["clocks"]["behind_ns"] < 1_280_000_000
        assert rows_of(report)["clock_skew"] == report["taken"] > 20_000


def test_prints_of_size_zero_in_gold_futures_are_found(data_dir: Path) -> None:
    """As many as the text of all expiries has."""
    path = data_dir / "lean" / "future" / "comex" / "tick" / "gc" / "20131007_trade.zip"
    with zipfile.ZipFile(path) as archive:
        lines = [line for name in archive.namelist() for line in archive.read(name).splitlines()]
    zeros = sum(float(line.split(b",")[2]) == 0 for line in lines)
    (report,) = check(path)
    assert rows_of(report)["zero_size"] == zeros > 0
