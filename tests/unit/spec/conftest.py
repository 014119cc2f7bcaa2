"""An installed package of toy components, as pip would leave it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def toys() -> Iterator[None]:
    """Install the toy components for the tests of the spec."""
    folder = str(Path(__file__).parents[2] / "plugin")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
