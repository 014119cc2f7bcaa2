"""How many replicas the work of this one is worth: figures for KEDA and HPA.

Three questions, each a number from 0 to 1, each about the last minute:

- **saturation**: how busy are we? The share of time in which operators worked. A queue
  that is full in front of an operator counts as far as the operator was not held up by
  what comes after it.
- **store_saturation**: how busy is the store? What a sink says of itself (`Pressure`), and
  the share of time in which it waited for a write, as far as we had nothing else to do or
  those that feed it had no room in front of it.
- **pending**: how long would it take to catch up? Rows that wait, divided by the rows that
  are read in a second; or, for a live feed, by how much it is further behind the wall clock
  than at its best. 60 seconds and more count as 1.

The **hint** is how many replicas the work of this one is worth. With x = saturation / 0.7:

    wanted = x                                          while x <= 1
    wanted = x + 2 * pending * (x - 1) / (1 / 0.7 - 1)  above
    most   = 1 + 3 * clip((0.8 - store_saturation) / 0.3, 0, 1)
    hint   = min(wanted, most)

So it is above 1 only where we are busy: a provider that gives no more, a feed that is
quiet or delayed, do not raise it. And it is at most 1 where the store is the bottleneck:
more replicas would only wait in front of it. The sum of the hints of all replicas, rounded
up, is how many there should be.
"""

from __future__ import annotations

__all__ = ("HINT_MAX", "Load", "Scaling", "ScalingWindow", "hint_of")

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.pressure import Pressure, PressureLevel

TARGET: Final = 0.7
PENDING_S: Final = 60.0
STORE_FREE: Final = 0.5
STORE_FULL: Final = 0.8
HINT_MAX: Final = 4.0
_PENDING_WEIGHT: Final = 2.0
WINDOW_S: Final = 60.0
_LIVE_WITHIN_S: Final = 86_400.0
_LEVELS: Final = {PressureLevel.OK: 0.0, PressureLevel.SOFT: 0.5, PressureLevel.HARD: 1.0}


@dataclass(frozen=True, slots=True)
class Load:
    """How a replica is doing; see the module.

    Attributes:
        saturation: Share of our own capacity that is used, 0 to 1.
        store_saturation: Share of the store's capacity that is used, 0 to 1.
        pending_s: Seconds it would take to catch up; infinite if nothing moves.
    """

    saturation: float
    store_saturation: float
    pending_s: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """What an autoscaler may look at.

    Attributes:
        backlog_rows: Rows that wait: upstream, as far as sources know, and in the graph.
        lag_s: How far a live feed is behind the wall clock; 0 for one that is not live.
        load: How busy we and the store are.
        hint: How many replicas the work of this one is worth.
    """

    backlog_rows: int
    lag_s: float
    load: Load
    hint: float


def hint_of(load: Load) -> float:
    """Return how many replicas the work of one is worth, 0 to `HINT_MAX`."""
    wanted = load.saturation / TARGET
    if wanted > 1:
        pending = _clip(load.pending_s / PENDING_S)
        wanted += _PENDING_WEIGHT * pending * (wanted - 1) / (1 / TARGET - 1)
    free = _clip((STORE_FULL - load.store_saturation) / (STORE_FULL - STORE_FREE))
    return min(wanted, 1 + (HINT_MAX - 1) * free)


