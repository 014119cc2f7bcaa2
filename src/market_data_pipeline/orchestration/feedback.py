"""The loop from the store back to the provider: looks, decides, and sets the scale.

It looks at the sinks of all runs a few times a second, and at once when a sink pushes an
event. A provider is throttled by the worst of the sinks that its sources feed, so a store
that is slow slows down only who feeds it.
"""

from __future__ import annotations

__all__ = ("FeedbackLoop", "FeedbackState", "ProviderFigures", "SinkFigures")

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from market_data_pipeline.clock import Clock, SystemClock
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.pressure import (
    Pressure,
    PressureLevel,
    PressurePublisher,
    ThrottledReader,
)
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.orchestration.coordinator import RateCoordinator
from market_data_pipeline.orchestration.settings import FeedbackSettings
from market_data_pipeline.orchestration.sink_watch import SinkWatch
from market_data_pipeline.orchestration.throttling import (
    Reading,
    Throttle,
    next_throttle,
    worst,
)

_LOOKS_AT_ONCE_S: Final = 0.01
"""However many events are pushed, looks are at least so far apart."""


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """What holds for a provider, and why.

    Attributes:
        scale: Share of its budget it may use, 0 (paused) to 1.
        level: What the stores it feeds ask for.
        reason: Why, in words.
        ceiling: The scale that the stores are thought to be able to serve.
        sources: Its sources, as (key of the pipeline, node).
    """

    scale: float
    level: PressureLevel
    reason: str
    ceiling: float
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SinkFigures:
    """What a sink told last.

    Attributes:
        level: What it asks for.
        saturation: Share of its capacity, and of the room in front of it, that is taken.
        commit_s: Seconds its last commit took, None if unknown.
        providers: The providers that are throttled by it.
    """

    level: PressureLevel
    saturation: float
    commit_s: float | None
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedbackState:
    """What the loop knows and has decided.

    Attributes:
        providers: By name.
        sinks: By (key of the pipeline, node).
        looks: How often it has looked.
        events: Events that were taken.
        events_lost: Events that were forgotten because too many came at once.
    """

    providers: Mapping[str, ProviderFigures]
    sinks: Mapping[tuple[str, str], SinkFigures]
    looks: int
    events: int
    events_lost: int


@dataclass(slots=True)
class _Watched:
    """A run, its sinks, and the sources that can be slowed down."""

    run: Run
    is_open: bool = False
    sinks: dict[str, SinkWatch] = field(default_factory=dict)
    sources: dict[str, ThrottledReader] = field(default_factory=dict)
    feeds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    publishers: list[PressurePublisher] = field(default_factory=list)


