"""`mdp serve`, `mdp top` and `mdp run --serve` as they are typed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.spec.loader import load_text
from support.live_server import TOKEN, LiveServer, live_server

LIVE = """
name: live
nodes:
  ticks: {source: synthetic, rows: 100000000, rate: 5000, speed: 1.0}
  bars: {operator: bars, from: ticks, every: 1s}
  store: {sink: jsonl, from: bars, path: bars.jsonl}
"""
_ADDRESS = re.compile(r"live page.*: (http://\S+)")


@contextmanager
def started(
    folder: Path, *arguments: str, token: str | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a command that serves; give its address and its process, which ends in any case."""
    (folder / "live.yaml").write_text(LIVE)
    known = {} if token is None else {"MDP_SERVER_TOKEN": token}
    process = subprocess.Popen(
        [sys.executable, "-m", "market_data_pipeline.cli.main", *arguments],
        cwd=folder,
        env={**os.environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = _ADDRESS.search(said)
        assert found is not None, said + process.stderr.read()
        yield found[1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def asked(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    # What came with a line that was read is buffered here, where `communicate` does not look.
    assert process.stdout is not None
    assert process.stderr is not None
    err, out = process.stderr.read(), process.stdout.read()
    return process.wait(30), out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_a_file_and_drains_when_told_to_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    """It starts what it is given, shows it, and publishes what was read when it is stopped."""
    with started(tmp_path, "serve", "live.yaml", "--port", "0") as (address, process):
        [job] = asked(address, "/jobs")
        assert job["key"] == "live"
        for _ in range(2_000):
            if asked(address, "/graph")["jobs"][0]["totals"]["out"]:
                break
        code, _, err = ended(process, number)
    assert code == 0, err
    assert (tmp_path / "bars.jsonl").stat().st_size > 0


def test_settings_of_the_runtime_come_from_a_file_and_the_environment(
    tmp_path: Path, mdp: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only code can say how many pipelines may run; the environment wins."""
    kept = LIVE.replace("sink: jsonl, from: bars, path: bars.jsonl", "sink: memory, from: bars")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(kept.replace("live", name))
    (tmp_path / "runtime.yaml").write_text("max_concurrent_pipelines: 1\n")
    line = "serve one.yaml two.yaml --port 0 --settings runtime.yaml"
    shown = mdp(line)
    assert shown.code != 0
    assert "`max_concurrent_pipelines` is 1" in shown.err
    monkeypatch.setenv("MDP_MAX_CONCURRENT_PIPELINES", "2")
    with started(tmp_path, *line.split()) as (address, process):
        assert [job["key"] for job in asked(address, "/jobs")] == ["one", "two"]
        assert ended(process, signal.SIGTERM)[0] == 0
    monkeypatch.setenv("MDP_MAX_CONCURRENT_PIPELINES", "0")
    for command in ("serve one.yaml --port 0", "run one.yaml --serve 0"):
        shown = mdp(command)
        assert shown.code == 2
        assert "`max_concurrent_pipelines`: input should be" in shown.err


def test_serve_says_that_a_pipeline_failed(tmp_path: Path) -> None:
    """One line on standard error, though nobody asked for a log; the others go on."""
    bad = LIVE.replace("live", "bad").replace("bars.jsonl", "no/x.jsonl")
    (tmp_path / "bad.yaml").write_text(bad)
    with started(tmp_path, "serve", "--port", "0", "live.yaml", "bad.yaml") as (address, process):
        states: dict[str, str] = {}
        while states.get("bad") != "failed":
            states = {job["key"]: job["state"] for job in asked(address, "/jobs")}
        code, _, err = ended(process, signal.SIGTERM)
    assert code == 0, err
    [line] = [line for line in err.splitlines() if "failed" in line]
    assert "ERROR" in line
    assert "pipeline=bad" in line


def test_serve_starts_nothing_if_a_file_is_wrong(
    tmp_path: Path, mdp: Callable[[str], Any]
) -> None:
    """What is wrong with a file is said as `mdp run` says it, and nothing is served."""
    Path("wrong.yaml").write_text("name: x\nnodes:\n  ticks: {source: syntetic}\n")
    shown = mdp("serve wrong.yaml --port 0")
    assert shown.code == 2
    assert "wrong.yaml:3" in shown.err
    assert "live page" not in shown.err


@pytest.mark.parametrize("line", ["serve --host 0.0.0.0", "run x.yaml --serve 0.0.0.0:0"])
def test_address_of_others_needs_a_token(
    mdp: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Nothing that others can reach is served without a token."""
    monkeypatch.delenv("MDP_SERVER_TOKEN", raising=False)
    Path("x.yaml").write_text(LIVE)
    shown = mdp(line)
    assert shown.code == 2
    assert "give a token" in shown.err


def test_run_shows_its_page_while_it_runs(tmp_path: Path) -> None:
    """The page is there while the pipeline runs; Ctrl-C drains it as without a page."""
    with started(tmp_path, "run", "live.yaml", "--serve", "0", "--json") as (address, process):
        for _ in range(2_000):
            shown = asked(address, "/graph")["jobs"]
            if shown and shown[0]["totals"]["out"]:
                break
        code, out, err = ended(process, signal.SIGINT)
    assert code == 130, err
    result = json.loads(out.splitlines()[-1])
    assert result["interrupted"] is True
    assert result["balanced"] is True
    assert (tmp_path / "bars.jsonl").stat().st_size > 0


def test_run_that_fails_tells_it_as_without_a_page(tmp_path: Path) -> None:
    """Exit code and message are those of `mdp run`."""
    text = LIVE.replace("rows: 100000000, rate: 5000, speed: 1.0", "rows: 10").replace(
        "path: bars.jsonl", "path: nowhere/bars.jsonl"
    )
    (tmp_path / "bad.yaml").write_text(text)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "market_data_pipeline.cli.main"),
            *("run", "bad.yaml", "--serve", "0"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server(ServerSettings(port=0, token=TOKEN)) as made:
        text = LIVE.replace("jsonl", "memory", 1).replace(", path: bars.jsonl", "")
        made.call(lambda runtime: runtime.start(load_text(text)))
        yield made


def test_top_shows_the_figures_once(
    server: LiveServer, mdp: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every node with its rates, in a terminal and as JSON."""
    monkeypatch.setenv("MDP_SERVER_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "120")
    shown = mdp(f"top {server.url} --once")
    assert shown.code == 0, shown.err
    for word in ("live", "running", "ticks", "source synthetic", "bars", "store", "lag"):
        assert word in shown.out
    figures = mdp(f"top {server.url} --json").json
    assert [node["name"] for node in figures["jobs"][0]["nodes"]] == ["ticks", "bars", "store"]
    monkeypatch.setenv("COLUMNS", "60")
    assert max(len(line) for line in mdp(f"top {server.url} --once").out.splitlines()) <= 60


@pytest.mark.parametrize(
    ("token", "url", "said"),
    [
        (None, "URL", "the token is missing or wrong"),
        ("wrong-token-but-long", "URL", "the token is missing or wrong"),
        (None, "http://127.0.0.1:9", "start a server with `mdp serve`"),
        (None, "file:///etc/passwd", "expected an address"),
        (None, "http://user:secret@127.0.0.1", "expected an address"),
        (None, "nonsense", "expected an address"),
    ],
)
def test_top_says_why_it_shows_nothing(
    server: LiveServer,
    mdp: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    url: str,
    said: str,
) -> None:
    """One message, and the way out."""
    monkeypatch.delenv("MDP_SERVER_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("MDP_SERVER_TOKEN", token)
    shown = mdp(f"top {server.url if url == 'URL' else url} --once")
    assert shown.code in {1, 2}
    assert said in shown.err
    assert "secret" not in shown.err


@pytest.mark.parametrize("content", ["", "\n", "ü" * 20])
def test_token_file_without_a_token_is_refused(
    tmp_path: Path, mdp: Callable[[str], Any], content: str
) -> None:
    """An empty file is not an open door."""
    Path("token.txt").write_text(content)
    shown = mdp("serve --token-file token.txt --port 0")
    assert shown.code == 2
    assert "token.txt" in shown.err


def test_variable_without_a_token_is_refused(
    mdp: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is not set is a mistake, not a server without a token."""
    monkeypatch.delenv("NOT_SET", raising=False)
    shown = mdp("serve --token-env NOT_SET --port 0")
    assert shown.code == 2
    assert "`NOT_SET` holds no token" in shown.err
