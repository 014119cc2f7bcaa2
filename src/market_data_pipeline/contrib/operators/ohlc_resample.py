"""The operator of `market_data_pipeline.operator.bars`, under its name of old."""

from __future__ import annotations

__all__ = ("OhlcResample",)

from market_data_pipeline.operator.bars import Bars as OhlcResample
