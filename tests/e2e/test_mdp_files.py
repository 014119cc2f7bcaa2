"""`mdp inspect` and `mdp replay` on small files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Mdp = Callable[[str], Any]

TICKS = """\
ts_event,symbol,price,size,trade_id,sequence
2024-05-06T09:30:00Z,A,1.5,2,1,1
2024-05-06T09:30:05Z,A,1.5,2,2,2
2024-05-06T09:30:03.5Z,B,1.5,2,1,3
2024-05-06T09:30:05.5Z,A,1.5,2,2,7
2024-05-06T09:30:06Z,B,x,2,2,8
"""


@pytest.fixture(autouse=True)
def ticks(tmp_path: Path) -> None:
    """A file with one defect of each kind."""
    (tmp_path / "ticks.csv").write_text(TICKS)


def test_inspect_finds_what_is_wrong(mdp: Mdp) -> None:
    """Disorder, silence, a gap, a duplicate and a bad row."""
    shown = mdp("inspect ticks.csv --json")
    assert shown.code == 0
    found = shown.json["files"][0]
    assert (found["file"], found["kind"], found["rows"]) == ("ticks.csv", "trade", 5)
    assert found["schema"]["price"] == "fixed(9)"
    assert (found["first"], found["last"]) == ("2024-05-06T09:30:00Z", "2024-05-06T09:30:05.500Z")
    assert (found["out_of_order"], found["worst_disorder_ns"]) == (1, 1_500_000_000)
    assert found["silence_ns"] == 5_000_000_000
    assert (found["gaps"]["count"], found["gaps"]["missing"]) == (1, 3)
    assert found["duplicates"] == {"column": "trade_id", "rows": 1, "why_not": None}
    assert sum(found["rejected"].values()) == 1
    assert found["first_rejected"][0]["row"] == 5
    assert {symbol: times["taken"] for symbol, times in found["symbols"].items()} == {
        "A": 3,
        "B": 1,
    }


def test_inspect_prints_a_page_per_file(mdp: Mdp, tmp_path: Path) -> None:
    """With the bound that covers the disorder."""
    (tmp_path / "more.csv").write_text(TICKS)
    shown = mdp("inspect *.csv")
    assert shown.code == 0
    assert "`--out-of-order 1.5s` makes none of them late" in shown.out
    assert {"more.csv", "ticks.csv"} <= set(shown.out.splitlines())


def test_inspect_of_a_missing_file_is_misuse(mdp: Mdp) -> None:
    """Before any file is read."""
    shown = mdp("inspect ticks.csv nix.csv")
    assert (shown.code, shown.out) == (2, "")


def test_replay_prints_rows_in_order_of_the_file(mdp: Mdp) -> None:
    """A table by default; rejected rows are counted on standard error."""
    shown = mdp("replay ticks.csv")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split() == ["ts_event", "symbol", "price", "size", "trade_id", "sequence"]
    assert [line.split()[-1] for line in lines[1:]] == ["1", "2", "3", "7"]
    assert "could not be taken: 1 row" in shown.err


def test_replay_as_json_lines(mdp: Mdp) -> None:
    """One object a row, times in ISO."""
    rows = [json.loads(line) for line in mdp("replay ticks.csv --json").out.splitlines()]
    assert rows[0] == {
        "ts_event": "2024-05-06T09:30:00.000000000Z",
        "symbol": "A",
        "price": 1.5,
        "size": 2.0,
        "trade_id": 1,
        "sequence": 1,
    }


def test_replay_of_a_part(mdp: Mdp) -> None:
    """By event time, end excluded; by number of rows; by symbol."""
    line = "replay ticks.csv --json"
    part = mdp(f"{line} --from 2024-05-06T09:30:03.5Z --to 2024-05-06T09:30:05.5Z").out
    assert [json.loads(row)["sequence"] for row in part.splitlines()] == [2, 3]
    assert len(mdp(f"{line} --limit 2").out.splitlines()) == 2
    assert mdp(f"{line} --limit 0").out == ""
    assert len(mdp(f"{line} --symbol B").out.splitlines()) == 1


def test_replay_at_a_thousand_times_the_speed(mdp: Mdp) -> None:
    """Six seconds of event time pass in some milliseconds."""
    assert len(mdp("replay ticks.csv --json --speed 1000").out.splitlines()) == 4


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "inf"])
def test_speed_that_is_none_is_refused(mdp: Mdp, speed: str) -> None:
    """A number above 0, or max."""
    shown = mdp(f"replay ticks.csv --speed {speed}")
    assert shown.code == 2
    assert "must be `max` or a number above 0" in shown.err
