"""Tests that need a service: skipped where it is absent, failed where it must be there."""

from __future__ import annotations

__all__ = ("REQUIRED", "require")

import os
from typing import Final

import pytest

REQUIRED: Final = "MDP_REQUIRE_SERVICES"
"""Set to 1, as in CI, an absent service is a failure."""


def require(condition: object, reason: str) -> None:
    """Go on if the service is there, else skip the test; fail it where services must be there.

    Args:
        condition: What is true if the service is there.
        reason: What is absent, and how to get it.
    """
    if condition:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1 is set)", pytrace=False)
    pytest.skip(reason)
