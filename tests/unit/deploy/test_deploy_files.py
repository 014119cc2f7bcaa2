"""What `deploy/` asks for exists, and nothing in it is laxer than it must be."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from market_data_pipeline.spec.loader import load_text
from market_data_pipeline.telemetry.metrics import METRICS
from market_data_pipeline.telemetry.metrics_0_8 import METRICS_0_8
from support.deploy_files import (
    DEPLOY,
    alert_rules,
    dashboard_expressions,
    manifests,
    scaling_queries,
)

_WORD = re.compile(r"\b(?:mdp|source|operator|batcher|sink|pacing|pipeline)_[a-z_0-9]+\b")
_SUFFIXES = ("_bucket", "_sum", "_count")
_IN_LABELS = re.compile(r"\{[^}]*\}|(?:by|on|group_left) \([^)]*\)")


def _exposed() -> set[str]:
    metrics = (*METRICS, *METRICS_0_8)
    names = {metric.exposed for metric in metrics}
    histograms = [metric.name for metric in metrics if metric.kind == "histogram"]
    return names | {f"{name}{suffix}" for name in histograms for suffix in _SUFFIXES}


def _expressions() -> list[str]:
    alerts = [rule["expr"] for rule in alert_rules()]
    return [*dashboard_expressions(), *alerts, *scaling_queries()]


@pytest.mark.parametrize("expression", _expressions())
def test_query_asks_for_metrics_that_exist(expression: str) -> None:
    """A query for a metric that nobody exposes shows nothing and never fires."""
    asked = set(_WORD.findall(_IN_LABELS.sub("", expression)))
    assert asked <= _exposed()
    assert asked or "process_" in expression or expression.startswith("up{")


def test_every_metric_of_ours_is_documented_by_its_text_once() -> None:
    """Two metrics that mean the same need one name; the names of version 0.8 are exempt."""
    texts = [metric.text for metric in METRICS]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Who is woken reads what is wrong and finds a runbook."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    anchor = rule["alert"].lower()
    assert rule["annotations"]["runbook"] == f"deploy/README.md#{anchor}"
    assert f"\n### {rule['alert']}\n" in (DEPLOY / "README.md").read_text()


def test_dashboard_panels_do_not_overlap() -> None:
    """Each panel has a place of its own, a title and a description."""
    path = DEPLOY / "grafana/dashboards/market-data-pipeline.json"
    panels = json.loads(path.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in panels}) == len(panels)


# The image


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_image_runs_as_nobody_special() -> None:
    """The last stage gives up root, by number, so that Kubernetes can check it."""
    users = [rest for word, rest in _instructions() if word == "USER"]
    assert users == ["10001:10001"]
    last = [word for word, _ in _instructions()]
    assert last.index("USER") > len(last) - 1 - last[::-1].index("FROM")


def test_image_is_built_in_stages_of_pinned_bases() -> None:
    """What builds is not shipped, and no base is whatever is newest."""
    bases = [rest.split()[0] for word, rest in _instructions() if word == "FROM"]
    assert len(bases) == 2
    for base in bases:
        assert ":" in base
        assert "latest" not in base


def test_image_has_a_health_check_and_no_shell_in_between() -> None:
    """Signals reach the process: commands are lists."""
    words = dict(_instructions())
    assert "HEALTHCHECK" in words
    for word in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(words[word]), list)


def test_image_holds_no_secret_and_no_more_than_it_needs() -> None:
    """Nothing is copied but the package; nothing is fetched by URL; no secret is an ENV."""
    instructions = _instructions()
    assert "ADD" not in {word for word, _ in instructions}
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for word, rest in instructions:
        if word in {"ENV", "ARG"}:
            assert not re.search(r"(?i)password|token|secret", rest)
        assert "sudo" not in rest
        assert "apt-get upgrade" not in rest


# The compose file


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())
    return found


def test_compose_opens_ports_on_this_machine_only() -> None:
    """Nothing is published to the network by `docker compose up`."""
    for name, service in _compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_compose_pins_images_and_holds_no_secret() -> None:
    """Images have a version; secrets are asked for, not given."""
    for name, service in _compose()["services"].items():
        version = service["image"].partition(":")[2]
        assert version not in {"", "latest"}, name
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|DATABASE_URL", variable):
                assert ":?" in value, variable


def test_compose_mounts_what_exists() -> None:
    """A file that is not there would become an empty folder."""
    compose = _compose()
    for service in compose["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), mount
    provisioned = (DEPLOY / "grafana/provisioning/dashboards/dashboards.yaml").read_text()
    assert "/var/lib/grafana/dashboards" in provisioned


def test_pipelines_can_run() -> None:
    """The pipeline of the compose file and that of the ConfigMap are whole, and the same."""
    text = (DEPLOY / "pipeline/pipeline.yaml").read_text()
    assert list(load_text(text).nodes) == ["ticks", "clean", "bars", "store"]
    config = next(found for _, found in manifests() if found["kind"] == "ConfigMap")
    assert yaml.safe_load(config["data"]["pipeline.yaml"]) == yaml.safe_load(text)


# Kubernetes


def _object(kind: str) -> dict[str, Any]:
    return next(found for _, found in manifests() if found["kind"] == kind)


def test_containers_have_no_rights_they_do_not_need() -> None:
    """As the `restricted` standard asks, with a root file system that cannot be written."""
    pod = _object("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert not container["image"].endswith(":latest")


def test_secrets_come_from_secrets() -> None:
    """No value of a manifest is a password or a token."""
    (container,) = _object("Deployment")["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        if re.search("TOKEN|URL|PASSWORD", variable["name"]):
            assert "secretKeyRef" in variable["valueFrom"]
    assert "Secret" not in {found["kind"] for _, found in manifests()}


def test_objects_select_the_pods_of_the_deployment() -> None:
    """Selectors, ports and names of the objects fit one another."""
    deployment = _object("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert _object("Service")["spec"]["selector"] == labels
    assert _object("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert _object("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert _object("ServiceMonitor")["spec"]["selector"]["matchLabels"] == labels
    assert _object("Service")["spec"]["ports"][0]["targetPort"] in ports
    name = deployment["metadata"]["name"]
    assert _object("ScaledObject")["spec"]["scaleTargetRef"]["name"] == name
    assert _object("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == name
    listed = (DEPLOY / "kubernetes/base/kustomization.yaml").read_text()
    for path, _ in manifests():
        if path.parent.name == "base":
            assert f"- {path.name}\n" in listed
