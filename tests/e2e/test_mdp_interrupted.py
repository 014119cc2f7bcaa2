"""Ctrl-C and the exit codes of true processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MDP = (sys.executable, "-m", "market_data_pipeline.cli.main")

# Says when the run is under way, so that the test need not guess.
DRIVER = """\
import sys
from market_data_pipeline.cli import progress
from market_data_pipeline.cli.main import cli

look = progress.RunWatch.__call__

def look_and_say(self, run):
    look(self, run)
    if run.ledger()["ticks"].rows_out and not getattr(self, "said", False):
        self.said = True
        print("under way", flush=True)

progress.RunWatch.__call__ = look_and_say
cli.main(sys.argv[1:], prog_name="mdp")
"""

# The second row comes an hour after the first.
TICKS = """\
ts_event,symbol,price,size
2024-05-06T09:30:00Z,A,1.5,2
2024-05-06T10:30:00Z,A,1.75,1
"""
PATIENT = """\
name: patient
nodes:
  ticks: {source: replay, path: ticks.csv, speed: 1}
  bars:  {operator: bars, from: ticks, every: 1s}
  store: {sink: csv, from: bars, path: bars.csv}
"""
# What was read needs days to pass, so that draining does not end by itself.
STUBBORN = """\
name: stubborn
nodes:
  ticks: {source: synthetic, rows: 100000}
  slow:  {operator: throttle, from: ticks, rate: 0.0001, burst: 1}
  store: {sink: csv, from: slow, path: rows.csv}
"""


def _started(folder: Path, pipeline: str) -> subprocess.Popen[str]:
    (folder / "p.yaml").write_text(pipeline)
    (folder / "ticks.csv").write_text(TICKS)
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "run", "p.yaml", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    return process


def _left(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if path.name not in {"p.yaml", "ticks.csv"}
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_drains_and_says_how_far(tmp_path: Path, number: signal.Signals) -> None:
    """What was read is published; exit code and message tell that it is not all."""
    process = _started(tmp_path, PATIENT)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len((tmp_path / "bars.csv").read_text().splitlines()) == 2
    result = json.loads(out.splitlines()[-1])
    assert (result["interrupted"], result["rows_out"], result["balanced"]) == (True, 1, True)
    assert result["covers_up_to"] == "2024-05-06T09:29:59Z"
    assert "stopping: finishing what was read; Ctrl-C again stops at once" in err
    assert "interrupted: the output covers event time up to 2024-05-06T09:29:59Z" in err
    assert "Traceback" not in err


def test_second_signal_stops_at_once_and_publishes_nothing(tmp_path: Path) -> None:
    """Neither the output nor a piece of it is left."""
    process = _started(tmp_path, STUBBORN)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("stopping: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert _left(tmp_path) == []
    assert json.loads(out.splitlines()[-1])["kind"] == "KeyboardInterrupt"
    assert err.strip() == "error: interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_replay_ends_at_once_when_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """Waiting for the next row is no reason to wait."""
    (tmp_path / "ticks.csv").write_text(TICKS)
    process = subprocess.Popen(
        [*MDP, "replay", "ticks.csv", "--speed", "1", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["price"] == 1.5
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"


@pytest.mark.parametrize("speed", ["1", "max"])
def test_replay_that_never_waits_for_rows_is_interrupted_too(tmp_path: Path, speed: str) -> None:
    """Where rows are due faster than they are printed."""
    _write_many(tmp_path)
    process = subprocess.Popen(
        [*MDP, "replay", "ticks.csv", "--speed", speed, "--batch-rows", "1000", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(out.splitlines()) < 99_999
    assert err.strip() == "error: interrupted"


def _write_many(folder: Path) -> None:
    rows = "".join(f"2024-05-06T09:30:00.{i:06d}Z,A,1.5,2\n" for i in range(100_000))
    (folder / "ticks.csv").write_text("ts_event,symbol,price,size\n" + rows)


def test_replay_into_a_pipe_that_closes_is_no_error(tmp_path: Path) -> None:
    """As in `mdp replay ticks.csv | head -1`."""
    _write_many(tmp_path)
    process = subprocess.Popen(
        [*MDP, "replay", "ticks.csv"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"ts_event")
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize("output", ["a.parquet", "a.csv", "a.jsonl", "a.duckdb"])
def test_full_disk_is_one_message_and_leaves_nothing(tmp_path: Path, output: str) -> None:
    """A limit on the size of files stands for a disk that is full."""
    rows = "".join(
        f"2024-05-06T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z,S{s % 97},"
        f"{s * 7919 % 10007},1\n"
        for s in range(60_000)
    )
    (tmp_path / "ticks.csv").write_text("ts_event,symbol,price,size\n" + rows)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))

    ended = subprocess.run(
        [*MDP, "bars", "ticks.csv", "--every", "1s", "-o", output],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.startswith(f"error: {output}: ")
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ticks.csv"]


def test_exit_codes_of_true_processes(tmp_path: Path) -> None:
    """0 fine, 1 failed, 2 misuse."""
    (tmp_path / "good.csv").write_text(TICKS)
    (tmp_path / "empty.csv").touch()
    for name, code in (("good.csv", 0), ("empty.csv", 1), ("nix.csv", 2)):
        ended = subprocess.run(
            [*MDP, "bars", name, "--every", "1s", "-o", f"{name}.parquet"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == code
