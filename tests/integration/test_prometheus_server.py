"""A real Prometheus scrapes running pipelines; all that is asked of it has an answer."""

from __future__ import annotations

import math
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.checkpoints.settings import Checkpoint
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.telemetry.http import serve_metrics
from market_data_pipeline.telemetry.prometheus import observe
from support.deploy_files import (
    DEPLOY,
    alert_rules,
    dashboard_expressions,
    operands,
    scaling_queries,
)
from support.live_feed import LiveSource, TellingSink, runs_in_thread
from support.nodes import RecordingSink
from support.prometheus_server import PrometheusServer, program, prometheus_server

_TOKEN = "a-token-of-twenty-signs"  # noqa: S105 - it is the test's own
_WAIT_S = 60.0


def _config(folder: Path, *ports: int) -> str:
    """Return the configuration of `deploy/`, for targets here and durations of seconds."""
    rules = (DEPLOY / "prometheus/rules.yml").read_text()
    rules = re.sub(r"\[\d+m\]", "[5s]", re.sub(r"for: \d+m", "for: 1s", rules))
    (folder / "rules.yml").write_text(rules)
    (folder / "token").write_text(_TOKEN)
    targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for before, after in (
        ("/etc/prometheus/rules.yml", str(folder / "rules.yml")),
        ("/run/secrets/mdp_metrics_token", str(folder / "token")),
        ('"mdp:9464"', targets),
        ("interval: 5s", "interval: 1s"),
    ):
        assert before in text
        text = text.replace(before, after)
    return text


def _good(name: str, folder: Path) -> Run:
    dag = mdp.Dag(name)
    ticks = dag.source(LiveSource(), name="ticks")
    bars = ticks.bars("1s", name="bars")
    bars.sink(TellingSink([]), name="store")
    return Run(dag, checkpoint=Checkpoint(str(folder / f"{name}-checkpoints"), interval="1s"))


def _until(met: Callable[[], bool], what: Callable[[], Any]) -> None:
    until = time.monotonic() + _WAIT_S
    pause = threading.Event()
    while not met():
        assert time.monotonic() < until, what()
        pause.wait(0.5)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that has scraped a running pipeline under load for some seconds."""
    folder = tmp_path_factory.mktemp("scraped")
    program("prometheus")
    run = _good("demo-bars", folder)
    with (
        runs_in_thread([run]),
        observe(run),
        serve_metrics(0, token=_TOKEN) as port,
        prometheus_server(folder, _config(folder, port)) as server,
    ):
        long = "count_over_time(mdp_pipeline_up[10s]) >= 7 and on (pipeline) mdp_scale_hint > 0"
        _until(lambda: bool(server.query(long)), server.targets)
        yield server


def _is_sane(found: list[tuple[dict[str, str], float]]) -> bool:
    return bool(found) and all(math.isfinite(value) for _, value in found)


@pytest.mark.parametrize("expression", dashboard_expressions())
def test_dashboard_query_has_a_value(scraped: PrometheusServer, expression: str) -> None:
    """No panel stays empty, and none shows NaN."""
    found = scraped.query(expression)
    assert _is_sane(found), found


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_what_an_alert_compares_has_a_value(
    scraped: PrometheusServer, rule: dict[str, Any]
) -> None:
    """An alert that compares nothing would never fire."""
    for operand in operands(rule["expr"]):
        short = re.sub(r"\[\d+m\]", "[5s]", operand)
        found = scraped.query(short)
        assert _is_sane(found), (short, found)


@pytest.mark.parametrize("query", scaling_queries())
def test_scaling_query_has_one_value(scraped: PrometheusServer, query: str) -> None:
    """KEDA wants one number; under this load one replica is enough."""
    ((_, value),) = scraped.query(query)
    assert 0 < value <= 1


def test_sound_pipeline_raises_no_alert(scraped: PrometheusServer) -> None:
    """Nobody is woken for nothing."""
    assert not scraped.alerts()


def test_target_is_scraped_with_the_token(scraped: PrometheusServer) -> None:
    """Prometheus brings the token of its file, and finds no error in the page."""
    (target,) = scraped.targets()
    assert (target["health"], target["lastError"]) == ("up", "")


def test_bad_states_raise_their_alerts_and_no_others(tmp_path: Path) -> None:
    """A stalled watermark, a failure, shed rows, a slow store, a dead process: each is told."""
    program("prometheus")
    stalled = mdp.Dag("stalled")
    ticks = stalled.source(LiveSource(stalled=True), name="ticks")
    ticks.bars("1s", name="bars").sink(RecordingSink([]), name="store")
    failed = mdp.Dag("failed")
    failed.source(LiveSource(fail_after=3), name="ticks").sink(RecordingSink([]), name="store")
    paused = mdp.Dag("paused")
    paused.source(LiveSource(), name="ticks").sink(TellingSink([], pending=95), name="store")
    shedding = mdp.Dag("shedding")
    fast = shedding.source(LiveSource(rows=500), name="ticks")
    fast.edge(rows=1_000, policy="drop_oldest").sink(RecordingSink([], turns=10**9), name="store")
    runs = [Run(stalled), Run(failed), Run(paused), Run(shedding), _good("sound", tmp_path)]
    expected = {
        ("MdpWatermarkStalled", "stalled"),
        ("MdpPipelineFailed", "failed"),
        ("MdpSinkPaused", "paused"),
        ("MdpStoreSaturated", "paused"),
        ("MdpRowsDropped", "shedding"),
        ("MdpStoreSaturated", "shedding"),
        ("MdpQueueFull", "shedding"),
        ("MdpDown", ""),
    }
    with (
        runs_in_thread(runs),
        observe(lambda: runs),
        serve_metrics(0, token=_TOKEN) as port,
        serve_metrics(0, token=_TOKEN[::-1]) as shut,
        prometheus_server(tmp_path, _config(tmp_path, port, shut)) as server,
    ):
        _until(lambda: expected <= server.alerts(), server.alerts)
        assert not {alert for alert, pipeline in server.alerts() if pipeline == "sound"}
        page = server.query('{__name__=~".+"}')
    assert "hunter2" not in str(page)


def test_configuration_and_rules_are_valid(tmp_path: Path) -> None:
    """`promtool` finds no fault with what is in `deploy/`."""
    promtool = program("promtool")
    (tmp_path / "prometheus.yml").write_text(_config(tmp_path, 1))
    for arguments in (
        ["check", "config", str(tmp_path / "prometheus.yml")],
        ["check", "rules", str(DEPLOY / "prometheus/rules.yml")],
    ):
        done = subprocess.run(
            [promtool, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
