"""`mdp run --metrics`: the figures of a run over HTTP, while it goes on."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.running_mdp import metrics_of, running

_TOKEN = "a-token-of-twenty-signs"  # noqa: S105 - it is the test's own
_READ = re.compile(r'^mdp_node_rows_in_total\{node="ticks",pipeline="live"\} (\S+)$', re.MULTILINE)

Mdp = Callable[[str], Any]


def _rows_read(page: str) -> float:
    found = _READ.search(page)
    return 0.0 if found is None else float(found[1])


def test_figures_move_while_it_runs(tmp_path: Path) -> None:
    """A scrape sees the run as it is at that moment."""
    with running(tmp_path) as address:
        first = _rows_read(metrics_of(address))
        while (now := _rows_read(metrics_of(address))) <= first:
            pass
        assert now > first


def test_address_for_others_asks_for_the_token(tmp_path: Path) -> None:
    """With a token in the environment others may scrape who bring it."""
    with running(tmp_path, host="0.0.0.0", token=_TOKEN) as address:  # noqa: S104
        here = address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            metrics_of(here)
        refused.value.close()
        assert "mdp_pipeline_up" in metrics_of(here, {"Authorization": f"Bearer {_TOKEN}"})


def test_address_for_others_without_a_token_is_refused(
    mdp: Mdp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is run, and the way out is told."""
    monkeypatch.delenv("MDP_METRICS_TOKEN", raising=False)
    (tmp_path / "p.yaml").write_text(
        "name: p\nnodes:\n"
        "  ticks: {source: synthetic, rows: 10}\n"
        "  store: {sink: csv, from: ticks, path: rows.csv}\n"
    )
    shown = mdp("run p.yaml --metrics 0.0.0.0:0")
    assert shown.code == 2
    assert "MDP_METRICS_TOKEN" in shown.err
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("given", ["x", "70000", "localhost:", "1.5"])
def test_what_is_no_address_is_told(mdp: Mdp, given: str) -> None:
    """A port, or a host and a port."""
    shown = mdp(f"run p.yaml --metrics {given}")
    assert shown.code == 2
    assert "expected PORT or HOST:PORT" in shown.err
