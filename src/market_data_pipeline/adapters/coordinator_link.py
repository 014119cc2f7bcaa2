"""A write coordinator of market_data_store, watched: what it does not say is found out.

A worker of a coordinator that fails dies without a word and takes its batch along; one
that has been idle may stop taking items for ever; a coordinator without workers lets its
producers wait for ever. Its `health()` and its own counters tell.
"""

from __future__ import annotations

__all__ = ("CoordinatorLink", "WatchSettings")

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from market_data_pipeline.adapters.optional import require_optional
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.pressure import Pressure, PressureLevel
from market_data_pipeline.errors import SinkError

_WAITING_IS_NO_ERROR: Final = "circuit_open"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How closely to watch.

    Attributes:
        poll_s: Seconds between two looks while something waits.
        stall_s: Seconds without a batch written, while items wait, that are a stall.
        stop_s: Seconds to stop.
    """

    poll_s: float = 0.1
    stall_s: float = 30.0
    stop_s: float = 10.0


class CoordinatorLink:
    """Stands between a writer and a coordinator.

    Args:
        coordinator: The coordinator.
        coord_id: Its `coord_id`; coordinators that share one share their counters.
        settings: How closely to watch.
        clock: Time for stalls.

    Attributes:
        coord_id: Its `coord_id`.
        commit_s: Seconds the last write took, None if unknown.
        under_way: Items that are known not to be written yet, beside those in the queue.
    """

    def __init__(
        self, coordinator: Any, coord_id: str, settings: WatchSettings, clock: Clock
    ) -> None:
        self._coordinator = coordinator
        self.coord_id = coord_id
        self._settings = settings
        self._clock = clock
        self.commit_s: float | None = None
        self.under_way = 0
        self._metrics: Any = require_optional(
            "market_data_store.coordinator.metrics", extra="store"
        )
        self._bus: Any = require_optional(
            "market_data_store.coordinator", extra="store"
        ).feedback_bus()
        self._workers = 0
        self._level: PressureLevel | None = None
        self._listener: Callable[[Pressure], None] | None = None
        self._errors_before = self._errors()
        self._dropped_before = self._dropped()
        self._progress = 0.0
        self._progress_s = clock.monotonic()
        self._looked_s = clock.monotonic()

    async def start(self) -> None:
        """Start the coordinator unless it runs, and listen to it.

        Raises:
            SinkError: If it was stopped before: it cannot run again.
        """
        await self._coordinator.start()
        # A worker that was told to stop once ends in its first step.
        for _ in range(3):
            await asyncio.sleep(0)
        self._workers = self._coordinator.health().workers_alive
        if not self._workers:
            msg = (
                f"the coordinator `{self.coord_id}` has no worker alive; one that was stopped "
                "cannot run again: make another one"
            )
            raise SinkError(msg)
        self._bus.subscribe(self._on_feedback)
        self._progressed()

    async def guarded(self, call: Coroutine[Any, Any, None]) -> None:
        """Await a call of the coordinator for as long as it is in health.

        Raises:
            SinkError: If a worker died, or nothing is written any more.
        """
        task = asyncio.get_running_loop().create_task(call)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self._settings.poll_s)
                if not task.done():
                    self.check()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        task.result()

    def check_now_and_then(self) -> None:
        """Check, unless that was done a moment ago.

        Raises:
            SinkError: As `check`.
        """
        now_s = self._clock.monotonic()
        if now_s - self._looked_s >= self._settings.poll_s:
            self._looked_s = now_s
            self.check()

    def check(self) -> None:
        """Look whether all is well.

        Raises:
            SinkError: If a worker died, or nothing is written although items wait.
        """
        health = self._coordinator.health()
        lost = self._workers - health.workers_alive
        if lost > 0:
            msg = (
                f"{lost} of {self._workers} workers of the coordinator `{self.coord_id}` died, "
                f"each with the batch it was writing, and {health.queue_size} items wait; "
                "the store's log says why"
            )
            raise SinkError(msg)
        waiting = max(health.queue_size, self.under_way)
        if self._progressed() or not waiting or health.circuit_state == "open":
            self._progress_s = self._clock.monotonic()
        elif self._clock.monotonic() - self._progress_s >= self._settings.stall_s:
            msg = (
                f"the coordinator `{self.coord_id}` has written nothing for "
                f"{self._settings.stall_s:g} s, and {waiting} items wait: the store hangs, or the "
                "workers were idle for longer than their `flush_interval`, after which they take "
                "nothing any more; against that build it with `from_sink`, or set `guard=True`"
            )
            raise SinkError(msg)

    async def drain(self) -> None:
        """Wait until nothing waits.

        Raises:
            SinkError: If a worker died, or nothing is written any more.
        """
        while self._coordinator.health().queue_size:
            self.check()
            await self._clock.sleep(self._settings.poll_s)
        self.check()

    async def stop(self, *, drain: bool, wake: Coroutine[Any, Any, None] | None = None) -> None:
        """Stop the coordinator.

        Args:
            drain: Whether what waits is written first.
            wake: What runs beside it, to wake workers that wait; cancelled at its end.

        Raises:
            SinkError: If it does not stop, or items were left, or failed to be written.
        """
        self._bus.unsubscribe(self._on_feedback)
        self._workers = 0  # none is missed any more
        timeout_s = self._settings.stop_s
        loop = asyncio.get_running_loop()
        stopping = loop.create_task(self._coordinator.stop(drain=drain, timeout=timeout_s))
        waking = None if wake is None else loop.create_task(wake)
        try:
            # It may take all of its time to drain; then its workers end.
            await asyncio.wait([stopping], timeout=timeout_s * 2)
        finally:
            for task in (stopping, waking):
                if task is not None and not task.done():
                    task.cancel()
                    await asyncio.wait([task])
        if stopping.cancelled():
            msg = (
                f"the coordinator `{self.coord_id}` did not stop within "
                f"{timeout_s * 2:g} s: a write is under way that does not end"
            )
            raise SinkError(msg)
        stopping.result()

    def check_stopped(self) -> None:
        """Look, once it is stopped, whether anything is left.

        Raises:
            SinkError: If items were left, or could not be written.
        """
        left = self._coordinator.health().queue_size
        failed = round(self._errors() - self._errors_before)
        if left or failed:
            msg = (
                f"the coordinator `{self.coord_id}` stopped with {left} items that were not "
                f"written, and {failed} batches that failed; the store's log says why"
            )
            raise SinkError(msg)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        size: int = self._coordinator.health().queue_size
        return size

    def dropped(self) -> int:
        """Return how many items the coordinator has dropped since the last call."""
        dropped = self._dropped()
        fresh = round(dropped - self._dropped_before)
        self._dropped_before = dropped
        return fresh

    def pressure(self) -> Pressure:
        """Return how full it is: what it says itself, and what can be seen."""
        health = self._coordinator.health()
        level = self._level
        if not health.queue_size:
            level = None  # events are told at edges, and the last one may have been missed
        if health.circuit_state == "open" or health.workers_alive < self._workers:
            level = PressureLevel.HARD
        return Pressure(health.queue_size, health.capacity, self.commit_s, level)

    def on_pressure(self, listener: Callable[[Pressure], None] | None) -> None:
        """Call a function for each event of the coordinator; None to stop."""
        self._listener = listener

    async def _on_feedback(self, event: Any) -> None:
        # Awaited under the lock of the queue, so neither this nor the listener may wait.
        if event.coordinator_id != self.coord_id:
            return
        self._level = PressureLevel(getattr(event.level, "value", event.level))
        if self._listener is not None:
            told = Pressure(event.queue_size, event.capacity, self.commit_s, self._level)
            self._listener(told)

    def _progressed(self) -> bool:
        """Tell whether a batch was written since the last call."""
        found = self._total("WORKER_BATCHES_WRITTEN")
        before, self._progress = self._progress, found
        return found != before

    def _errors(self) -> float:
        return self._total("WORKER_WRITE_ERRORS", without=_WAITING_IS_NO_ERROR)

    def _dropped(self) -> float:
        return self._total("COORD_ITEMS_DROPPED")

    def _total(self, name: str, *, without: str = "") -> float:
        return sum(
            float(sample.value)
            for family in getattr(self._metrics, name).collect()
            for sample in family.samples
            if sample.name.endswith("_total")
            and sample.labels.get("coord_id") == self.coord_id
            and sample.labels.get("error_type") != without
        )