class FeedbackLoop:
    """Throttles providers by what the stores they feed can take.

    It works while there is a run to look after. Should it fail, every provider gets its
    whole budget back, and channels alone hold rows up.

    Args:
        coordinator: Is told the scale of each provider.
        settings: Thresholds and steps.
        clock: The time that passes; the machine's by default.

    Attributes:
        failure: What it failed of; None while it works.
    """

    def __init__(
        self,
        coordinator: RateCoordinator,
        settings: FeedbackSettings | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._settings = settings or FeedbackSettings()
        self._clock = clock or SystemClock()
        self._watched: dict[str, _Watched] = {}
        self._throttles: dict[str, Throttle] = {}
        self._events: deque[tuple[str, str, Pressure]] = deque()
        self._taken = 0
        self._lost = 0
        self._looks = 0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.failure: BaseException | None = None

    @asynccontextmanager
    async def watch(self, key: str, run: Run) -> AsyncIterator[None]:
        """Look after a run within a block.

        Args:
            key: What the run is called.
            run: The run, before it begins.
        """
        watched = self._watched[key] = _Watched(run)
        if self._task is None:
            self.failure = None
            self._task = asyncio.get_running_loop().create_task(self.run(), name="mdp feedback")
            self._task.add_done_callback(self._ended)
        try:
            yield
        finally:
            del self._watched[key]
            if not self._watched:
                await self._end()
            for publisher in watched.publishers:
                publisher.on_pressure(None)
            for reader in watched.sources.values():
                self._coordinator.detach(reader)
            self._forget_providers()

    def put_nowait(self, key: str, node: str, pressure: Pressure) -> None:
        """Take an event: a sink's pressure has changed. Never waits; from any thread.

        Args:
            key: What the run is called.
            node: The sink.
            pressure: What it tells.
        """
        if len(self._events) >= self._settings.events_max:
            self._events.popleft()
            self._lost += 1
        self._events.append((key, node, pressure))
        task = self._task
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Look and decide until cancelled."""
        try:
            while True:
                self.look()
                async with asyncio.TaskGroup() as group:
                    sleeping = group.create_task(self._clock.sleep(self._settings.interval_s))
                    woken = group.create_task(self._wake.wait())
                    await asyncio.wait((sleeping, woken), return_when=asyncio.FIRST_COMPLETED)
                    sleeping.cancel()
                    woken.cancel()
                if self._wake.is_set():
                    self._wake.clear()
                    await self._clock.sleep(_LOOKS_AT_ONCE_S)
        finally:
            for provider in self._throttles:
                self._coordinator.set_scale(provider, 1.0)
            self._throttles.clear()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failure = task.exception()

    def look(self) -> None:
        """Look at all sinks once, decide, and set the scales."""
        self._looks += 1
        at_s = self._clock.monotonic()
        for key, watched in self._watched.items():
            if not watched.is_open and watched.run.phase == "running":
                self._open(key, watched)
        self._take_events(at_s)
        asked: dict[str, list[tuple[PressureLevel, str, Reading]]] = {}
        for watched in self._watched.values():
            if watched.sinks:
                figures, pressures = watched.run.nodes(), watched.run.pressures()
                for node, sink in watched.sinks.items():
                    found = sink.look(figures[node], pressures.get(node), at_s, self._settings)
                    for provider in watched.feeds[node]:
                        asked.setdefault(provider, []).append(found)
        for provider, readings in asked.items():
            level, why, reading = worst(readings)
            before = self._throttles.get(provider, Throttle())
            now = next_throttle(before, level, why, reading, at_s, self._settings)
            self._throttles[provider] = now
            if now.scale != before.scale or now.level is not before.level:
                self._coordinator.set_scale(provider, now.scale, level=now.level)

    def state(self) -> FeedbackState:
        """Return what is known and decided, for those who show it."""
        sources: dict[str, list[tuple[str, str]]] = {name: [] for name in self._throttles}
        sinks: dict[tuple[str, str], SinkFigures] = {}
        for key, watched in self._watched.items():
            for node, reader in watched.sources.items():
                sources.setdefault(reader.provider, []).append((key, node))
            for node, sink in watched.sinks.items():
                sinks[key, node] = SinkFigures(
                    sink.level, sink.saturation, sink.commit_s, watched.feeds[node]
                )
        providers = {
            name: ProviderFigures(
                self._coordinator.scale(name), t.level, t.reason, t.ceiling, tuple(found)
            )
            for name, found in sources.items()
            for t in (self._throttles.get(name, Throttle()),)
        }
        return FeedbackState(providers, sinks, self._looks, self._taken, self._lost)

    def _open(self, key: str, watched: _Watched) -> None:
        """Find out who feeds whom, once the nodes of a run are open."""
        watched.is_open = True
        run = watched.run
        watched.sources = run.throttled()
        for node, above in _sources_of_sinks(run.dag).items():
            providers = {watched.sources[s].provider for s in above if s in watched.sources}
            if providers:
                watched.sinks[node] = SinkWatch(node)
                watched.feeds[node] = tuple(sorted(providers))
        for reader in watched.sources.values():
            self._coordinator.attach(reader)
        for node, publisher in run.publishers().items():
            if node in watched.sinks:
                publisher.on_pressure(partial(self.put_nowait, key, node))
                watched.publishers.append(publisher)

    def _take_events(self, at_s: float) -> None:
        while self._events:
            key, node, pressure = self._events.popleft()
            self._taken += 1
            sink = self._watched[key].sinks.get(node) if key in self._watched else None
            if sink is not None:
                sink.told(pressure, at_s)

    def _forget_providers(self) -> None:
        left = {r.provider for w in self._watched.values() for r in w.sources.values()}
        self._throttles = {name: t for name, t in self._throttles.items() if name in left}


def _sources_of_sinks(dag: Dag) -> dict[str, set[str]]:
    """Return the sources whose rows come to each sink."""
    above: dict[str, set[str]] = {}
    for node in dag.order():
        above[node.name] = {node.name} if node.kind == "source" else set()
        above[node.name].update(*(above[edge.node] for edge in node.inputs))
    return {node.name: above[node.name] for node in dag.order() if node.kind == "sink"}
