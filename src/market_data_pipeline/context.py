"""Whose data a pipeline moves."""

from __future__ import annotations

__all__ = ("PipelineContext",)

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class PipelineContext:
    """The owner and the name of a pipeline.

    Attributes:
        tenant_id: Who owns it.
        pipeline_id: Its name, one of the owner's.
        labels: Anything else to tell it by.
    """

    tenant_id: str
    pipeline_id: str
    labels: Mapping[str, str] | None = None

    def get_idempotency_key(self, symbol: str, window_ts: datetime | str | int) -> str:
        """Return a text that is the same for the same window of a symbol, however often sent."""
        return f"{self.tenant_id}:{self.pipeline_id}:{symbol}:{window_ts}"
