"""What all tests share: where the recorded data is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded market data; tests that need it are skipped without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MDP_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder} (set MDP_DATA_DIR)")
    return folder
