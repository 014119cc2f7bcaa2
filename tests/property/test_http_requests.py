"""Whatever is asked of the server, it answers, and never with a failure of its own."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_data_pipeline.server.settings import ServerSettings
from support.live_server import LiveServer, live_server

PATHS = (
    "/",
    "/jobs",
    "/jobs/{}",
    "/jobs/{}/stop",
    "/jobs/{}/restart",
    "/jobs/{}/scale",
    "/pipelines",
    "/pipelines/spec",
    "/pipelines/{}:{}",
    "/pipelines/{}",
    "/graph",
    "/graph?key={}",
    "/graph?form={}",
    "/session",
    "/metrics",
    "/healthz",
    "/page/{}",
    "/openapi.json",
    "/{}",
)
TYPES = ("application/json", "application/yaml", "text/plain", "", "application/json; charset=x")
texts = st.one_of(
    st.sampled_from(["kept", "a:b", "..", "%00", "ticks", "bars", "{}", "null", "1e999", "-0"]),
    st.text(max_size=40),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=12,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "tenant_id": values,
        "pipeline_id": values,
        "source": st.one_of(st.sampled_from(["synthetic", "replay"]), values),
        "source_type": values,
        "symbols": values,
        "duration_sec": st.one_of(st.just(0.01), values),
        "sink": values,
        "overrides": values,
        "extra": values,
        "node": texts,
        "scale": values,
        "token": texts,
    },
)
nodes = st.dictionaries(
    st.sampled_from(["ticks", "bars", "store", "x y", ""]),
    st.fixed_dictionaries(
        {},
        optional={
            "source": st.one_of(st.sampled_from(["synthetic", "replay", "chaos"]), values),
            "operator": st.one_of(st.sampled_from(["bars", "conditions", "dedupe"]), values),
            "sink": st.one_of(st.sampled_from(["memory", "parquet", "postgres"]), values),
            "from": st.one_of(st.sampled_from(["ticks", "bars", "ticks.late"]), values),
            "rows": st.one_of(st.just(5), values),
            "path": values,
            "dsn": values,
            "of": values,
            "every": st.one_of(st.just("1s"), values),
        },
    ),
    max_size=4,
)
graphs = st.fixed_dictionaries({"nodes": st.one_of(nodes, values)}, optional={"name": texts})
bodies = st.one_of(
    st.binary(max_size=60),
    st.one_of(values, specs, graphs).map(lambda value: json.dumps(value).encode()),
)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server(ServerSettings(port=0, body_timeout_s=2, header_timeout_s=2)) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"]),
    path=st.sampled_from(PATHS),
    names=st.tuples(texts, texts),
    kind=st.sampled_from(TYPES),
    body=bodies,
)
def test_every_request_is_answered(
    client: httpx.Client, method: str, path: str, names: tuple[str, str], kind: str, body: bytes
) -> None:
    """Any method, path, type and body: 2xx, 4xx or 503; with a reason that is JSON."""
    safe = [quote(name.encode("utf-8", "surrogatepass"), safe="") for name in names]
    headers: dict[str, Any] = {"content-type": kind} if kind else {}
    address = path.format(*safe)
    answer = client.request(method, address, content=body, headers=headers)
    assert answer.status_code < 500 or answer.status_code == 503, (address, body, answer.text)
    if answer.status_code >= 400 and method != "HEAD":
        assert "detail" in answer.json()
    assert "Traceback" not in answer.text


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        [
            "host",
            "origin",
            "content-length",
            "transfer-encoding",
            "authorization",
            "cookie",
            "expect",
            "connection",
            "upgrade",
            "content-encoding",
            "x" * 200,
        ]
    ),
    value=st.one_of(
        st.sampled_from(["chunked", "100-continue", "websocket", "gzip", "null", "-1", "0"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    ),
)
def test_any_header_is_answered(server: LiveServer, name: str, value: str) -> None:
    """A header of any value is answered or the connection closed, in time."""
    host = "" if name == "host" else "Host: localhost\r\n"
    head = f"POST /jobs HTTP/1.1\r\n{host}{name}: {value}\r\n"
    if name not in {"content-length", "transfer-encoding"}:
        head += "Content-Length: 2\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n{}")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert not answer or (answer.startswith(b"HTTP/1.1 ") and answer[9:12] != b"500")
