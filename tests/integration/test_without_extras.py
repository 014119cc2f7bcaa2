"""What must work where neither pandas nor Polars is installed, as after `make demo`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "polars", "exchange_calendars"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ["mdp", *{arguments!r}]
runpy.run_module("market_data_pipeline.cli.main", run_name="__main__")
"""
TICKS = """time,symbol,price,size,sequence
2024-05-06T09:30:00.000000001Z,A,1.5,1,1
2024-05-06T09:30:00.100000002Z,A,oops,1,2
2024-05-06T09:30:07.000000003Z,A,1.25,1,9
2024-05-06T09:30:01.000000004Z,A,1.25,1,9
"""


def run_mdp(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["demo", "--rows", "20000"], 0),
        (["inspect", "ticks.csv"], 0),
        (["replay", "ticks.csv"], 0),
        (["bars", "ticks.csv", "--every", "1s", "-o", "b.csv", "--late", "late.jsonl"], 0),
        (["diff", "one.csv", "two.csv"], 1),
        (["why", "A", "2024-05-06T09:30:00.5Z", "one.csv"], 0),
        (["doctor"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_commands_need_no_extras(arguments: list[str], exit_code: int, tmp_path: Path) -> None:
    """Python has no times in nanoseconds without pandas, and no command may need any."""
    (tmp_path / "ticks.csv").write_text(TICKS)
    head = "symbol,ts_open,ts_close,open\n"
    window = "A,2024-05-06T09:30:00.000000001Z,2024-05-06T09:30:01.000000001Z"
    (tmp_path / "one.csv").write_text(f"{head}{window},1.5\n")
    (tmp_path / "two.csv").write_text(f"{head}{window},1.25\n")
    done = run_mdp(arguments, tmp_path)
    assert done.returncode == exit_code, done.stderr
