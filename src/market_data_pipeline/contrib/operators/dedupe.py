"""Drop rows that were there before; the operator is `market_data_pipeline.operator.dedupe`."""

from __future__ import annotations

__all__ = ("Dedupe",)

from market_data_pipeline.operator.dedupe import Dedupe
