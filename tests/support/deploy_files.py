"""What lies in `deploy/`, as data."""

from __future__ import annotations

__all__ = (
    "DEPLOY",
    "alert_rules",
    "dashboard_expressions",
    "manifests",
    "operands",
    "scaling_queries",
)

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
_COMPARISON = re.compile(r"\s(==|!=|>=|<=|>|<)\s[\d.]+$")
_AND = re.compile(r"\s+and on \([^)]*\)\s+")


def alert_rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def operands(expression: str) -> list[str]:
    """Return what an alert's expression compares: it has a value though nothing fires."""
    return [_COMPARISON.sub("", part.strip()) for part in _AND.split(expression)]


def dashboard_expressions() -> list[str]:
    """Return the queries of the dashboard, for all pipelines and a rate over some seconds."""
    path = DEPLOY / "grafana/dashboards/market-data-pipeline.json"
    dashboard = json.loads(path.read_text())
    found = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    return [expr.replace("$pipeline", ".+").replace("$__rate_interval", "5s") for expr in found]


def manifests() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Return the Kubernetes objects, with the files they are in."""
    for path in sorted(DEPLOY.glob("kubernetes/*/*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["apiVersion"].startswith("kustomize."):
                continue
            yield path, document


def scaling_queries() -> list[str]:
    """Return the queries that KEDA asks Prometheus."""
    return [
        trigger["metadata"]["query"]
        for _, document in manifests()
        if document["kind"] == "ScaledObject"
        for trigger in document["spec"]["triggers"]
    ]
