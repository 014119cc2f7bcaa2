"""The three ways to write a pipeline down, run through the HTTP API into a real database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from market_data_pipeline.server.settings import ServerSettings
from support.live_server import LiveServer, live_server
from support.postgres import Database

SPEC: dict[str, Any] = {
    "tenant_id": "acme",
    "pipeline_id": "json",
    "source": "synthetic",
    "symbols": ["EURUSD", "USDJPY"],
    "duration_sec": 2.5,
    "sink": "database",
    "overrides": {"ticks_per_sec": 200},
}
SPEC_YAML = """
tenant_id: acme
pipeline_id: yaml
source: synthetic
symbols: [EURUSD]
duration_sec: 2.5
sink: database
overrides: {ticks_per_sec: 200}
"""
GRAPH_YAML = """
name: graph
nodes:
  ticks: {source: synthetic, rows: 20000, symbols: 5}
  bars: {operator: bars, from: ticks, every: 1s}
  store: {sink: postgres, from: bars, dsn: "${env:DATABASE_URL}", table: graph_bars,
          key: [symbol, ts_open]}
"""
YAML = {"content-type": "application/yaml"}


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_version_0_8_spec_runs(
    kind: str, postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec in JSON at its old address, and in YAML at the new one, fill the table of bars."""
    monkeypatch.setenv("DATABASE_URL", postgres_database.dsn)
    with live_server(ServerSettings(port=0)) as server, server.client() as client:
        if kind == "json":
            answer = client.post("/pipelines/spec", json=SPEC)
            assert answer.json()["message"].endswith("completed"), answer.text
        else:
            answer = client.post("/jobs", content=SPEC_YAML, headers=YAML)
            assert answer.status_code == 201, answer.text
            server.call(lambda runtime: runtime.wait("acme:yaml"))
        job = client.get(f"/jobs/acme:{kind}").json()
        assert (job["kind"], job["error"]) == ("pipeline", None)
    [(bars,)] = postgres_database.rows("SELECT count(*) FROM bars")
    assert bars >= 2


def test_graph_runs_into_the_database_it_was_allowed(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph names a database; it runs only where that server was declared."""
    place = postgres_database.dsn.partition("@")[2].partition("/")[0]
    text = GRAPH_YAML.replace("${env:DATABASE_URL}", postgres_database.dsn.partition("?")[0])
    with live_server(ServerSettings(port=0)) as server, server.client() as client:
        refused = client.post("/jobs", content=text, headers=YAML)
        assert refused.status_code == 400
        assert "--allow-target" in refused.json()["detail"]
        assert postgres_database.password not in refused.text
        reference = client.post("/jobs", content=GRAPH_YAML, headers=YAML)
        assert reference.status_code == 400
    with live_server(ServerSettings(port=0, targets=(place,))) as server:
        _runs(server, text)
    [(bars,)] = postgres_database.rows("SELECT count(*) FROM graph_bars")
    assert bars > 5


def _runs(server: LiveServer, text: str) -> None:
    with server.client() as client:
        answer = client.post("/jobs", content=text, headers=YAML)
        assert answer.status_code == 201, answer.text
        result = server.call(lambda runtime: runtime.wait("graph"))
        assert result.ledger.balanced
        shown = client.get("/graph", params={"key": "graph"}).json()
        assert shown["jobs"][0]["state"] == "finished"
        assert "***" in json.dumps(shown)
