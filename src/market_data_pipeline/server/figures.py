"""What the page, `/graph` and `mdp top` show of the pipelines, as plain data."""

from __future__ import annotations

__all__ = ("Observer",)

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from market_data_pipeline.batch import TIME_MAX, TIME_MIN
from market_data_pipeline.clock import Clock
from market_data_pipeline.dag.component import type_name_of
from market_data_pipeline.dag.figures import NodeFigures
from market_data_pipeline.dag.graph import Dag
from market_data_pipeline.dag.pressure import Pressure
from market_data_pipeline.dag.runtime import Run
from market_data_pipeline.orchestration.jobs import JobStatus
from market_data_pipeline.orchestration.runtime import PipelineRuntime
from market_data_pipeline.redaction import redacted
from market_data_pipeline.spec.layers import lay_out
from market_data_pipeline.spec.node_labels import clip, one_line, settings_line

_RATE_OVER_S: Final = 2.0
_RATE_FROM_S: Final = 0.4
_HISTORY: Final = 240
_JOBS_MAX: Final = 200
_TEXT_MAX: Final = 2_000
_NAME_MAX: Final = 200
_LIVE: Final = frozenset({"starting", "running", "stopping"})


@dataclass(slots=True)
class _Rate:
    """Counts of the last seconds, and how fast they grow."""

    marks: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)

    def take(self, now: float, counts: dict[str, int]) -> dict[str, float]:
        self.marks.append((now, counts))
        while len(self.marks) > 2 and now - self.marks[1][0] >= _RATE_OVER_S:
            self.marks.popleft()
        since, before = self.marks[0]
        seconds = now - since
        if seconds < _RATE_FROM_S:
            return dict.fromkeys(counts, 0.0)
        return {
            name: round(max(0, count - before.get(name, 0)) / seconds, 1)
            for name, count in counts.items()
        }


@dataclass(slots=True)
class _Watched:
    """A pipeline that has been seen before."""

    run: Run | None
    shape: dict[str, Any] | None = None
    rate: _Rate = field(default_factory=_Rate)
    history: deque[tuple[int, float, float]] = field(
        default_factory=lambda: deque(maxlen=_HISTORY)
    )


