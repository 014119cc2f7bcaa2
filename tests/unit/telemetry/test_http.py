"""The small server for metrics: on loopback, or with a token."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Gauge

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.telemetry.http import is_loopback, serve_metrics

_TOKEN = "a-token-of-twenty-signs"  # noqa: S105 - it is the test's own


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("answer", "The answer.", registry=registry).set(42)
    return registry


def _get(
    port: int,
    path: str = "/metrics",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_serves_while_the_context_lasts() -> None:
    """The page can be had, other paths say what there is, and the port is free afterwards."""
    with serve_metrics(0, registry=_registry()) as port:
        status, body = _get(port)
        assert status == 200
        assert b"answer 42.0" in body
        assert _get(port, "/healthz") == (200, b"ok\n")
        assert _get(port, "/")[0] == 404
        assert _get(port, method="POST")[0] == 405
        assert _get(port, method="HEAD") == (200, b"")
        with (
            pytest.raises(ConfigError, match=f"cannot serve metrics on 127.0.0.1:{port}"),
            serve_metrics(port),
        ):
            pass
    with serve_metrics(port, registry=_registry()):
        pass


def test_address_for_others_needs_a_token() -> None:
    """What others can reach is refused before anything listens."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):  # noqa: S104 - it is refused
        with pytest.raises(ConfigError, match="MDP_METRICS_TOKEN"), serve_metrics(0, host):
            pass


def test_short_token_is_refused() -> None:
    """A token that can be guessed is none."""
    with (
        pytest.raises(ConfigError, match="at least 16"),
        serve_metrics(0, token="short"),  # noqa: S106
    ):
        pass


def test_token_is_asked_for() -> None:
    """Only the one token opens the page; whether the process lives is no secret."""
    with serve_metrics(0, token=_TOKEN, registry=_registry()) as port:
        assert _get(port)[0] == 401
        assert _get(port, headers={"Authorization": f"Bearer {_TOKEN}x"})[0] == 401
        assert _get(port, headers={"Authorization": "Bearer \xe9"})[0] == 401
        assert _get(port, headers={"Authorization": f"Bearer {_TOKEN}"})[0] == 200
        assert _get(port, "/healthz")[0] == 200


def test_name_that_points_here_is_refused() -> None:
    """A web page cannot read the figures by a name of its own that leads to this machine."""
    with serve_metrics(0, registry=_registry()) as port:
        assert _get(port, headers={"Host": f"evil.example:{port}"})[0] == 403
        assert _get(port, headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_told(host: str, expected: bool) -> None:
    """Only addresses of this machine itself count."""
    assert is_loopback(host) == expected
