"""How many examples a property is tried on."""

from __future__ import annotations

__all__ = ("fewer", "load_profile")

import os

from hypothesis import HealthCheck, settings


def load_profile() -> None:
    """Take 300 examples, always the same ones; as many as `MDP_EXAMPLES` says, always others."""
    asked = os.environ.get("MDP_EXAMPLES")
    settings.register_profile(
        "pipeline",
        max_examples=int(asked or 300),
        derandomize=asked is None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("pipeline")


def fewer(share: int) -> settings:
    """Return settings for a property whose examples take long: one in `share` of the others'."""
    return settings(max_examples=max(10, settings().max_examples // share))
