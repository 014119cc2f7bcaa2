"""A real Prometheus server for tests, on loopback and in a temporary folder."""

from __future__ import annotations

__all__ = ("PrometheusServer", "program", "prometheus_server")

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.services import require

_START_S = 30.0


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; the test goes no further without."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "mdp-services")
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{cache}/usr/bin")
    require(found, f"`{name}` is absent; `.ci/services` fetches it from Debian's packages")
    assert found is not None
    return found


@dataclass(frozen=True)
class PrometheusServer:
    """A server that runs.

    Attributes:
        url: Where it answers.
    """

    url: str

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression evaluates to now: pairs of labels and value."""
        answer = self._get("query", query=expression)
        kind, found = answer["resultType"], answer["result"]
        if kind == "scalar":
            return [({}, float(found[1]))]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def alerts(self, state: str = "firing") -> set[tuple[str, str]]:
        """Return the alerts in a state, as pairs of name and pipeline."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("pipeline", ""))
            for alert in self._get("alerts")["alerts"]
            if alert["state"] == state
        }

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes, and how that goes."""
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def _get(self, what: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"{self.url}/api/v1/{what}?{query}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as err:
            with err:
                msg = f"{parameters}: {err.read().decode()}"
            raise AssertionError(msg) from err


@contextmanager
def prometheus_server(folder: Path, config: str) -> Iterator[PrometheusServer]:
    """Run a server while the context lasts.

    Args:
        folder: An empty folder for its data.
        config: Its configuration.
    """
    (folder / "prometheus.yml").write_text(config)
    port = _free_port()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ],
        cwd=folder,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder / "log")
        yield PrometheusServer(url)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        with suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=1):  # noqa: S310
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    msg = f"prometheus was not ready after {_START_S:.0f} s: {log.read_text()}"
    raise AssertionError(msg)