class ScalingWindow:
    """Remembers the figures of the last minute, of which rates are made.

    Args:
        window_s: Over how long a time shares and rates are taken.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, Mapping[str, NodeFigures]]] = deque()
        self._best_behind_s: dict[str, float] = {}

    def look(
        self,
        now_s: float,
        nodes: Mapping[str, NodeFigures],
        pressures: Mapping[str, Pressure],
    ) -> Scaling:
        """Return what is to be told, and remember these figures for the next time.

        Args:
            now_s: Time of a monotonic clock.
            nodes: The figures of the nodes.
            pressures: How full the sinks are, of those that tell it.
        """
        began_s, before = self._since(now_s, nodes)
        passed_s = now_s - began_s
        lag_s, behind_s = self._lag(nodes)
        waiting = sum(node.queue_rows + (node.backlog or 0) for node in nodes.values())
        if passed_s <= 0:
            return Scaling(waiting, lag_s, Load(0.0, 0.0, 0.0), 0.0)
        shares = {
            name: _Share.between(before.get(name), node, passed_s) for name, node in nodes.items()
        }
        busy = sum(shares[n.node].busy for n in nodes.values() if n.kind == "operator")
        load = Load(
            _own_saturation(nodes, shares, busy),
            _store_saturation(nodes, shares, busy, pressures),
            max(_drain_s(waiting, _rows_read(before, nodes) / passed_s), behind_s),
        )
        return Scaling(waiting, lag_s, load, hint_of(load))

    def _since(
        self, now_s: float, nodes: Mapping[str, NodeFigures]
    ) -> tuple[float, Mapping[str, NodeFigures]]:
        """Return the oldest figures of the last minute, or the last ones before it."""
        seen = self._seen
        if seen and now_s - seen[-1][0] < 1:
            # Asked again at once, as by two scrapers: the window must not become empty.
            return seen[0]
        while len(seen) > 1 and now_s - seen[1][0] >= self._window_s:
            seen.popleft()
        seen.append((now_s, nodes))
        return seen[0]

    def _lag(self, nodes: Mapping[str, NodeFigures]) -> tuple[float, float]:
        """Return how far live feeds are behind, and by how much more than at their best."""
        lag_s = excess_s = 0.0
        for node in nodes.values():
            if node.kind != "source" or node.behind_ns is None or node.state == "ended":
                continue
            behind_s = max(0.0, node.behind_ns / 1e9)
            if behind_s > _LIVE_WITHIN_S or node.state == "idle":
                continue
            best = min(behind_s, self._best_behind_s.get(node.node, behind_s))
            self._best_behind_s[node.node] = best
            lag_s = max(lag_s, behind_s)
            excess_s = max(excess_s, behind_s - best)
        return lag_s, excess_s


@dataclass(frozen=True, slots=True)
class _Share:
    """Shares of a stretch of time in which a node worked, and waited for room."""

    busy: float
    blocked: float

    @classmethod
    def between(cls, before: NodeFigures | None, now: NodeFigures, passed_s: float) -> _Share:
        busy_s, blocked_s = (0.0, 0.0) if before is None else (before.busy_s, before.blocked_s)
        return cls(
            _clip((now.busy_s - busy_s) / passed_s), _clip((now.blocked_s - blocked_s) / passed_s)
        )


def _own_saturation(
    nodes: Mapping[str, NodeFigures], shares: Mapping[str, _Share], busy: float
) -> float:
    fills = (
        node.fill * (1 - shares[name].blocked)
        for name, node in nodes.items()
        if node.kind == "operator"
    )
    return _clip(max(busy, *fills, 0.0))


def _store_saturation(
    nodes: Mapping[str, NodeFigures],
    shares: Mapping[str, _Share],
    busy: float,
    pressures: Mapping[str, Pressure],
) -> float:
    told = [
        max(pressure.saturation, 0.0 if pressure.level is None else _LEVELS[pressure.level])
        for pressure in pressures.values()
    ]
    seen = [
        _held_up(node, shares, busy) * shares[name].busy
        for name, node in nodes.items()
        if node.kind == "sink"
    ]
    return _clip(max([0.0, *told, *seen]))


def _held_up(sink: NodeFigures, shares: Mapping[str, _Share], busy: float) -> float:
    """Return how much of the time that a sink waits is the store's, 0 to 1.

    A sink waits for its turn as well as for the store, and where operators keep the loop
    busy that much of its waiting is ours. But where those that feed it have no room in
    front of it for all of the time in which they do not work, it is the store.
    """
    idle = 1 - busy
    if idle <= 0:
        return sink.fill
    blocked = max((shares[name].blocked for name in sink.inputs if name in shares), default=0.0)
    own = shares[sink.node].busy
    waits = (own - busy) / own if own > 0 else 0.0
    return _clip(max(sink.fill, waits, blocked / idle))


def _rows_read(before: Mapping[str, NodeFigures], nodes: Mapping[str, NodeFigures]) -> int:
    return sum(
        node.rows_in - (before[name].rows_in if name in before else 0)
        for name, node in nodes.items()
        if node.kind == "source"
    )


def _drain_s(waiting: int, rows_per_s: float) -> float:
    if waiting <= 0:
        return 0.0
    return waiting / rows_per_s if rows_per_s > 0 else math.inf


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
