"""What is drawn of a node shows no secrets."""

from __future__ import annotations

from typing import Any

import pytest

from market_data_pipeline.dag.component import component
from market_data_pipeline.dag.graph import Node
from market_data_pipeline.spec.node_labels import settings_line

CANARY = "c4nary-S3cret"


@component("toy_store")
class _Store:
    """A store.

    Attributes:
        dsn: Where it is.
        url: The same.
        options: More.
        key: Columns.
    """

    dsn: str
    url: str
    options: dict[str, str]
    key: list[str]


def _line(**changed: Any) -> str:
    settings: dict[str, Any] = {"dsn": "x", "url": "y", "options": {}, "key": ["symbol"]}
    component: Any = _Store(**{**settings, **changed})
    return settings_line(Node("store", component, ()))


@pytest.mark.parametrize(
    "changed",
    [
        {"dsn": f"password={CANARY}"},
        {"dsn": CANARY},
        {"url": f"postgresql://user:{CANARY}@db/x"},
        {"url": f"postgresql://user:{CANARY}{'x' * 60}@db/x"},
        {"options": {"password": CANARY}},
        {"options": {"conninfo": f"host=x password={CANARY}"}},
    ],
)
def test_drawing_shows_no_secret(changed: dict[str, Any]) -> None:
    """A password is not drawn, not even the beginning of a long one."""
    assert CANARY[:5] not in _line(**changed)


def test_drawing_shows_what_is_no_secret() -> None:
    """The key of columns is not the key of a door."""
    assert _line(options={"table": "bars"}).endswith("options={table: bars} key=[symbol]")
