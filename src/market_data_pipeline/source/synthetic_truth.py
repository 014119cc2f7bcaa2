"""What is planted in a synthetic market, so that what a pipeline finds can be scored."""

from __future__ import annotations

__all__ = ("SequenceGap", "SyntheticTruth", "is_too_late")

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from market_data_pipeline.durations import duration_ns

Int64s: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """Rows of one symbol that never arrive.

    Attributes:
        symbol: The symbol.
        first: First sequence number that is missing.
        last: Last sequence number that is missing.
    """

    symbol: str
    first: int
    last: int

    @property
    def missing(self) -> int:
        """How many sequence numbers are missing."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class SyntheticTruth:
    """What was planted, known from how the rows were made.

    Attributes:
        rows: Rows that arrive, second copies included.
        duplicates: Second copies among them.
        disordered: Rows older than one that arrived before them, for whatever reason.
        late: Rows older than the newest by more than the source's bound.
        gap: The rows that never arrive, or None.
    """

    rows: int
    duplicates: int
    disordered: int
    late: int
    gap: SequenceGap | None
    late_times: Int64s = field(repr=False, compare=False)
    late_watermarks: Int64s = field(repr=False, compare=False)

    def late_for(self, every: str) -> int:
        """Return the rows that arrive after their window of length `every` was complete.

        Args:
            every: Length of windows that start at the epoch.
        """
        return int(np.count_nonzero(is_too_late(self.late_times, self.late_watermarks, every)))


def is_too_late(times: Int64s, watermarks: Int64s, every: str) -> npt.NDArray[np.bool_]:
    """Tell of rows whether they come after their window of length `every` was complete."""
    every_ns = duration_ns(every)
    late: npt.NDArray[np.bool_] = times - times % every_ns + every_ns <= watermarks
    return late
