"""Where rows go: one sink, one file.

The names below are those that version 0.8 has here; they are loaded on first use.
"""

from __future__ import annotations

__all__ = (
    "DatabaseSink",
    "DatabaseSinkSettings",
    "KafkaSink",
    "Sink",
    "SinkCapabilities",
    "SinkHealth",
    "StoreSink",
)

from typing import TYPE_CHECKING, Final

from market_data_pipeline.lazy import loaded_from

if TYPE_CHECKING:
    from market_data_pipeline.sink.base import Sink as Sink
    from market_data_pipeline.sink.capabilities import SinkCapabilities as SinkCapabilities
    from market_data_pipeline.sink.capabilities import SinkHealth as SinkHealth
    from market_data_pipeline.sink.database import DatabaseSink as DatabaseSink
    from market_data_pipeline.sink.database import DatabaseSinkSettings as DatabaseSinkSettings
    from market_data_pipeline.sink.kafka import KafkaSink as KafkaSink
    from market_data_pipeline.sink.store import StoreSink as StoreSink

__getattr__: Final = loaded_from(
    __name__,
    {
        "DatabaseSink": "database",
        "DatabaseSinkSettings": "database",
        "KafkaSink": "kafka",
        "Sink": "base",
        "SinkCapabilities": "capabilities",
        "SinkHealth": "capabilities",
        "StoreSink": "store",
    },
)
