"""What a channel tells of itself: what went through it, and how full it is."""

from __future__ import annotations

__all__ = ("ChannelStatistics", "Pressure")

from dataclasses import dataclass
from enum import StrEnum


class Pressure(StrEnum):
    """How full a channel is, with hysteresis."""

    OK = "ok"
    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What went through a channel.

    At any time `rows_sent == rows_received + rows_dropped + rows_queued`.

    Attributes:
        rows_sent: Rows the sender gave.
        rows_received: Rows the receiver took.
        rows_dropped: Rows shed by the policy.
        rows_queued: Rows in the channel.
        bytes_queued: Bytes in the channel.
        rows_queued_max: Most rows there have been.
        bytes_queued_max: Most bytes there have been.
        waits: Times the sender had to wait.
        pressure: How full it is.
        bytes_received: Bytes the receiver took.
        rows_max: Capacity in rows.
        bytes_max: Capacity in bytes.
    """

    rows_sent: int
    rows_received: int
    rows_dropped: int
    rows_queued: int
    bytes_queued: int
    rows_queued_max: int
    bytes_queued_max: int
    waits: int
    pressure: Pressure
    bytes_received: int = 0
    rows_max: int = 0
    bytes_max: int = 0
