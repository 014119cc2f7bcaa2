"""A user's shell, as far as the tests of the command line need one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from market_data_pipeline.cli.main import cli


@dataclass(frozen=True)
class Shown:
    """What a command showed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line of standard output."""
        value: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return value


@pytest.fixture
def mdp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Shown]:
    """Run one `mdp` command line in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> Shown:
        result = CliRunner().invoke(cli, line.split(), prog_name="mdp")
        return Shown(result.exit_code, result.stdout, result.stderr)

    return run
