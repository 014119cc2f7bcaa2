"""`mdp check`: what it finds, what it prints, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Mdp = Callable[[str], Any]

QUOTES = """\
ts_event,ts_recv,symbol,bid_price,bid_size,ask_price,ask_size,sequence
2024-05-06T09:30:00Z,2024-05-06T09:29:58.5Z,A,1.5,2,1.6,1,1
2024-05-06T09:30:01Z,2024-05-06T09:29:59.5Z,A,1.61,2,1.6,1,2
2024-05-06T09:30:02Z,2024-05-06T09:30:00.5Z,A,1.6,2,1.6,0,3
2024-05-06T09:30:01.5Z,2024-05-06T09:30:01.5Z,A,1.5,2,,,6
2024-05-06T09:30:03Z,2024-05-06T09:30:03.5Z,A,1.5,2,1.6,1,7
2024-05-06T09:30:04Z,2024-05-06T09:30:04.5Z,A,1.5,2,1.6,1,8
2024-05-06T09:30:09Z,2024-05-06T09:30:09.5Z,A,1.5,2,1.6,1,9
2024-05-06T09:30:10Z,2024-05-06T09:30:10.5Z,A,15,2,16,1,9
2024-05-06T09:30:11Z,2024-05-06T09:30:11.5Z,A,x,2,1.6,1,10
"""
FINE = """\
ts_event,symbol,price,size,trade_id
2024-05-06T09:30:00Z,A,1.5,2,1
2024-05-06T09:30:01Z,A,1.5,2,2
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    """A file with one defect of each kind, and one without any."""
    (tmp_path / "quotes.csv").write_text(QUOTES)
    (tmp_path / "fine.csv").write_text(FINE)


def test_check_counts_every_defect_and_shows_the_first(mdp: Mdp) -> None:
    """Each with its row, time, symbol and what was found."""
    shown = mdp("check quotes.csv --stale 5s --key symbol,sequence --json")
    assert shown.code == 0
    (file,) = shown.json["files"]
    assert (file["kind"], file["rows"], file["taken"]) == ("quote", 9, 8)
    found = {one["check"]: one for one in file["checks"]}
    assert {name: one["rows"] for name, one in found.items()} == {
        "crossed": 1,
        "locked": 1,
        "one_sided": 1,
        "zero_size": 1,
        "clock_skew": 3,
        "out_of_sequence": 1,
        "stale": 1,
        "price_band": 1,
        "outlier": 0,
        "duplicate": 1,
    }
    assert found["crossed"]["share"] == 1 / 8
    assert found["crossed"]["first"] == {
        "row": 2,
        "time": "2024-05-06T09:30:01Z",
        "symbol": "A",
        "detail": "bid 1.61 above ask 1.6",
    }
    assert found["stale"]["first"]["detail"] == "unchanged since 2024-05-06T09:30:03.000000000Z"
    assert found["out_of_sequence"]["first"]["row"] == 4
    assert found["duplicate"]["first"]["row"] == 8
    assert (file["gaps"]["count"], file["gaps"]["missing"]) == (1, 2)
    assert file["out_of_order"] == {"of": 8, "rows": 1, "worst_ns": 500_000_000}
    assert file["unreadable"] == {"malformed": 1}
    assert (file["clocks"]["future_rows"], file["clocks"]["rows"]) == (3, 8)
    assert {*file["found"]} == {*found, "gap", "unreadable"} - {"outlier"}
    assert shown.json["failed_on"] == []


def test_check_prints_a_page_per_file_and_what_could_not_be_checked(mdp: Mdp) -> None:
    """Nothing that was not looked for reads as if it were fine."""
    shown = mdp("check quotes.csv fine.csv --stale 5s")
    assert shown.code == 0
    first, second = shown.out.split("fine.csv\n")
    assert (
        "  crossed             1  12.5 %  row 2, A 2024-05-06T09:30:01Z: bid 1.61 above" in first
    )
    assert "found: crossed, locked, one_sided, " in first
    assert "3 of 8 rows were received before they happened" in first
    assert "not checked: crossed, locked, one_sided, stale (there is no column `bid_p" in second
    assert "not checked: duplicate (no key was given with --key" in second
    assert "nothing found" in second


@pytest.mark.parametrize(
    ("line", "code", "failed_on"),
    [
        ("fine.csv --fail-on any", 0, []),
        ("quotes.csv --fail-on outlier", 0, []),
        ("quotes.csv --fail-on outlier,crossed", 1, ["crossed"]),
        ("fine.csv quotes.csv --fail-on gap,unreadable", 1, ["gap", "unreadable"]),
        ("quotes.csv --key symbol,sequence --fail-on duplicate", 1, ["duplicate"]),
    ],
)
def test_check_fails_on_what_it_is_told_to(
    mdp: Mdp, line: str, code: int, failed_on: list[str]
) -> None:
    """Exit code 1 if something named was found in any of the files; the report comes first."""
    shown = mdp(f"check {line} --json")
    assert (shown.code, shown.json["failed_on"]) == (code, failed_on)
    assert shown.json["files"]
    text = mdp(f"check {line}")
    assert text.code == code
    assert ("failed on: " in text.out) == bool(failed_on)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nix.csv", "nix.csv"),
        ("quotes.csv --fail-on crosed", "did you mean `crossed`"),
        ("quotes.csv --fail-on duplicate", "needs --key"),
        ("quotes.csv --key symbl", "did you mean `symbol`"),
        ("quotes.csv --stale soon", "--stale: "),
        ("quotes.csv --band 0", "--band: "),
        ("quotes.csv --outlier -1", "--outlier: "),
        ("quotes.csv --key symbol --within 0s", "--within: "),
    ],
)
def test_check_refuses_what_makes_no_sense(mdp: Mdp, line: str, message: str) -> None:
    """Wrong usage is told by the option's name, with exit code 2."""
    shown = mdp(f"check {line}")
    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_check_of_a_file_without_rows(mdp: Mdp, tmp_path: Path) -> None:
    """No rows, no shares."""
    (tmp_path / "empty.csv").write_text(FINE.splitlines()[0] + "\n")
    shown = mdp("check empty.csv")
    assert shown.code == 0
    assert "nothing found" in shown.out
