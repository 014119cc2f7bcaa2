"""Where rows come from: one source, one file.

The names below are those that version 0.8 has here; they are loaded on first use.
"""

from __future__ import annotations

__all__ = (
    "IBKRSource",
    "ReplaySource",
    "SourceCapabilities",
    "SourceHealth",
    "SourceStatus",
    "SyntheticSource",
    "TickSource",
)

from typing import TYPE_CHECKING, Final

from market_data_pipeline.lazy import loaded_from

if TYPE_CHECKING:
    from market_data_pipeline.source.base import SourceStatus as SourceStatus
    from market_data_pipeline.source.base import TickSource as TickSource
    from market_data_pipeline.source.capabilities import SourceCapabilities as SourceCapabilities
    from market_data_pipeline.source.capabilities import SourceHealth as SourceHealth
    from market_data_pipeline.source.ibkr import IBKRSource as IBKRSource
    from market_data_pipeline.source.replay import ReplaySource as ReplaySource
    from market_data_pipeline.source.synthetic import SyntheticSource as SyntheticSource

__getattr__: Final = loaded_from(
    __name__,
    {
        "IBKRSource": "ibkr",
        "ReplaySource": "replay",
        "SourceCapabilities": "capabilities",
        "SourceHealth": "capabilities",
        "SourceStatus": "base",
        "SyntheticSource": "synthetic",
        "TickSource": "base",
    },
)
