"""What `mdp top` draws for a terminal of this width."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from market_data_pipeline.cli.top_view import TopView


def node(name: str, state: str = "running") -> dict[str, Any]:
    return {
        "name": name,
        "kind": "operator",
        "type": "bars",
        "state": state,
        "in_rate": 12_345.0,
        "out_rate": 1_234.0,
        "in": 9_876_543,
        "out": 1_999,
        "reasons": {"late": 17, "rejected": 3},
        "lag_s": 2.5,
        "fill": 0.25,
        "busy": 0.5,
        "pressure": None,
    }


def drawn(width: int, *nodes: dict[str, Any]) -> list[str]:
    job = {
        "key": "eurusd",
        "state": "running",
        "error": None,
        "rates": {"in": 1.0, "out": 1.0},
        "nodes": list(nodes),
    }
    figures = {"version": "1.0", "at_ns": 0, "jobs": [job]}
    text = io.StringIO()
    Console(file=text, width=width).print(TopView().shown(figures, width))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_a_wide_terminal_has_every_figure() -> None:
    """Nothing is left out where there is room."""
    lines = drawn(120, node("bars"))
    assert " ".join(lines[-2].split()) == (
        "node kind state in/s out/s in out late rejected lag queue busy"
    )
    assert " ".join(lines[-1].split()) == (
        "bars operator bars running 12.3k 1234 9.9M 1999 17 3 2.5s 25% 50%"
    )


@pytest.mark.parametrize("width", [28, 40, 56, 72, 90])
def test_figures_are_shown_whole_or_not_at_all(width: int) -> None:
    """A narrow terminal has fewer columns; a name is cut before a figure is left out."""
    lines = drawn(width, node("a-name-that-is-as-long-as-some-are"), node("bars", "failed"))
    assert max(map(len, lines)) <= width
    cut, whole = lines[-2:]
    assert cut.count("…") == 1
    assert "…" not in whole
    assert whole.startswith("bars ")
    assert {"failed", "1234"} <= set(whole.split())
    assert ("17" in whole.split()) == (width >= 40)
