"""Pipelines are started, looked at, slowed down, stopped and started anew over HTTP."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from market_data_pipeline.orchestration.settings import PipelineRuntimeSettings
from market_data_pipeline.server.settings import ServerSettings
from support.live_server import LiveServer, live_server

YAML = {"content-type": "application/yaml"}
ENDLESS = """
name: {name}
nodes:
  ticks: {{source: synthetic, rows: 100000000, rate: 5000, speed: 1.0,
          provider: lab}}
  bars: {{operator: bars, from: ticks, every: 1s}}
  store: {{sink: memory, from: bars}}
"""
SHORT = """
name: {name}
nodes:
  ticks: {{source: synthetic, rows: 500}}
  bars: {{operator: bars, from: ticks, every: 1s}}
  store: {{sink: memory, from: bars}}
"""
HOSTILE = [
    "../../etc/passwd",
    "..",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "\u202etxt",
    "<script>",
    "' OR 1=1",
    "x" * 500,
    " ",
    "\uff45tc",
    "a..b",
    "-rf",
    "%2e%2e",
    "{x}",
]


def body(name: str, text: str = ENDLESS) -> str:
    return text.format(name=json.dumps(name))


def test_pipeline_is_started_listed_and_stopped(open_server: LiveServer) -> None:
    """The life of a pipeline, from the first request to the last."""
    with open_server.client() as client:
        made = client.post("/jobs", content=body("life"), headers=YAML)
        assert made.status_code == 201
        assert made.headers["location"] == "/jobs/life"
        assert client.get("/jobs/life").json()["state"] in {"starting", "running"}
        assert "life" in [job["key"] for job in client.get("/jobs").json()]
        again = client.post("/jobs", content=body("life"), headers=YAML)
        assert again.status_code == 409
        assert client.post("/jobs/life/stop").json()["state"] == "stopped"
        assert client.post("/jobs/life/restart").json()["state"] in {"starting", "running"}
        assert client.post("/jobs/life/stop?drain=false").json()["state"] == "stopped"


def test_one_graph_is_started_under_two_keys(open_server: LiveServer) -> None:
    """A key other than the graph's name lets it run twice."""
    with open_server.client() as client:
        for key in ("one", "tenant:two"):
            made = client.post("/jobs", params={"key": key}, content=body("same"), headers=YAML)
            assert made.json()["key"] == key
            assert client.post(f"/jobs/{key}/stop?drain=false").status_code == 200


def test_source_is_slowed_down_and_paused(open_server: LiveServer) -> None:
    """A source with a pace runs at the share it was given; others cannot be scaled."""
    with open_server.client() as client:
        client.post("/jobs", content=body("scaled"), headers=YAML)
        assert client.get("/jobs/scaled").status_code == 200
        path = "/jobs/scaled/scale"
        answer = client.post(path, json={"node": "ticks", "scale": 0.0})
        for _ in range(500):
            if answer.status_code == 200:
                break  # until then it is about to open
            answer = client.post(path, json={"node": "ticks", "scale": 0.0})
        assert answer.json() == {"key": "scaled", "node": "ticks", "scale": 0.0}
        job = client.get("/graph", params={"key": "scaled"}).json()["jobs"][0]
        assert {n["name"]: n.get("scale") for n in job["nodes"]} == {
            "ticks": 0.0,
            "bars": None,
            "store": None,
        }
        assert client.post(path, json={"node": "bars", "scale": 0.5}).status_code == 409
        assert client.post(path, json={"node": "nope", "scale": 0.5}).status_code == 404
        for scale in (-0.1, 1.1, "x", None):
            assert client.post(path, json={"node": "ticks", "scale": scale}).status_code == 422
        assert client.post("/jobs/scaled/stop?drain=false").status_code == 200


def test_figures_add_up(open_server: LiveServer) -> None:
    """What ended is shown with its last figures, and the graph can be had as a picture."""
    with open_server.client() as client:
        client.post("/jobs", content=body("figures", SHORT), headers=YAML)
        open_server.call(lambda runtime: runtime.wait("figures"))
        job = client.get("/graph", params={"key": "figures"}).json()["jobs"][0]
        assert job["state"] == "finished"
        nodes = {node["name"]: node for node in job["nodes"]}
        assert nodes["ticks"]["out"] == nodes["bars"]["in"] == job["totals"]["in"]
        assert nodes["store"]["out"] == nodes["bars"]["out"] == job["totals"]["out"]
        assert [edge["to"] for edge in job["edges"]] == ["bars", "store"]
        picture = client.get("/graph", params={"key": "figures", "form": "svg"})
        assert picture.headers["content-type"].startswith("image/svg")
        assert "bars" in picture.text
        assert "<script" not in picture.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_is_refused(open_server: LiveServer, name: str) -> None:
    """What cannot be a name is refused in a body, in a key and in an address."""
    with open_server.client() as client:
        assert client.post("/jobs", content=body(name), headers=YAML).status_code == 400
        keyed = client.post("/jobs", params={"key": name}, content=body("fine"), headers=YAML)
        assert keyed.status_code == 400
        for path in ("/jobs/{}", "/jobs/{}/stop", "/pipelines/{}:x"):
            if name == "..":
                continue  # a client makes `/` of it before it asks
            method = "POST" if path.endswith("stop") else "GET"
            found = client.request(method, path.format(quote(name, safe="")))
            assert found.status_code in {400, 404, 405, 422}, (path, found.text)


