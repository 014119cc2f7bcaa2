"""For those who write sources, operators or sinks, or test pipelines.

Checks that each must pass, a clock that stands still, a source that does what a script says.
"""

from __future__ import annotations

__all__ = (
    "Crash",
    "ManualClock",
    "Pause",
    "ScriptedSource",
    "check_join",
    "check_operator",
    "check_sink",
    "check_source",
)

from market_data_pipeline.source.scripted import Crash, Pause, ScriptedSource
from market_data_pipeline.testing.clock import ManualClock
from market_data_pipeline.testing.operators import check_join, check_operator
from market_data_pipeline.testing.sinks import check_sink
from market_data_pipeline.testing.sources import check_source
