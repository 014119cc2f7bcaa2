"""How many examples a property is tried on: `MDP_EXAMPLES` sets another number."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pipeline",
    max_examples=int(os.environ.get("MDP_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pipeline")
