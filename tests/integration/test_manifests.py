"""The Kubernetes objects are what the API server, KEDA and the Prometheus operator take."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from support.crds import crd_schema
from support.deploy_files import DEPLOY, manifests
from support.services import require

_KUBERNETES: Final = "1.31"
_CUSTOM: Final = frozenset({"ScaledObject", "ServiceMonitor"})
_OBJECTS: Final = list(manifests())
_BUILT_IN: Final = [(path, found) for path, found in _OBJECTS if found["kind"] not in _CUSTOM]


def _name(value: object) -> str:
    return str(value.relative_to(DEPLOY)) if isinstance(value, Path) else ""


def _check(found: dict[str, Any]) -> None:
    try:
        import kubernetes_validate
    except ImportError:
        require(False, "`kubernetes-validate` is absent; `pip install kubernetes-validate`")
        raise
    kubernetes_validate.validate(found, _KUBERNETES, strict=True)


@pytest.mark.parametrize(("path", "found"), _BUILT_IN, ids=_name)
def test_object_is_valid(path: Path, found: dict[str, Any]) -> None:
    """Every field is known to Kubernetes and of its type."""
    _check(found)


def test_wrong_object_is_found() -> None:
    """The check is one: a misspelt field and a wrong type are refused."""
    found = next(found for _, found in _BUILT_IN if found["kind"] == "Deployment")
    for field, value in (("replica", 1), ("replicas", "one")):
        wrong = copy.deepcopy(found)
        wrong["spec"][field] = value
        with pytest.raises(Exception, match=field):
            _check(wrong)


def _custom(kind: str) -> dict[str, Any]:
    return next(found for _, found in _OBJECTS if found["kind"] == kind)


@pytest.mark.parametrize("kind", sorted(_CUSTOM))
def test_custom_object_is_valid(kind: str) -> None:
    """Every field is one of the resource's own definition."""
    found = _custom(kind)
    schema = crd_schema(kind, found["apiVersion"].partition("/")[2])
    jsonschema.validate(found, schema)
    wrong = copy.deepcopy(found)
    wrong["spec"]["misspelt"] = 1
    with pytest.raises(jsonschema.ValidationError, match="misspelt"):
        jsonschema.validate(wrong, schema)