def test_unknown_pipeline_is_not_found(open_server: LiveServer) -> None:
    """A name that could be one and is none is 404, with the names there are."""
    with open_server.client() as client:
        for method, path in (
            ("GET", "/jobs/nobody"),
            ("POST", "/jobs/nobody/stop"),
            ("POST", "/jobs/nobody/restart"),
            ("GET", "/pipelines/no:body"),
            ("DELETE", "/pipelines/no:body"),
            ("GET", "/graph?key=nobody"),
        ):
            assert client.request(method, path).status_code == 404, path


def test_wrong_pipeline_is_told_with_its_places(open_server: LiveServer) -> None:
    """What is wrong is said as `mdp validate` says it, with line and column."""
    text = "name: x\nnodes:\n  ticks: {source: syntetic}\n"
    with open_server.client() as client:
        answer = client.post("/jobs", content=text, headers=YAML)
    assert answer.status_code == 400
    first = answer.json()["problems"][0]
    assert first["line"] == 3
    assert "did you mean `synthetic`" in first["message"]


def test_too_many_pipelines_are_refused() -> None:
    """The most that may run at once is told, and more are refused."""
    limits = PipelineRuntimeSettings(max_concurrent_pipelines=1)
    with (
        live_server(ServerSettings(port=0), runtime_settings=limits) as server,
        server.client() as client,
    ):
        assert client.post("/jobs", content=body("a"), headers=YAML).status_code == 201
        assert client.post("/jobs", content=body("b"), headers=YAML).status_code == 503


def test_health_tells_of_the_runtime() -> None:
    """Probes and version 0.8's health are served; a runtime that is shut takes nothing."""
    with live_server(ServerSettings(port=0)) as server, server.client() as client:
        assert client.get("/readyz").json() == {"status": "ready", "jobs": {}}
        assert client.get("/health").json() == {
            "status": "healthy",
            "service": "market-data-pipeline",
        }
        client.post("/jobs", content=body("seen"), headers=YAML)
        assert 'mdp_pipeline_up{pipeline="seen"}' in client.get("/metrics").text
        server.call(lambda runtime: runtime.shutdown())
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 503
        assert client.get("/metrics").status_code == 503
        assert client.get("/pipelines").status_code == 503
        assert client.post("/jobs", content=body("late"), headers=YAML).status_code == 503


def test_version_0_8_clients_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The routes, bodies and answers of version 0.8; what the pipelines do is tried elsewhere."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    spec: dict[str, Any] = {
        "tenant_id": "acme",
        "pipeline_id": "fx",
        "source_type": "synthetic",
        "symbols": ["EURUSD"],
        "rate": 500,
        "sink_type": "database",
    }
    with live_server(ServerSettings(port=0)) as server, server.client() as client:
        assert set(client.get("/").json()) == {"message", "version"}
        assert client.get("/pipelines").json() == []
        made = client.post("/pipelines", json=spec)
        assert made.json()["pipeline_key"] == "acme:fx", made.text
        told = client.get("/pipelines/acme:fx").json()
        assert {name: told[name] for name in ("tenant_id", "pipeline_id", "source")} == {
            "tenant_id": "acme",
            "pipeline_id": "fx",
            "source": "synthetic",
        }
        assert (told["operator"], told["sink"]) == ("bars", "database")
        assert told["symbols"] == ["EURUSD"]
        assert isinstance(told["running"], bool)
        assert told["duration_sec"] is None
        assert client.delete("/pipelines/acme:fx").status_code == 200
        assert client.get("/pipelines/acme:fx").status_code == 404
        for wrong in (
            {"source_type": "x"},
            {"tenant_id": "a:b"},
            {"pipeline_id": "../x"},
            {"extra": {"nonsense": 1}},
            {"source_type": "replay", "replay_path": "/etc/passwd"},
            {"extra": {"database_url": "postgresql://db.internal/x"}},
        ):
            assert client.post("/pipelines", json={**spec, **wrong}).status_code == 400, wrong
        assert client.post("/pipelines", json={"tenant_id": "a"}).status_code == 422


def test_figures_that_cannot_be_read_do_not_end_what_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake in what looks on is logged once; pipelines and other routes go on."""

    def broken() -> Any:
        msg = "no figures today"
        raise ArithmeticError(msg)

    with live_server(ServerSettings(port=0, every_s=0.01)) as server, server.client() as client:
        health = server.runtime.health
        server.runtime.health = broken  # type: ignore[method-assign]
        for _ in range(50):
            assert client.get("/jobs").status_code == 200
        server.runtime.health = health  # type: ignore[method-assign]
        assert client.get("/readyz").status_code == 200
        with client.stream("GET", "/events") as events:
            lines = (line for line in events.iter_lines() if line.startswith("data:"))
            assert all(next(lines) for _ in range(3))
    assert caplog.text.count("no figures today") <= 2
    assert "cannot be read" in caplog.text
