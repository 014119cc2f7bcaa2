"""The operator of `market_data_pipeline.operator.throttle`, under its name of old."""

from __future__ import annotations

__all__ = ("Throttle",)

from market_data_pipeline.operator.throttle import Throttle
