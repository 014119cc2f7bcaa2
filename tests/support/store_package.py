"""A stand-in for market_data_store: its coordinator, as it behaves when it is well or ill."""

from __future__ import annotations

__all__ = ("Coordinator", "install_store")

import asyncio
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Counter:
    """A counter of Prometheus, as far as it is read."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = {}

    def add(self, coord_id: str, error_type: str = "") -> None:
        key = coord_id, error_type
        self.values[key] = self.values.get(key, 0) + 1

    def collect(self) -> list[Any]:
        samples = [
            SimpleNamespace(
                name="x_total", labels={"coord_id": c, "error_type": kind}, value=value
            )
            for (c, kind), value in self.values.items()
        ]
        return [SimpleNamespace(samples=samples)]


class Bus:
    def __init__(self) -> None:
        self.listeners: list[Any] = []

    def subscribe(self, listener: Any) -> None:
        self.listeners.append(listener)

    def unsubscribe(self, listener: Any) -> None:
        if listener in self.listeners:
            self.listeners.remove(listener)

    async def publish(self, **event: Any) -> None:
        for listener in list(self.listeners):
            await listener(SimpleNamespace(**event))


class Coordinator:
    """One worker, items one by one; dies of a failure, or stalls, as the real one does.

    Attributes:
        stalls: Whether it takes nothing from its queue.
        state: What its circuit breaker says.
    """

    def __init__(self, package: Any, sink: Any, **settings: Any) -> None:
        self._package = package
        self._sink = sink
        self._capacity: int = settings.get("capacity", 10)
        self._id: str = settings.get("coord_id", "default")
        self._queue: asyncio.Queue[Any] = asyncio.Queue(self._capacity)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stalls = False
        self.state = "closed"

    async def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while not self._stop.is_set():
            if self.stalls:
                await self._stop.wait()
                return
            item = await self._queue.get()
            try:
                await self._sink.write([item])
            except Exception as err:
                self._package.metrics.WORKER_WRITE_ERRORS.add(self._id, type(err).__name__)
                raise
            self._package.metrics.WORKER_BATCHES_WRITTEN.add(self._id)

    async def submit(self, item: Any) -> None:
        await self._queue.put(item)

    async def submit_many(self, items: Sequence[Any]) -> None:
        for item in items:
            await self.submit(item)

    def health(self) -> Any:
        alive = self._task is not None and not self._task.done()
        return SimpleNamespace(
            workers_alive=int(alive),
            queue_size=self._queue.qsize(),
            capacity=self._capacity,
            circuit_state=self.state,
        )

    async def stop(self, *, drain: bool, timeout: float) -> None:  # noqa: ASYNC109
        self._stop.set()
        if self._task is not None:
            if not self._queue.qsize():
                self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()


def install_store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put the stand-in where the package is looked for; return what the tests look at."""
    metrics: Any = ModuleType("market_data_store.coordinator.metrics")
    metrics.WORKER_BATCHES_WRITTEN = Counter()
    metrics.WORKER_WRITE_ERRORS = Counter()
    metrics.COORD_ITEMS_DROPPED = Counter()
    package = SimpleNamespace(metrics=metrics, bus=Bus())
    coordinator: Any = ModuleType("market_data_store.coordinator")

    def classify(err: Exception) -> bool:
        return "busy" in str(err)

    def write_coordinator(*, sink: Any, **settings: Any) -> Coordinator:
        return Coordinator(package, sink, **settings)

    coordinator.WriteCoordinator = write_coordinator
    coordinator.RetryPolicy = lambda: SimpleNamespace(
        max_attempts=3, classify_retryable=classify, next_backoff_ms=lambda attempt: 50 * attempt
    )
    coordinator.feedback_bus = lambda: package.bus
    parent = ModuleType("market_data_store")
    for module in (parent, coordinator, metrics):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    make: Callable[..., Coordinator] = write_coordinator
    package.make = make
    return package
