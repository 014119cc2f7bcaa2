"""What travels on an edge besides batches: progress, states, barriers, idleness, the end."""

from __future__ import annotations

__all__ = ("END", "NOTHING_NEW", "Barrier", "End", "Idle", "Message", "Status", "Watermark")

from dataclasses import dataclass
from typing import Any, Final, final

from market_data_pipeline.batch import TIME_MIN, Batch


@final
@dataclass(frozen=True, slots=True)
class Watermark:
    """No more rows with event time below `time` are expected.

    A batch carries its own watermark; this message stands alone where progress was made
    without rows, as when a filter let none pass.

    Attributes:
        time: Nanoseconds since the UNIX epoch, UTC.
    """

    time: int


NOTHING_NEW: Final = Watermark(TIME_MIN)
"""Told to a receiver that asked to be woken, where nothing has come."""


@final
@dataclass(frozen=True, slots=True)
class Status:
    """From event time `time` on the input, or one key of it, is in a state.

    Travels in order with batches and is never dropped. It makes no progress: whoever knows
    that no more rows below a time will come says so with a `Watermark`.

    Attributes:
        state: One word; which words there are, sources and operators know.
        time: Event time from which on it holds, nanoseconds since the UNIX epoch, UTC.
        key: Name of the key it is about, None for the whole input.
        until: Event time at which it is known to end, None if that is not known.
    """

    state: str
    time: int
    key: str | None = None
    until: int | None = None

    def to_list(self) -> list[Any]:
        """Return it as plain data, from which `Status(*data)` makes it again."""
        return [str(self.state), self.time, self.key, self.until]


@final
@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before this belongs to epoch `epoch` or an earlier one.

    Attributes:
        epoch: Number of the epoch that ends here, from 1.
    """

    epoch: int


@final
@dataclass(frozen=True, slots=True)
class Idle:
    """The input has nothing to say for now; others need not wait for its watermark."""


@final
@dataclass(frozen=True, slots=True)
class End:
    """The input has come to its regular end. A failure is never told this way."""


END: Final = End()

Message = Batch | Watermark | Status | Barrier | Idle | End
