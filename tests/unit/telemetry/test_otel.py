"""The figures of pipelines as OpenTelemetry instruments, read from memory."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

import market_data_pipeline as mdp
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.errors import MissingDependencyError
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.otel import observe_otel
from support.nodes import UNIT, RecordingSink, ScriptedSource


@pytest.fixture
def run() -> Run:
    dag = mdp.Dag("eurusd")
    ticks = dag.source(ScriptedSource([[1 * UNIT, 2 * UNIT, 3 * UNIT]]), name="ticks")
    ticks.bars("1s", name="bars").sink(RecordingSink([]), name="store")
    return Run(dag)


def _points(reader: Any) -> dict[str, list[tuple[dict[str, str], float]]]:
    data = reader.get_metrics_data()
    return {
        metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_instruments_say_what_the_ledger_says(run: Run) -> None:
    """Every metric is an instrument; its labels are attributes."""
    export = pytest.importorskip("opentelemetry.sdk.metrics.export")
    reader = export.InMemoryMetricReader()
    with observe_otel(run, readers=[reader]):
        result = asyncio.run(run.run())
        points = _points(reader)
    attributes = {"pipeline": "eurusd", "node": "bars"}
    assert (attributes, result.ledger["bars"].rows_in) in points["mdp.node.rows_in"]
    aggregated = ({**attributes, "reason": "aggregated"}, 3.0)
    assert aggregated in points["mdp.node.rows_ended"]
    assert (attributes, run.nodes()["bars"].batches) in points["mdp.node.processing_seconds.count"]
    assert points["mdp.pipeline.up"] == [({"pipeline": "eurusd"}, 0.0)]


def test_names_are_used_once() -> None:
    """Dots for the first two underscores make no two names equal."""
    names = [metric.name.replace("_", ".", 2) for metric in METRICS]
    assert len(set(names)) == len(names)


def test_absent_package_is_named_with_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed it is told how."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with (
        pytest.raises(MissingDependencyError, match="otel"),
        observe_otel(run, readers=[]),
    ):
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """A place on loopback that takes OTLP, as the environment says."""
    bodies: list[bytes] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/metrics"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mdp-test")
    yield bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_goes_out_by_otlp_where_the_environment_says(run: Run, collector: list[bytes]) -> None:
    """The last figures are sent at the end, under the service's name."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    with observe_otel(run):
        asyncio.run(run.run())
    assert collector
    assert b"mdp.node.rows_in" in collector[-1]
    assert b"mdp-test" in collector[-1]
