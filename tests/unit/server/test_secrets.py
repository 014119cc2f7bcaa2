"""Secrets that stand in a configuration come out nowhere."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from market_data_pipeline.flow import Dag
from market_data_pipeline.server.settings import ServerSettings
from market_data_pipeline.sink.memory import MemorySink
from market_data_pipeline.source.synthetic import SyntheticSource
from support.live_server import LiveServer, live_server

TOKEN = "c4nary-token-of-this-server"  # noqa: S105 - a canary
PASSWORD = "c4nary-passw0rd"  # noqa: S105
DSN = f"postgresql://loader:{PASSWORD}@127.0.0.1:1/ticks"
CANARIES = (TOKEN, PASSWORD)
SPEC: dict[str, Any] = {
    "tenant_id": "acme",
    "pipeline_id": "fx",
    "source": "synthetic",
    "symbols": ["EURUSD"],
    "duration_sec": 1,
    "sink": "database",
    "overrides": {"database_url": DSN, "database_retry_max_attempts": 1},
}


def graph(**store: Any) -> str:
    nodes = {
        "ticks": {"source": "synthetic", "rows": 10, "symbols": 1},
        "store": {"sink": "postgres", "from": "ticks", "table": "x", "dsn": DSN, **store},
    }
    return json.dumps({"name": "canary", "nodes": nodes})


def told_by(server: LiveServer) -> str:
    """Return all that a server says: every page, wrong requests too."""
    said = []
    json_type = {"content-type": "application/json"}
    with server.client() as client:
        for path in (
            "/",
            "/jobs",
            "/jobs/canary",
            "/jobs/acme:fx",
            "/pipelines",
            "/pipelines/acme:fx",
            "/graph",
            "/graph?key=canary&form=svg",
            "/metrics",
            "/readyz",
            "/session",
            "/openapi.json",
        ):
            answer = client.get(path, headers={"accept": "*/*"})
            said += [path, answer.text, str(answer.headers)]
        with client.stream("GET", "/events") as events:
            for line in events.iter_lines():
                said.append(line)
                if line.startswith("data:"):
                    break
        for body in (
            graph(nonsense=DSN),
            graph(key=DSN),
            graph(dsn=f"password={PASSWORD} host=127.0.0.1"),
            graph(dsn=[DSN]),
            graph(dsn={"password": PASSWORD}),
            json.dumps({**SPEC, "sink": DSN}),
            json.dumps({**SPEC, "overrides": {"database_url": [DSN], "x": DSN}}),
            json.dumps({**SPEC, "password": PASSWORD, "tenant_id": f"a:{DSN}"}),
            f'{{"nodes": {{"password": "{PASSWORD}"}}',
        ):
            for path in ("/jobs", "/pipelines/spec", "/pipelines"):
                answer = client.post(path, content=body, headers=json_type)
                assert 400 <= answer.status_code < 500, (path, body, answer.text)
                said += [answer.text, str(answer.headers)]
        wrong = client.get("/jobs", headers={"authorization": f"Bearer {TOKEN}x"})
        said += [wrong.text, client.post("/session", json={"token": TOKEN * 2}).text]
    return "\n".join(said)


def test_canary_secrets_come_out_nowhere(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not in a log at DEBUG, metric, page, status, error, traceback or picture."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DATABASE_URL", DSN)
    settings = ServerSettings(port=0, token=TOKEN, targets=("127.0.0.1:1",))
    with live_server(settings) as server, server.client() as client:
        json_type = {"content-type": "application/json"}
        for path, body in (("/jobs", graph()), ("/pipelines/spec?wait=false", json.dumps(SPEC))):
            answer = client.post(path, content=body, headers=json_type)
            assert answer.status_code in {200, 201}, answer.text
        server.call(lambda runtime: runtime.start(_failing()))
        for key in ("canary", "failing", "acme:fx"):
            server.call(lambda runtime, key=key: _over(runtime, key))  # type: ignore[misc]
        said = told_by(server)
        assert "failed" in said
        assert "***" in said
        said += repr(settings)
    said += caplog.text + "".join(capfd.readouterr())
    for canary in CANARIES:
        at = said.find(canary)
        assert at < 0, said[max(0, at - 300) : at + 60]


def _failing() -> Dag:
    def convert(_: Any) -> Any:
        msg = f"could not reach {DSN} with password={PASSWORD} (Bearer {TOKEN})"
        raise ConnectionError(msg)

    dag = Dag("failing")
    ticks = dag.source(SyntheticSource(rows=10, symbols=1), name="ticks")
    ticks.map(convert, on="batches", name="convert").sink(MemorySink(), name="store")
    return dag


async def _over(runtime: Any, key: str) -> None:
    from market_data_pipeline.errors import PipelineError

    try:
        await runtime.wait(key)
    except PipelineError:
        return


def test_unforeseen_error_is_logged_without_its_secrets(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug answers 500 with nothing of it; the log has the place and not the secret."""

    def broken() -> Any:
        msg = f"cannot look at {DSN}"
        raise RuntimeError(msg)

    with live_server(ServerSettings(port=0)) as server, server.client() as client:
        server.runtime.status = lambda _: broken()  # type: ignore[assignment, method-assign]
        answer = client.get("/jobs/x")
    assert answer.status_code == 500
    assert PASSWORD not in answer.text + caplog.text
    assert "cannot look at" not in answer.text
    assert "cannot look at postgresql://" in caplog.text
