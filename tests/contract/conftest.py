"""The contract holds in a process whose environment says nothing of pipelines."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("PIPELINE_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
