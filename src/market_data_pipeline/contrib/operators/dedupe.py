"""The operator of `market_data_pipeline.operator.dedupe`, under its name of old."""

from __future__ import annotations

__all__ = ("Dedupe",)

from market_data_pipeline.operator.dedupe import Dedupe
