"""What a source of quotes can do, and how it fares."""

from __future__ import annotations

__all__ = ("SourceCapabilities", "SourceHealth", "SourceSLA")

from dataclasses import dataclass
from datetime import datetime
from enum import Flag, auto


class SourceCapabilities(Flag):
    """What a source gives."""

    TRADES = auto()
    QUOTES = auto()
    BOOK = auto()
    OPTIONS = auto()
    SNAPSHOTS = auto()


@dataclass(frozen=True)
class SourceHealth:
    """How a source fares.

    Attributes:
        connected: True while it gives quotes.
        last_tick_at: Event time of the last quote, None if there was none.
        lag_seconds: How old that was when it came, None if unknown.
        reconnect_count: How often it connected again.
        detail: What is worth saying of it, empty if nothing is.
    """

    connected: bool
    last_tick_at: datetime | None = None
    lag_seconds: float | None = None
    reconnect_count: int = 0
    detail: str = ""


@dataclass(frozen=True)
class SourceSLA:
    """What is expected of a source.

    Attributes:
        max_lag_seconds: How old a quote may be, None for any age.
        min_ticks_per_sec: How many quotes must come, None for any number.
    """

    max_lag_seconds: float | None = None
    min_ticks_per_sec: float | None = None