class Observer:
    """Looks at a runtime, and remembers as much as rates and a short history need.

    Args:
        runtime: The runtime.
        version: The version to show.
        clock: Time outside the data.
    """

    def __init__(self, runtime: PipelineRuntime, version: str, clock: Clock) -> None:
        self._runtime = runtime
        self._version = version
        self._clock = clock
        self._began_ns = clock.now_ns()
        self._watched: dict[str, _Watched] = {}

    def look(self) -> dict[str, Any]:
        """Return how everything is now, and remember it. Never waits."""
        now_ns, now = self._clock.now_ns(), self._clock.monotonic()
        statuses = self._runtime.list()[-_JOBS_MAX:]
        gone = self._watched.keys() - {status.key for status in statuses}
        for key in gone:
            del self._watched[key]
        health = self._runtime.health()
        return {
            "at_ns": now_ns,
            "began_ns": self._began_ns,
            "version": self._version,
            "health": {
                "ready": health.ready,
                "live": health.live,
                "problems": [_text(problem) for problem in health.problems],
            },
            "jobs": [self._job(status, now, now_ns) for status in statuses],
        }

    def history(self) -> dict[str, dict[str, list[float]]]:
        """Return the rows a second of the last minutes, by pipeline."""
        return {
            key: {
                "at_ms": [at for at, _, _ in watched.history],
                "in": [rows for _, rows, _ in watched.history],
                "out": [rows for _, _, rows in watched.history],
            }
            for key, watched in self._watched.items()
        }

    def _job(self, status: JobStatus, now: float, now_ns: int) -> dict[str, Any]:
        watched = self._watched.get(status.key)
        if watched is None or watched.run is not status.run:
            watched = self._watched[status.key] = _Watched(status.run)
        told = {
            "key": status.key,
            "name": one_line(status.name)[:_NAME_MAX],
            "kind": status.kind,
            "state": status.state,
            "since_ns": status.since_ns,
            "error": None if status.error is None else _text(status.error),
        }
        run = status.run
        if run is None:
            return {**told, "nodes": [], "edges": [], "rates": {"in": 0.0, "out": 0.0}}
        if watched.shape is None:
            watched.shape = shape_of(run.dag)
        figures = run.nodes()
        rates = watched.rate.take(now, _counts(figures))
        pressures = run.pressures()
        live = status.state in _LIVE
        if not live:
            rates = dict.fromkeys(rates, 0.0)
        nodes = [
            {**drawn, **_node(figures[drawn["name"]], rates, pressures.get(drawn["name"]))}
            for drawn in watched.shape["nodes"]
            if drawn["name"] in figures
        ]
        self._add_scales(run, nodes)
        sums = _sums(nodes)
        if live:
            watched.history.append((now_ns // 1_000_000, sums["in"], sums["out"]))
        return {
            **told,
            "layers": watched.shape["layers"],
            "rows": watched.shape["rows"],
            "nodes": nodes,
            "edges": _edges(run, watched.shape["edges"]),
            "fraction": run.fraction() if live else None,
            "rates": {"in": sums["in"], "out": sums["out"]},
            "totals": _totals(nodes),
            "lag_s": max((n["lag_s"] for n in nodes if n["lag_s"] is not None), default=None),
        }

    def _add_scales(self, run: Run, nodes: list[dict[str, Any]]) -> None:
        """Tell of sources with a pace how much of it they may have, and by whose word."""
        coordinator = self._runtime.coordinator
        if coordinator is None:
            return
        readers = run.throttled()
        for node in nodes:
            reader = readers.get(node["name"])
            if reader is not None:
                node["scale"] = coordinator.limit(reader)
                node["throttle"] = round(coordinator.scale(reader.provider), 4)


def shape_of(dag: Dag) -> dict[str, Any]:
    """Return what of a graph does not change while it runs: nodes and edges, with places."""
    layout = lay_out(dag)
    nodes = []
    for node in dag.nodes.values():
        layer, row = layout.places[node.name]
        nodes.append(
            {
                "name": one_line(node.name)[:_NAME_MAX],
                "kind": node.kind,
                "type": type_name_of(node.component),
                "settings": settings_line(node),
                "layer": layer,
                "row": row,
            }
        )
    edges = [
        {
            "from": route.edge.node,
            "port": route.edge.port,
            "to": route.reader,
            "into": route.edge.into,
            "policy": route.edge.policy,
            "side": route.edge.port in dag.nodes[route.edge.node].side_outputs,
            "rows_max": route.edge.rows,
            "bytes_max": route.edge.bytes,
            "points": [list(point) for point in route.points],
        }
        for route in layout.routes
    ]
    return {"nodes": nodes, "edges": edges, "layers": layout.layers, "rows": layout.rows}


def _edges(run: Run, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    channels = run.edges()
    edges = []
    for edge in drawn:
        found = channels.get((edge["to"], (edge["from"], edge["port"])))
        figures: dict[str, Any] = {}
        if found is not None:
            fill = max(
                found.rows_queued / max(1, edge["rows_max"]),
                found.bytes_queued / max(1, edge["bytes_max"]),
            )
            figures = {
                "queued": found.rows_queued,
                "queued_bytes": found.bytes_queued,
                "fill": round(min(1.0, fill), 4),
                "sent": found.rows_sent,
                "dropped": found.rows_dropped,
                "waits": found.waits,
                "pressure": str(found.pressure),
            }
        edges.append({**edge, **figures})
    return edges


def _node(
    seen: NodeFigures, rates: Mapping[str, float], pressure: Pressure | None
) -> dict[str, Any]:
    return {
        "state": seen.state,
        "in": seen.rows_in,
        "out": seen.rows_out,
        "created": seen.created,
        "held": seen.held,
        "in_rate": rates.get(f"{seen.node} in", 0.0),
        "out_rate": rates.get(f"{seen.node} out", 0.0),
        "reasons": dict(seen.reasons),
        "marks": dict(seen.marks),
        "watermark_ns": _time(seen.watermark_ns),
        "lag_s": None if seen.lag_ns is None else round(seen.lag_ns / 1e9, 3),
        "behind_s": None if seen.behind_ns is None else round(seen.behind_ns / 1e9, 1),
        "busy_s": round(seen.busy_s, 4),
        "blocked_s": round(seen.blocked_s, 4),
        "backlog": seen.backlog,
        "busy": round(min(1.0, rates.get(f"{seen.node} busy_us", 0.0) / 1e6), 3),
        "queue_rows": seen.queue_rows,
        "fill": round(seen.fill, 4),
        "pressure": None if pressure is None else _pressure(pressure),
        "error": None if seen.error is None else _text(seen.error),
    }


def _pressure(pressure: Pressure) -> dict[str, Any]:
    return {
        "level": None if pressure.level is None else str(pressure.level),
        "saturation": round(pressure.saturation, 4),
        "commit_s": None if pressure.commit_s is None else round(pressure.commit_s, 6),
    }


def _counts(figures: Mapping[str, NodeFigures]) -> dict[str, int]:
    counts = {}
    for name, seen in figures.items():
        counts[f"{name} in"] = seen.rows_in
        counts[f"{name} out"] = seen.rows_out
        counts[f"{name} busy_us"] = round(seen.busy_s * 1e6)
    return counts


def _sums(nodes: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "in": round(sum(n["in_rate"] for n in nodes if n["kind"] == "source"), 1),
        "out": round(sum(n["out_rate"] for n in nodes if n["kind"] == "sink"), 1),
    }


def _totals(nodes: list[dict[str, Any]]) -> dict[str, int]:
    totals = {
        "in": sum(n["in"] for n in nodes if n["kind"] == "source"),
        "out": sum(n["out"] for n in nodes if n["kind"] == "sink"),
    }
    for reason in ("late", "rejected", "dropped"):
        totals[reason] = sum(n["reasons"].get(reason, 0) for n in nodes)
    return totals


def _time(time_ns: int | None) -> int | None:
    return None if time_ns in {None, TIME_MIN, TIME_MAX} else time_ns


def _text(text: str) -> str:
    return clip(redacted(text), _TEXT_MAX)
