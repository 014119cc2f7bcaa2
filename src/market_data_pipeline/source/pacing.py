"""Rows released as their event time comes."""

from __future__ import annotations

__all__ = ("EventTime", "Pacer", "check_provider")

import asyncio
from typing import Literal

import numpy as np

from market_data_pipeline.batch import Batch
from market_data_pipeline.clock import Clock
from market_data_pipeline.errors import ConfigError


def check_provider(provider: str | None, speed: float | Literal["max"]) -> None:
    """Do nothing if a source that is paced like this can be one of a provider.

    Raises:
        ConfigError: If the name is empty, or there is no rate to take a share of.
    """
    if provider is not None and (not provider.strip() or speed == "max"):
        msg = (
            "`provider` needs a name and a `speed` other than `max`, of which a share can be "
            f"taken; was `{provider}` with `speed: {speed}`"
        )
        raise ConfigError(msg, parameter="provider")


class EventTime:
    """Event time that passes at a rate of the clock's time.

    A source that was held up by who reads it catches up; one that was throttled does not,
    as the provider it stands for would not have been asked.

    Args:
        clock: The time that passes.
        speed: Seconds of event time in one second of the clock.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._full = speed * 1e9
        self._rate = self._full
        self._from_ns: int | None = None
        self._from_s = 0.0
        self._given_ns = 0
        self._changed: asyncio.Event | None = None

    @property
    def is_started(self) -> bool:
        """True once it has begun to pass."""
        return self._from_ns is not None

    def start(self, event_ns: int) -> None:
        """Begin to pass at a time of the data."""
        self._restart(event_ns)

    def now(self) -> int:
        """Return the event time that has come."""
        passed_s = self._clock.monotonic() - self._from_s
        return (self._from_ns or 0) + round(passed_s * self._rate)

    async def until(self, event_ns: int) -> int:
        """Return the event time that has come once it is at least `event_ns`."""
        if self._rate < self._full and event_ns < self._given_ns:
            self._restart(event_ns)
        while (now := self.now()) < event_ns:
            if self._changed is None:
                await self._clock.sleep((event_ns - now) / self._rate)
                # A clock of floats may stop a hair before the moment.
                now = max(self.now(), event_ns)
                break
            await self._sleep(event_ns - now, self._changed)
        self._given_ns = now
        return now

    @property
    def scale(self) -> float:
        """The share of its rate at which it passes."""
        return self._rate / self._full

    def throttle(self, scale: float) -> None:
        """Let event time pass at this share of its rate from now on; with 0 it stands still."""
        if self._changed is None:
            self._changed = asyncio.Event()
        rate = self._full * scale
        if rate == self._rate:
            return
        if self._from_ns is not None:
            # What is due by now and was not given is a debt that a slow reader runs up; to
            # pay it off at once would defeat the throttle.
            self._restart(min(self.now(), self._given_ns) if scale < 1 else self.now())
        self._rate = rate
        self._changed.set()

    def _restart(self, event_ns: int) -> None:
        self._from_ns = self._given_ns = event_ns
        self._from_s = self._clock.monotonic()

    async def _sleep(self, left_ns: int, changed: asyncio.Event) -> None:
        """Sleep until the time has come or the rate has changed."""
        changed.clear()
        if not self._rate:
            await changed.wait()
            return
        async with asyncio.TaskGroup() as group:
            sleeping = group.create_task(self._clock.sleep(left_ns / self._rate + 1e-9))
            woken = group.create_task(changed.wait())
            await asyncio.wait((sleeping, woken), return_when=asyncio.FIRST_COMPLETED)
            sleeping.cancel()
            woken.cancel()


class Pacer:
    """Lets event time pass at a rate of the clock's time, from the first row on.

    A row is due once the highest event time up to it has come, so rows keep their order.

    Args:
        clock: The time that passes.
        speed: Seconds of event time in one second of the clock.

    Attributes:
        time: The event time that passes.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        self.time = EventTime(clock, speed)
        self._highest = 0

    async def wait(self, batch: Batch) -> int:
        """Return once the first rows of a batch are due.

        Args:
            batch: At least one row, following those that were released.

        Returns:
            How many rows are due, at least one.
        """
        keys = np.maximum.accumulate(batch.times)
        if not self.time.is_started:
            self._highest = int(keys[0])
            self.time.start(self._highest)
        np.maximum(keys, self._highest, out=keys)
        due = await self.time.until(int(keys[0]))
        rows = int(np.searchsorted(keys, due, "right"))
        self._highest = int(keys[rows - 1])
        return rows
