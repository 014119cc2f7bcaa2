"""The schemas of custom resources, from the Go modules that define them."""

from __future__ import annotations

__all__ = ("crd_schema",)

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from support.services import require

_CRDS: Final = {
    "ScaledObject": (
        "github.com/kedacore/keda/v2@v2.16.1",
        "config/crd/bases/keda.sh_scaledobjects.yaml",
    ),
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.79.2",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}


def crd_schema(kind: str, version: str) -> dict[str, Any]:
    """Return the schema of a custom resource, with unknown fields refused.

    Args:
        kind: The kind of the object.
        version: Its version, without the group.
    """
    module, path = _CRDS[kind]
    definition = yaml.safe_load(Path(_module(module), path).read_text())
    versions = {found["name"]: found for found in definition["spec"]["versions"]}
    schema: dict[str, Any] = _closed(versions[version]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _module(module: str) -> str:
    """Return the folder of a Go module, fetched once into the cache of Go."""
    go = shutil.which("go")
    require(go, "`go` is absent; it fetches the modules that define custom resources")
    assert go is not None
    done = subprocess.run(
        [go, "mod", "download", "-json", module],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd="/",
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    require(done.returncode == 0, f"cannot fetch the Go module {module}: {done.stderr[-300:]}")
    folder: str = json.loads(done.stdout)["Dir"]
    return folder


def _closed(schema: Any) -> Any:
    """Return a schema that refuses fields it does not name, as the API server's strict mode."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items() if name != "format"}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    return closed
