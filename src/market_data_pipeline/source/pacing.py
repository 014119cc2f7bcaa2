"""Rows released as their event time comes."""

from __future__ import annotations

__all__ = ("Pacer",)

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock


class Pacer:
    """Lets event time pass at a rate of the clock's time, from the first row on.

    A row is due once the highest event time up to it has come, so rows keep their order.

    Args:
        clock: The time that passes.
        speed: Seconds of event time in one second of the clock.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._rate = speed * 1e9
        self._first_event: int | None = None
        self._first_s = 0.0
        self._highest = 0

    async def wait(self, batch: Batch) -> int:
        """Return once the first rows of a batch are due.

        Args:
            batch: At least one row, following those that were released.

        Returns:
            How many rows are due, at least one.
        """
        keys = np.maximum.accumulate(batch.times)
        if self._first_event is None:
            self._first_event = self._highest = int(keys[0])
            self._first_s = self._clock.monotonic()
        np.maximum(keys, self._highest, out=keys)
        due = self._due()
        if due < keys[0]:
            await self._clock.sleep((int(keys[0]) - due) / self._rate)
            # A clock of floats may stop a hair before the moment.
            due = max(self._due(), int(keys[0]))
        rows = int(np.searchsorted(keys, due, "right"))
        self._highest = int(keys[rows - 1])
        return rows

    def _due(self) -> int:
        passed_s = self._clock.monotonic() - self._first_s
        return (self._first_event or 0) + int(passed_s * self._rate)
