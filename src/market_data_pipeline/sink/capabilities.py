"""What a sink for bars can do, and how it fares."""

from __future__ import annotations

__all__ = ("SinkCapabilities", "SinkHealth", "SinkSLA")

from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto


class SinkCapabilities(Flag):
    """What a sink can do."""

    BATCH_WRITES = auto()
    TRANSACTIONS = auto()
    EXACTLY_ONCE = auto()
    COMPRESSION = auto()
    SCHEMA_REGISTRY = auto()


@dataclass(frozen=True)
class SinkHealth:
    """How a sink fares.

    Attributes:
        connected: True between `start` and `close`.
        queue_depth: Batches that wait.
        in_flight_batches: Batches that are being written.
        last_commit_at: When a batch was written last, None if never.
        last_error_at: When an attempt failed last, None if never.
        retry_count: Attempts that were made again.
        detail: The last error, empty if there was none.
    """

    connected: bool
    queue_depth: int = 0
    in_flight_batches: int = 0
    last_commit_at: datetime | None = None
    last_error_at: datetime | None = None
    retry_count: int = 0
    detail: str = ""


@dataclass(frozen=True)
class SinkSLA:
    """What is expected of a sink.

    Attributes:
        max_commit_seconds: How long a batch may take to write, None for any time.
        max_queue_depth: How many batches may wait, None for as many as there is room for.
    """

    max_commit_seconds: float | None = None
    max_queue_depth: int | None = None
