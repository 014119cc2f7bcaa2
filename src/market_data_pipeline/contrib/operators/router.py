"""The operator of `market_data_pipeline.operator.router`, under its name of old."""

from __future__ import annotations

__all__ = ("Router",)

from market_data_pipeline.operator.router import Router
