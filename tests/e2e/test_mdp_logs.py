"""`mdp --log-format`: what happens as lines for machines; secrets in no message at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_CANARY = "c4nary-hunter2"
_PIPELINE = """\
name: small
nodes:
  ticks: {source: synthetic, rows: 1000}
  store: {sink: csv, from: ticks, path: rows.csv}
"""


def _mdp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "market_data_pipeline.cli.main", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_run_is_logged_as_json(tmp_path: Path) -> None:
    """Beginning and end, with the pipeline's name and its rows; results stay on the output."""
    (tmp_path / "p.yaml").write_text(_PIPELINE)
    done = _mdp(tmp_path, "--log-format", "json", "run", "p.yaml", "--json")
    assert done.returncode == 0, done.stderr
    first, last = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["message"], first["pipeline"]) == ("started", "small")
    assert (last["message"], last["level"]) == ("finished", "INFO")
    assert last["rows"] == json.loads(done.stdout)["rows_in"]


def test_nothing_is_logged_unless_asked_for(tmp_path: Path) -> None:
    """Standard error stays empty in a pipe."""
    (tmp_path / "p.yaml").write_text(_PIPELINE)
    done = _mdp(tmp_path, "run", "p.yaml")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_secret_in_a_setting_comes_out_nowhere(tmp_path: Path, debug: tuple[str, ...]) -> None:
    """A database that cannot be reached: neither message, log nor traceback has the password."""
    (tmp_path / "p.yaml").write_text(
        _PIPELINE.replace("sink: csv", "sink: postgres").replace(
            "path: rows.csv", f'dsn: "postgresql://mdp:{_CANARY}@127.0.0.1:1/x?connect_timeout=1"'
        )
    )
    log = ("--log-format", "text", "--log-level", "debug")
    done = _mdp(tmp_path, *log, "run", "p.yaml", "--json", *debug)
    assert done.returncode != 0
    assert "error:" in done.stderr
    assert _CANARY not in done.stdout + done.stderr
