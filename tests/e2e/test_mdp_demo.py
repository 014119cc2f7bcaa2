"""`mdp demo`, with a small market."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Mdp = Callable[[str], Any]


def test_demo_finds_what_was_planted(mdp: Mdp, tmp_path: Path) -> None:
    """The summary shows the ledger, the score and where the output lies."""
    shown = mdp("demo --rows 20000 --out here")
    assert shown.code == 0
    for word in ("balanced", "planted", "duplicates", "rows/s", "open here/market.html"):
        assert word in shown.out
    assert "WRONG" not in shown.out
    assert (tmp_path / "here" / "market.html").stat().st_size > 0


def test_demo_as_data_is_replaced_by_the_next(mdp: Mdp) -> None:
    """The same seed gives the same market."""
    first = mdp("demo --rows 20000 --json")
    again = mdp("demo --rows 20000 --json")
    assert (first.code, again.code) == (0, 0)
    assert first.json["passed"] is True
    assert all(check["passed"] for check in first.json["checks"])
    assert first.json["ledger"] == again.json["ledger"]
    assert first.json["page"] == "demo/market.html"


def test_demo_that_cannot_be_is_refused(mdp: Mdp, tmp_path: Path) -> None:
    """Too few rows, or a file where the folder should be."""
    (tmp_path / "file").touch()
    assert mdp("demo --rows 1").code == 2
    assert mdp("demo --out file").code == 2
